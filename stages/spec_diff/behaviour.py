"""What an edit did to policies: violations by clause, of two runs that were trained and evaluated.

In: the runs under the old set and those under the new one, as jobs. Out: for each clause that both
evaluated, the change of its violations on the same requests and seeds, with Holm's correction.

Clauses that are measured by the same values (a ground truth has one for each dimension) are one
comparison. A clause keeps its measure if a ground truth measures it. Where a judge does, a reworded
clause is judged in other words in each run, so its change is about the words, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from stages.ablation.jobs import Job
from stages.ablation.outcomes import Values, job_results
from stages.guards.errors import UserError
from stages.spec_diff.clauses import Difference
from stages.statistics.corrections import holm
from stages.statistics.differences import effects
from stages.statistics.effect import Effect, Runs


def behaviour(
    old_jobs: Sequence[Job], new_jobs: Sequence[Job], difference: Difference
) -> dict[str, Effect]:
    """Return by clause what changed; nothing for clauses that one side did not evaluate.

    Raises:
        UserError: a run has no evaluation, or no two runs have the same seed and requests.
    """
    old, new = _by_seed(old_jobs), _by_seed(new_jobs)
    changes: dict[str, Effect] = {}
    measures: list[tuple[Runs, Runs]] = []
    measured_by: dict[str, int] = {}
    for clause in difference.clauses:
        if clause.old and clause.new:
            before = _outcome(old, f"violates {clause.old.id}")
            after = _outcome(new, f"violates {clause.new.id}")
            if before and after:
                changes |= effects(before, {clause.id: after})
                if (before, after) not in measures:
                    measures.append((before, after))
                measured_by[clause.id] = measures.index((before, after))
    if not changes:
        raise UserError(
            "the two runs evaluated no clause that both sets have",
            where="--trained",
            fix="give runs that end in an `evaluate` step under these sets",
        )
    p_of_measure = {place: changes[name].p for name, place in measured_by.items()}
    adjusted = dict(zip(p_of_measure, holm(list(p_of_measure.values())), strict=True))
    corrected = {}
    for name, effect in changes.items():
        p = adjusted[measured_by[name]]
        corrected[name] = replace(effect, p_adjusted=p, correction="holm")
    return corrected


def _by_seed(jobs: Sequence[Job]) -> dict[str, Values]:
    return {str(job.seed): job_results("policy", job, job) for job in jobs}


def _outcome(runs: Mapping[str, Values], outcome: str) -> dict[str, dict[str, float]]:
    """By seed, an outcome's values by prompt; empty where a run lacks it."""
    if not all(outcome in values for values in runs.values()):
        return {}
    return {seed: values[outcome] for seed, values in runs.items()}
