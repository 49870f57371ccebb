"""What a job of an ablation came to, as one value for each outcome and prompt.

Reads artifacts; sends and trains nothing.

    labels   against the full set, pair by pair: see `label_outcomes.py`. The full set itself is 0
             everywhere
    reward   the tests of `reward_accuracy`, by its first model; those of the others with their
             names
    policy   the measures of `evaluate` for its last policy, `violates <id>` for each principle, and
             `wins`, what the judge gave it in duels with the first policy. That one is `none`: the
             model before the method, which needs no run

Where a pipeline has several steps to look at, the outcomes of all but the first carry their names.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

from stages.ablation.jobs import Job
from stages.ablation.label_outcomes import (
    LABELS,
    LOGITS,
    have_same_labels,
    label_outcomes,
)
from stages.evaluation.rewards.labelled_pairs import PAIRS, SECTION
from stages.evaluation.rewards.reward_tests import TESTS
from stages.evaluation.verdict_values import (
    MEASURES,
    Counted,
    Measured,
    PromptKinds,
    by_measure,
    by_principle,
)
from stages.evaluation.win_rates import score
from stages.runtime.artifacts import Artifact
from stages.runtime.errors import UserError
from stages.runtime.rows import Pair, Tested, Verdict
from stages.statistics.paired import by_prompt

OWN_TESTS = (PAIRS, SECTION)
"""How the names of a reward test's own pairs begin."""
STAGES = {
    "labels": "judged_pairs",
    "reward": "reward_accuracy",
    "policy": "evaluate",
}
"""By level the stage that it looks at."""
FIRST = {
    "labels": "changed",
    "reward": "all",
    "policy": "any_violation",
}
"""By level the outcome that its table shows."""
NONE = "none"
Values = dict[str, dict[str, float]]
"""outcome: {prompt: value}"""


def values(level: str, job: Job, reference: Job) -> Values:
    """What `job` came to, by outcome and prompt.

    Raises:
        UserError: it left no step of the stage that the level looks at.
    """
    stage = STAGES[level]
    steps = job.of_stage(stage)
    if not steps:
        raise UserError(
            f"the run made no step of stage {stage!r}",
            where=job.label,
            fix="let `until` keep one",
        )
    reference_steps = {step.step: step for step in reference.of_stage(stage)}
    outcomes: Values = {}
    for index, step in enumerate(steps):
        suffix = f" ({step.step})" if index else ""
        of_step = _outcomes_of_step(level, step, reference_steps.get(step.step, step))
        for outcome, cells in of_step.items():
            if cells:
                outcomes[outcome + suffix] = cells
    return outcomes


def _outcomes_of_step(level: str, step: Artifact, reference: Artifact) -> Values:
    if level == "labels":
        return label_outcomes(step, reference)
    if level == "reward":
        return _reward_outcomes(step)
    return _policy_outcomes(step, -1)


def outcomes_of(level: str, principles: Sequence[str]) -> list[str]:
    """The names of all outcomes that a level can have.

    A reward test's own pairs are left out: see `OWN_TESTS`.
    """
    if level == "labels":
        return list(LABELS)
    if level == "reward":
        return list(TESTS)
    return [*MEASURES, "wins", *(f"violates {name}" for name in principles)]


def is_logits(outcome: str) -> bool:
    """Whether an outcome is in logits, and not a share."""
    return outcome.partition(" (")[0] == LOGITS


def same_lessons(job: Job, reference: Job) -> bool:
    """Whether `job` learnt from the same data as the reference, so that they differ by chance only.

    It did where the steps differ in nothing but which principles label pairs, and the labelled
    pairs are equal.
    """
    reference_steps = {step.step: step for step in reference.artifacts()}
    for step in job.artifacts():
        other = reference_steps.get(step.step)
        if other is None or step.stage != other.stage:
            return False
        if step.stage == "judged_pairs":
            if not have_same_labels(step.rows(Pair), other.rows(Pair)):
                return False
        elif step.config != other.config:
            return False
    return True


def before_the_method(job: Job) -> Values:
    """The first policy of the job's evaluation; nothing if it is the only one."""
    steps = job.of_stage("evaluate")
    if not steps or len(steps[0].metrics["policies"]) == 1:
        return {}
    return _policy_outcomes(steps[0], 0)


def _reward_outcomes(step: Artifact) -> Values:
    rows = step.rows(Tested)
    cells: dict[str, list[tuple[str, float]]] = {}
    for row in rows:
        name = row.test
        if row.model != rows[0].model:
            name += f" ({row.model})"
        unit = row.prompt_id
        if row.kind:
            unit = f"{row.kind}: {row.prompt_id}"
        cells.setdefault(name, []).append((unit, row.value))
    return {name: by_prompt(pairs) for name, pairs in cells.items()}


def _policy_outcomes(step: Artifact, index: int) -> Values:
    """The outcomes of the policy at `index` of an `evaluate` step."""
    policies = list(step.metrics["policies"])
    rows: Measured = []
    for row in _read_verdicts(step):
        if row.policy == policies[index]:
            rows.append((row.prompt_id, row))
    source = step.metrics["measured_by"]
    measures = by_measure(
        rows,
        source == "truth",
        _counted(step),
        _kinds(step),
    )
    outcomes = {measure: measures[measure] for measure in MEASURES}
    wins = []
    for prompt_id, row in rows:
        if policies[0] in row.rivals:
            wins.append((prompt_id, against(row, policies[0])))
    outcomes["wins"] = by_prompt(wins)
    principles = rows[0][1].principles if rows else []
    for place, principle in enumerate(principles):
        outcomes[f"violates {principle}"] = by_principle(rows, place, source)
    return outcomes


def _counted(step: Artifact) -> Counted:
    return Counted(
        principles=step.config["counted"],
        not_counted=set(step.config["not_counted"]),
    )


def _kinds(step: Artifact) -> PromptKinds:
    return PromptKinds(
        harmless=tuple(step.config["harmless_kinds"]),
        helpful=tuple(step.config["helpful_kinds"]),
    )


def against(row: Verdict, rival: str) -> float:
    """1 if the judge preferred this answer to the rival's, 0 if the other, 0.5 for a tie."""
    place = row.rivals.index(rival)
    return score(row.margins_first[place], row.margins_second[place])


@lru_cache(maxsize=2)
def _read_verdicts(step: Artifact) -> list[Verdict]:
    return step.rows(Verdict)


def requests_known(level: str, artifacts: Sequence[Artifact]) -> Iterator[tuple[int, float | None]]:
    """(prompts, base rate of the level's outcome), of each finished step that measured it."""
    for step in artifacts:
        if level == "labels" or step.stage != STAGES[level]:
            continue
        outcomes = _outcomes_of_step(level, step, step)
        cells = outcomes.get(FIRST[level])
        if cells:
            yield len(cells), sum(cells.values()) / len(cells)
