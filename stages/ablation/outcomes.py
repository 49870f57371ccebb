"""What a job of an ablation came to, as one value for each outcome and prompt. Reads artifacts;
sends and trains nothing.

labels   against the full set, pair by pair: `changed` is `flipped`, `lost` (abstained on now) or
`gained`; `support` is how
         far the judge's margin moved to the full set's choice, in logits. The full set itself is 0
         everywhere
reward   the tests of `reward_accuracy`, by its first model; those of the others with their names
policy   the measures of `evaluate` for its last policy, `violates <id>` for each principle, and
`wins`, what the judge gave it
         in duels with the first policy. That one is `none`: the model before the method, which no
         run is needed for

Where a pipeline has several steps to look at, the outcomes of all but the first carry their names.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from stages.ablation.jobs import Job
from stages.evaluation.measures import (
    MEASURES,
    Counted,
    Measured,
    Settings,
    by_measure,
    by_principle,
    score,
)
from stages.evaluation.rewards.reward_accuracy import PAIRS, SECTION
from stages.evaluation.rewards.reward_tests import TESTS
from stages.runtime.artifacts import Artifact
from stages.runtime.errors import UserError
from stages.runtime.rows import Judgement, Pair, Tested, Verdict
from stages.statistics.paired import by_prompt

SAME_LABEL = 1e-4
LOGITS = "support"  # the one outcome that is no share
LABELS = ("changed", "flipped", "lost", "gained", LOGITS)
OWN_TESTS = (PAIRS, SECTION)
FIRST = {
    "labels": "changed",
    "reward": "all",
    "policy": "any_violation",
}  # what a level's table shows
NONE = "none"
Values = dict[str, dict[str, float]]  # outcome: {prompt: value}


@dataclass(frozen=True)
class Pairs:
    """One job's labels: `rows` by their id, and by pair id the prompt id."""

    rows: dict[str, Pair]
    asked: frozenset[str]  # row ids, those abstained on too
    prompt_ids: dict[str, str]


def values(level: str, job: Job, reference: Job) -> Values:
    """What `job` came to, by outcome and prompt.

    Raises:
        UserError: it left no step of the stage that the level looks at.
    """
    stage, look = {
        "labels": ("judged_pairs", _labels),
        "reward": ("reward_accuracy", _tests),
        "policy": ("evaluate", _measures),
    }[level]
    steps, others = job.of_stage(stage), {made.step: made for made in reference.of_stage(stage)}
    if not steps:
        raise UserError(
            f"the run made no step of stage {stage!r}", where=job.label, fix="let `until` keep one"
        )
    found: Values = {}
    for index, made in enumerate(steps):
        mark = f" ({made.step})" if index else ""
        found |= {
            outcome + mark: values
            for outcome, values in look(made, others.get(made.step, made)).items()
            if values
        }
    return found


def outcomes_of(level: str, principles: Sequence[str]) -> list[str]:
    """The names of all outcomes that a level may have, but for a reward test's own pairs
    (`OWN_TESTS`).
    """
    policy = [*MEASURES, "wins", *(f"violates {name}" for name in principles)]
    return {"labels": list(LABELS), "reward": list(TESTS), "policy": policy}[level]


def is_logits(outcome: str) -> bool:
    """Whether an outcome is no share."""
    return outcome.partition(" (")[0] == LOGITS


def same_lessons(job: Job, reference: Job) -> bool:
    """Whether all that `job` learnt from is the very same as what the reference learnt from, so
    that only chance parts them.

    So it is where the steps differ in nothing but which principles label pairs, and the labelled
    pairs are equal.
    """
    others = {made.step: made for made in reference.artifacts()}
    for made in job.artifacts():
        other = others.get(made.step)
        if other is None or made.stage != other.stage:
            return False
        if made.stage == "judged_pairs":
            if not _alike(made.rows(Pair), other.rows(Pair)):
                return False
        elif made.config != other.config:
            return False
    return True


def _alike(rows: Sequence[Pair], others: Sequence[Pair]) -> bool:
    """Equal pairs in equal order; labels may differ by what the batch in which a judge was asked
    does to its arithmetic.
    """
    return len(rows) == len(others) and all(
        (a.id, a.chosen, a.rejected) == (b.id, b.chosen, b.rejected)
        and abs(a.label - b.label) < SAME_LABEL
        for a, b in zip(rows, others, strict=True)
    )


def before_the_method(job: Job) -> Values:
    """The first policy of the job's evaluation; nothing if it is the only one."""
    made = job.of_stage("evaluate")
    return _of_policy(made[0], 0) if made and len(made[0].metrics["policies"]) > 1 else {}


