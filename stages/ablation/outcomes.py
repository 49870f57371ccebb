"""What a job of an ablation came to, as one value for each outcome and prompt.

It reads artifacts; it sends and trains nothing.

labels   against the full set, pair by pair: `changed` is `flipped`, `lost` (abstained on now) or
         `gained`; `support` is how far the judge's margin moved to the full set's choice, in
         logits. The full set itself is 0 everywhere
reward   the tests of `reward_accuracy`, by its first model; those of the others with their names
policy   the measures of `evaluate` for its last policy, `violates <id>` for each principle, and
         `wins`, what the judge gave it in duels with the first policy. That one is `none`: the
         model before the method, which needs no run

Where a pipeline has several steps to look at, the outcomes of all but the first carry their names.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

from stages.ablation.jobs import Job
from stages.ablation.labels import LABELS, LOGITS, label_outcomes
from stages.evaluation.rewards.labelled_pairs import PAIRS, SECTION
from stages.evaluation.rewards.reward_tests import TESTS
from stages.evaluation.verdict_values import (
    MEASURES,
    Counted,
    Measured,
    by_measure,
    by_principle,
)
from stages.evaluation.win_rates import score
from stages.runtime.artifacts import Artifact
from stages.runtime.errors import UserError
from stages.runtime.rows import Pair, Tested, Verdict
from stages.statistics.intervals import by_prompt

SAME_LABEL = 1e-4
OWN_TESTS = (PAIRS, SECTION)
STAGES = {  # whose artifacts a level looks at
    "labels": "judged_pairs",
    "reward": "reward_accuracy",
    "policy": "evaluate",
}
FIRST = {  # what a level's table shows
    "labels": "changed",
    "reward": "all",
    "policy": "any_violation",
}
NONE = "none"
Values = dict[str, dict[str, float]]  # outcome: {prompt: value}


def values(level: str, job: Job, reference: Job) -> Values:
    """What `job` came to, by outcome and prompt.

    Raises:
        UserError: it left no step of the stage that the level looks at.
    """
    stage = STAGES[level]
    artifacts = job.of_stage(stage)
    references = {artifact.step: artifact for artifact in reference.of_stage(stage)}
    if not artifacts:
        raise UserError(
            f"the run made no step of stage {stage!r}",
            where=job.label,
            fix="let `until` keep one",
        )
    results: Values = {}
    for index, artifact in enumerate(artifacts):
        mark = f" ({artifact.step})" if index else ""
        outcomes = _outcomes(artifact, references.get(artifact.step, artifact))
        for outcome, cells in outcomes.items():
            if cells:
                results[outcome + mark] = cells
    return results


def _outcomes(artifact: Artifact, reference: Artifact) -> Values:
    """What one step came to."""
    if artifact.stage == STAGES["labels"]:
        return label_outcomes(artifact, reference)
    if artifact.stage == STAGES["reward"]:
        return _of_tests(artifact)
    return _of_policy(artifact, -1)


def outcomes_of(level: str, principles: Sequence[str]) -> list[str]:
    """The names of all outcomes that a level may have.

    A reward test's own pairs (`OWN_TESTS`) are left out.
    """
    if level == "labels":
        return list(LABELS)
    if level == "reward":
        return list(TESTS)
    return [*MEASURES, "wins", *(f"violates {name}" for name in principles)]


def is_logits(outcome: str) -> bool:
    """Whether an outcome is not a share."""
    return outcome.partition(" (")[0] == LOGITS


def same_lessons(job: Job, reference: Job) -> bool:
    """Whether `job` learnt from the same data as the reference, so that only chance differs.

    So it is where the steps differ in nothing but which principles label pairs, and the labelled
    pairs are equal.
    """
    references = {artifact.step: artifact for artifact in reference.artifacts()}
    for artifact in job.artifacts():
        other = references.get(artifact.step)
        if other is None or artifact.stage != other.stage:
            return False
        if artifact.stage == STAGES["labels"]:
            if not _alike(artifact.rows(Pair), other.rows(Pair)):
                return False
        elif artifact.config != other.config:
            return False
    return True


def _alike(rows: Sequence[Pair], others: Sequence[Pair]) -> bool:
    """Whether the pairs are equal and in equal order.

    Labels may differ by what the batch in which a judge was asked does to its arithmetic.
    """
    if len(rows) != len(others):
        return False
    for row, other in zip(rows, others, strict=True):
        if (row.id, row.chosen, row.rejected) != (other.id, other.chosen, other.rejected):
            return False
        if abs(row.label - other.label) >= SAME_LABEL:
            return False
    return True


def before_the_method(job: Job) -> Values:
    """The first policy of the job's evaluation; nothing if it is the only one."""
    evaluations = job.of_stage(STAGES["policy"])
    if not evaluations or len(evaluations[0].metrics["policies"]) < 2:
        return {}
    return _of_policy(evaluations[0], 0)


def _of_tests(artifact: Artifact) -> Values:
    """The tests of `reward_accuracy`."""
    cells: dict[str, list[tuple[str, float]]] = {}
    rows = artifact.rows(Tested)
    for row in rows:
        name = row.test if row.model == rows[0].model else f"{row.test} ({row.model})"
        unit = f"{row.kind}: {row.prompt_id}" if row.kind else row.prompt_id
        cells.setdefault(name, []).append((unit, row.value))
    return {name: by_prompt(values) for name, values in cells.items()}


def _of_policy(artifact: Artifact, place: int) -> Values:
    """The measures of one policy of `evaluate`.

    Args:
        place: of the policy among all of them; -1 is the last.
    """
    policies = list(artifact.metrics["policies"])
    first = policies[0]
    policy = policies[place]
    verdicts = [row for row in _verdicts(artifact) if row.policy == policy]
    rows: Measured = [(row.prompt_id, row) for row in verdicts]
    options = artifact.config
    source = artifact.metrics["measured_by"]
    measures = by_measure(
        rows,
        source == "truth",
        Counted(
            options["counted"],
            set(options["not_counted"]),
            set(options["helpful_kinds"]),
            set(options["harmless_kinds"]),
        ),
    )
    results = {name: measures[name] for name in MEASURES}
    duels = [row for row in verdicts if first in row.rivals]
    results["wins"] = by_prompt((row.prompt_id, against(row, first)) for row in duels)
    principles = verdicts[0].principles if verdicts else []
    for index, principle in enumerate(principles):
        results[f"violates {principle}"] = by_principle(rows, index, source)
    return results


def against(row: Verdict, rival: str) -> float:
    """1 if the judge preferred this answer to the rival's, 0 if the other, 0.5 for a tie."""
    place = row.rivals.index(rival)
    return score(row.margins_first[place], row.margins_second[place])


@lru_cache(maxsize=2)
def _verdicts(artifact: Artifact) -> list[Verdict]:
    return artifact.rows(Verdict)


def requests_known(level: str, artifacts: Sequence[Artifact]) -> Iterator[tuple[int, float | None]]:
    """(prompts, base rate of the level's outcome), from steps that are already there.

    Nothing for level `labels`, which needs no forecast of what it could detect.
    """
    if level == "labels":
        return
    for artifact in artifacts:
        if artifact.stage == STAGES[level]:
            cells = _outcomes(artifact, artifact).get(FIRST[level])
            if cells:
                yield len(cells), sum(cells.values()) / len(cells)
