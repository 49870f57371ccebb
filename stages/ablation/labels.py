"""What a job's labels came to, pair by pair against the full set's."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from stages.runtime.artifacts import Artifact
from stages.runtime.rows import Judgement, Pair
from stages.statistics.intervals import by_prompt

LOGITS = "support"  # the one outcome that is not a share
LABELS = ("changed", "flipped", "lost", "gained", LOGITS)


@dataclass(frozen=True)
class Labels:
    """One job's labels.

    Args:
        rows: the labelled pairs, by row id.
        judged: row ids, those on which the judge abstained too.
        prompt_ids: by pair id the prompt id.
    """

    rows: dict[str, Pair]
    judged: frozenset[str]
    prompt_ids: dict[str, str]


def label_outcomes(pairs: Artifact, reference: Artifact) -> dict[str, dict[str, float]]:
    """By outcome and prompt how the labels differ from the reference's.

    `changed` is `flipped`, `lost` (abstained on now) or `gained`; `support` is how far the judge's
    margin moved to the reference's choice, in logits.

    Args:
        pairs, reference: artifacts of the stage `judged_pairs`.
    """
    after = _labels(pairs)
    before = _labels(reference)
    prompt_ids = before.prompt_ids | after.prompt_ids
    cells: dict[str, list[tuple[str, float]]] = {name: [] for name in LABELS}
    for row_id in sorted(after.judged | before.judged):
        prompt_id = prompt_ids.get(row_id) or prompt_ids.get(_pair_id(row_id))
        if prompt_id is None:
            continue
        for name, value in _compare(before.rows.get(row_id), after.rows.get(row_id)):
            cells[name].append((prompt_id, value))
    return {name: by_prompt(values) for name, values in cells.items()}


def _compare(before: Pair | None, after: Pair | None) -> Iterator[tuple[str, float]]:
    """The outcomes of one pair; None: the judge abstained."""
    flipped = bool(before and after and before.chosen != after.chosen)
    lost = before is not None and after is None
    gained = after is not None and before is None
    support = after.margin if after else 0.0
    if flipped:
        support = -support
    if before:
        support -= before.margin
    yield "flipped", float(flipped)
    yield "lost", float(lost)
    yield "gained", float(gained)
    yield "changed", float(flipped or lost or gained)
    yield LOGITS, support


def _pair_id(row_id: str) -> str:
    """The pair of a row of `judged_pairs`; SALMON's rows are named "<pair>#<pass>"."""
    return row_id.rpartition("#")[0] or row_id


@lru_cache(maxsize=8)
def _labels(pairs: Artifact) -> Labels:
    prompt_ids: dict[str, str] = {}
    for judged in pairs.input_artifacts("judgements"):
        prompt_ids |= _prompt_ids(judged)
    rows = {row.id: row for row in pairs.rows(Pair)}
    if not prompt_ids:
        prompt_ids = {_pair_id(row.id): row.prompt_id for row in rows.values()}
    dropped = [row.id for row in pairs.dropped()]
    return Labels(rows, frozenset([*rows, *dropped]), prompt_ids)


@lru_cache(maxsize=4)
def _prompt_ids(judged: Artifact) -> dict[str, str]:
    """By pair id."""
    return {row.pair_id: row.prompt_id for row in judged.rows(Judgement)}
