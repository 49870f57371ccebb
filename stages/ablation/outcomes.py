"""The results of a job of an ablation: one value for each outcome and prompt.

This module only reads artifacts; it sends and trains nothing.

labels   against the full set, pair by pair: `changed` means `flipped`, `lost` (the judge now
         abstains) or `gained`; `support` is how far the judge's margin moved towards the full
         set's choice, in logits. The full set itself is 0 everywhere
reward   the tests of `reward_accuracy`, by its first model; those of the others with their names
policy   the measures of `evaluate` for its last policy, `violates <id>` for each principle, and
         `wins`, its score by the judge in duels with the first policy. The first policy is `none`:
         the model before the method, which needs no run

If several steps of a pipeline have outcomes, those of all but the first are named after their step.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

from stages.ablation.jobs import Job
from stages.ablation.labels import LABELS, LOGITS, label_outcomes
from stages.evaluation.instrument.decision import decision_of
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
from stages.guards.errors import UserError
from stages.runtime.artifacts import Artifact
from stages.runtime.rows import Pair, Tested, Verdict
from stages.statistics.intervals import by_prompt

SAME_LABEL = 1e-4
OWN_TESTS = (PAIRS, SECTION)
STAGES = {  # whose artifacts a level reads
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


def job_results(level: str, job: Job, reference: Job) -> Values:
    """The results of a job, by outcome and prompt.

    Raises:
        UserError: it has no step of the stage that the level reads.
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
        for outcome, values_by_prompt in outcomes.items():
            if values_by_prompt:
                results[outcome + mark] = values_by_prompt
    return results


def _outcomes(artifact: Artifact, reference: Artifact) -> Values:
    """The outcomes of one step."""
    if artifact.stage == STAGES["labels"]:
        return label_outcomes(artifact, reference)
    if artifact.stage == STAGES["reward"]:
        return reward_test_values(artifact)
    return policy_values(artifact, -1)


def possible_outcomes(level: str, principles: Sequence[str]) -> list[str]:
    """The names of all outcomes that a level can have.

    Left out: tests on pairs that a pipeline adds (`OWN_TESTS`).
    """
    if level == "labels":
        return list(LABELS)
    if level == "reward":
        return list(TESTS)
    return [*MEASURES, "wins", *(f"violates {name}" for name in principles)]


def is_logits(outcome: str) -> bool:
    """Whether an outcome is not a share."""
    return outcome.partition(" (")[0] == LOGITS


def learns_from_same_data(job: Job, reference: Job) -> bool:
    """Whether `job` learned from the same data as the reference, so that only chance differs.

    This is the case if the steps differ only in the principles that label pairs, and the labelled
    pairs are equal.
    """
    references = {artifact.step: artifact for artifact in reference.artifacts()}
    for artifact in job.artifacts():
        other = references.get(artifact.step)
        if other is None or artifact.stage != other.stage:
            return False
        if artifact.stage == STAGES["labels"]:
            if not _have_equal_labels(artifact.rows(Pair), other.rows(Pair)):
                return False
        elif artifact.config != other.config:
            return False
    return True


def _have_equal_labels(rows: Sequence[Pair], others: Sequence[Pair]) -> bool:
    """Whether the pairs are equal and in the same order.

    Labels may differ by the rounding that depends on the batch in which the judge was asked.
    """
    if len(rows) != len(others):
        return False
    for row, other in zip(rows, others, strict=True):
        if (row.id, row.chosen, row.rejected) != (other.id, other.chosen, other.rejected):
            return False
        if abs(row.label - other.label) >= SAME_LABEL:
            return False
    return True


def values_before_method(job: Job) -> Values:
    """The results of the first policy of the job's evaluation; empty if it is the only one."""
    evaluations = job.of_stage(STAGES["policy"])
    if not evaluations or len(evaluations[0].metrics["policies"]) < 2:
        return {}
    return policy_values(evaluations[0], 0)


def reward_test_values(artifact: Artifact) -> Values:
    """The outcomes of the tests of `reward_accuracy`."""
    values_by_test: dict[str, list[tuple[str, float]]] = {}
    rows = artifact.rows(Tested)
    for row in rows:
        name = row.test if row.model == rows[0].model else f"{row.test} ({row.model})"
        unit = f"{row.kind}: {row.prompt_id}" if row.kind else row.prompt_id
        values_by_test.setdefault(name, []).append((unit, row.value))
    return {name: by_prompt(rows_of_test) for name, rows_of_test in values_by_test.items()}


def policy_values(artifact: Artifact, place: int) -> Values:
    """The measures of one policy of `evaluate`.

    Args:
        place: the index of the policy; -1 is the last.
    """
    policies = list(artifact.metrics["policies"])
    first = policies[0]
    policy = policies[place]
    verdicts = [row for row in _verdicts(artifact) if row.policy == policy]
    rows: Measured = [(row.prompt_id, row) for row in verdicts]
    options = artifact.config
    source = artifact.metrics["measured_by"]
    decision = decision_of(artifact.metrics)
    measures = by_measure(
        rows,
        source == "truth",
        Counted(
            options["counted"],
            set(options["helpful_kinds"]),
            set(options["harmless_kinds"]),
            decision,
        ),
    )
    results = {name: measures[name] for name in MEASURES}
    duels = [row for row in verdicts if first in row.rivals]
    results["wins"] = by_prompt((row.prompt_id, duel_score(row, first)) for row in duels)
    principles = verdicts[0].principles if verdicts else []
    for index, principle in enumerate(principles):
        results[f"violates {principle}"] = by_principle(rows, index, source, decision)
    return results


def duel_score(row: Verdict, rival: str) -> float:
    """1 if the judge preferred this answer, 0 if it preferred the rival's, 0.5 for a tie."""
    place = row.rivals.index(rival)
    return score(row.margins_first[place], row.margins_second[place])


@lru_cache(maxsize=2)
def _verdicts(artifact: Artifact) -> list[Verdict]:
    return artifact.rows(Verdict)


def base_rates(level: str, artifacts: Sequence[Artifact]) -> Iterator[tuple[int, float | None]]:
    """(number of prompts, base rate of the level's outcome), for each step that was run before.

    None for level `labels`, which needs no forecast of what it could detect.
    """
    if level == "labels":
        return
    for artifact in artifacts:
        if artifact.stage == STAGES[level]:
            values_by_prompt = _outcomes(artifact, artifact).get(FIRST[level])
            if values_by_prompt:
                mean = sum(values_by_prompt.values()) / len(values_by_prompt)
                yield len(values_by_prompt), mean
