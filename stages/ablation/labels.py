"""How the labels of a job differ from those of the full set, pair by pair."""

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
        judged: ids of all judged rows, with those on which the judge abstained.
        prompt_ids: the prompt id, by pair id.
    """

    rows: dict[str, Pair]
    judged: frozenset[str]
    prompt_ids: dict[str, str]


def label_outcomes(pairs: Artifact, reference: Artifact) -> dict[str, dict[str, float]]:
    """By outcome and prompt, how the labels differ from those of the reference.

    `changed` means `flipped`, `lost` (the judge now abstains) or `gained`. `support` is how far the
    judge's margin moved towards the reference's choice, in logits.

    Args:
        pairs, reference: artifacts of the stage `judged_pairs`.
    """
    after = _labels(pairs)
    before = _labels(reference)
    prompt_ids = before.prompt_ids | after.prompt_ids
    values: dict[str, list[tuple[str, float]]] = {name: [] for name in LABELS}
    for row_id in sorted(after.judged | before.judged):
        prompt_id = prompt_ids.get(row_id) or prompt_ids.get(_pair_id(row_id))
        if prompt_id is None:
            continue
        for name, value in _compare(before.rows.get(row_id), after.rows.get(row_id)):
            values[name].append((prompt_id, value))
    return {name: by_prompt(pair_values) for name, pair_values in values.items()}


def _compare(before: Pair | None, after: Pair | None) -> Iterator[tuple[str, float]]:
    """The outcomes of one pair; None means that the judge abstained."""
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
    """The pair of a row of `judged_pairs`; SALMON names its rows "<pair>#<pass>"."""
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
    """The prompt ids by pair id."""
    return {row.pair_id: row.prompt_id for row in judged.rows(Judgement)}