def _labels(made: Artifact, reference: Artifact) -> Values:
    now, before = _pairs(made), _pairs(reference)
    prompt_ids = before.prompt_ids | now.prompt_ids
    cells: dict[str, list[tuple[str, float]]] = {name: [] for name in LABELS}
    for row_id in sorted(now.asked | before.asked):
        was, is_ = before.rows.get(row_id), now.rows.get(row_id)
        prompt_id = prompt_ids.get(row_id) or prompt_ids.get(_pair_id(row_id))
        if prompt_id is None:
            continue
        flipped = bool(was and is_ and was.chosen != is_.chosen)
        moved = (is_.margin * (-1 if flipped else 1) if is_ else 0.0) - (was.margin if was else 0.0)
        told = {
            "flipped": flipped,
            "lost": bool(was and not is_),
            "gained": bool(is_ and not was),
            LOGITS: moved,
        }
        for name, value in {**told, "changed": flipped or (was is None) != (is_ is None)}.items():
            cells[name].append((prompt_id, float(value)))
    return {name: by_prompt(found) for name, found in cells.items()}


def _pair_id(row_id: str) -> str:
    """The pair of a row of `judged_pairs`; SALMON's rows are named "<pair>#<pass>"."""
    return row_id.rpartition("#")[0] or row_id


@lru_cache(maxsize=8)
def _pairs(made: Artifact) -> Pairs:
    prompt_ids: dict[str, str] = {}
    for judged in made.input_artifacts("judgements"):
        prompt_ids |= _prompt_ids(judged)
    rows = {row.id: row for row in made.rows(Pair)}
    prompt_ids = prompt_ids or {_pair_id(row.id): row.prompt_id for row in rows.values()}
    return Pairs(rows, frozenset((*rows, *(d.id for d in made.dropped()))), prompt_ids)


@lru_cache(maxsize=4)
def _prompt_ids(judged: Artifact) -> dict[str, str]:
    """By pair id."""
    return {row.pair_id: row.prompt_id for row in judged.rows(Judgement)}


def _tests(made: Artifact, _: Artifact) -> Values:
    found: dict[str, list[tuple[str, float]]] = {}
    rows = made.rows(Tested)
    for row in rows:
        name = row.test if row.model == rows[0].model else f"{row.test} ({row.model})"
        unit = f"{row.kind}: {row.prompt_id}" if row.kind else row.prompt_id
        found.setdefault(name, []).append((unit, row.value))
    return {name: by_prompt(cells) for name, cells in found.items()}


def _measures(made: Artifact, _: Artifact) -> Values:
    return _of_policy(made, -1)


def _of_policy(made: Artifact, place: int) -> Values:
    policies = list(made.metrics["policies"])
    policy = policies[place]
    rows: Measured = [(row.prompt_id, row) for row in _verdicts(made) if row.policy == policy]
    options = made.config
    kinds = Settings(tuple(options["harmless_kinds"]), tuple(options["helpful_kinds"]), 0, 0.95, 0)
    source = made.metrics["measured_by"]
    counted = Counted(options["counted"], set(options["not_counted"]))
    found = by_measure(rows, source == "truth", counted, kinds)
    names = rows[0][1].principles if rows else []
    wins = by_prompt(
        (prompt, against(row, policies[0])) for prompt, row in rows if policies[0] in row.rivals
    )
    violated = {f"violates {p}": by_principle(rows, i, source) for i, p in enumerate(names)}
    return {m: found[m] for m in MEASURES} | {"wins": wins} | violated


def against(row: Verdict, rival: str) -> float:
    """1 if the judge preferred this answer to the rival's, 0 if the other, 0.5 for a tie."""
    place = row.rivals.index(rival)
    return score(row.margins_first[place], row.margins_second[place])


@lru_cache(maxsize=2)
def _verdicts(made: Artifact) -> list[Verdict]:
    return made.rows(Verdict)


def requests_known(level: str, artifacts: Sequence[Artifact]) -> Iterator[tuple[int, float | None]]:
    """(prompts, base rate of the level's outcome) as far as steps that are already there tell them."""
    for made in artifacts:
        stage = made.stage
        if (level, stage) in (("reward", "reward_accuracy"), ("policy", "evaluate")):
            known = (_tests(made, made) if level == "reward" else _measures(made, made)).get(
                FIRST[level]
            )
            if known:
                yield len(known), sum(known.values()) / len(known)
