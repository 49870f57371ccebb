"""What a job did to the labels, against the full set, pair by pair. Reads artifacts only.

In: `judged_pairs` steps of a job and of its reference. Out: by outcome and prompt,

    changed   any of the three that follow
    flipped   the other response is chosen
    lost      the pair has no label any more
    gained    the pair had no label
    support   how far the judge's margin moved to the full set's choice, in logits
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from stages.runtime.artifacts import Artifact
from stages.runtime.rows import Judgement, Pair
from stages.statistics.paired import by_prompt

SAME_LABEL = 1e-4
"""Labels that are closer are equal: the batch in which a judge was asked changes its arithmetic."""
LOGITS = "support"
"""The one outcome that is not a share."""
LABELS = ("changed", "flipped", "lost", "gained", LOGITS)


@dataclass(frozen=True)
class Labels:
    """One job's labels."""

    rows: dict[str, Pair]
    """By row id."""
    row_ids: frozenset[str]
    """Of all rows, those without a label too."""
    prompt_ids: dict[str, str]
    """By pair id."""

    def prompt_id(self, row_id: str) -> str | None:
        pair_id = _pair_id(row_id)
        return self.prompt_ids.get(row_id) or self.prompt_ids.get(pair_id)


def label_outcomes(step: Artifact, reference: Artifact) -> dict[str, dict[str, float]]:
    """By outcome and prompt."""
    after, before = _read_labels(step), _read_labels(reference)
    cells: dict[str, list[tuple[str, float]]] = {name: [] for name in LABELS}
    for row_id in sorted(after.row_ids | before.row_ids):
        prompt_id = after.prompt_id(row_id) or before.prompt_id(row_id)
        if prompt_id is None:
            continue
        outcomes = _compare(before.rows.get(row_id), after.rows.get(row_id))
        for name, value in outcomes.items():
            cells[name].append((prompt_id, value))
    return {name: by_prompt(values) for name, values in cells.items()}


def _compare(before: Pair | None, after: Pair | None) -> dict[str, float]:
    """The outcomes of one pair; a row is None where the pair has no label."""
    flipped = lost = gained = False
    support = 0.0
    if before and after:
        flipped = before.chosen != after.chosen
        support = (-after.margin if flipped else after.margin) - before.margin
    elif before:
        lost = True
        support = 0.0 - before.margin
    elif after:
        gained = True
        support = after.margin
    return {
        "changed": float(flipped or lost or gained),
        "flipped": float(flipped),
        "lost": float(lost),
        "gained": float(gained),
        LOGITS: support,
    }


def _pair_id(row_id: str) -> str:
    """The pair of a row of `judged_pairs`; SALMON's rows are named "<pair>#<pass>"."""
    return row_id.rpartition("#")[0] or row_id


@lru_cache(maxsize=8)
def _read_labels(step: Artifact) -> Labels:
    rows = {row.id: row for row in step.rows(Pair)}
    prompt_ids: dict[str, str] = {}
    for judgements in step.input_artifacts("judgements"):
        prompt_ids |= _prompt_ids(judgements)
    if not prompt_ids:
        prompt_ids = {_pair_id(row.id): row.prompt_id for row in rows.values()}
    dropped = [row.id for row in step.dropped()]
    return Labels(rows, frozenset([*rows, *dropped]), prompt_ids)


@lru_cache(maxsize=4)
def _prompt_ids(judgements: Artifact) -> dict[str, str]:
    """By pair id."""
    return {row.pair_id: row.prompt_id for row in judgements.rows(Judgement)}


def have_same_labels(rows: Sequence[Pair], others: Sequence[Pair]) -> bool:
    """Whether pairs and their order are equal, and labels closer than `SAME_LABEL`."""
    if len(rows) != len(others):
        return False
    for row, other in zip(rows, others, strict=True):
        if (row.id, row.chosen, row.rejected) != (other.id, other.chosen, other.rejected):
            return False
        if abs(row.label - other.label) >= SAME_LABEL:
            return False
    return True
