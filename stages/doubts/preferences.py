"""Signs that labels show something else than a judge's preferences.

In: cells of the judge matrix, and the Pairs made of them. Out: warnings, as in `Result`.
"""

from collections.abc import Collection, Sequence

from stages.runtime.rows import Judgement, Pair

FEWEST = 20
"""Cells or pairs; of fewer nothing is said."""
FLIPPED = 0.8
"""The share of cells whose verdict depends on the order from which on it is worth a warning. A
judge that guesses flips one half.
"""
LONGER = 0.9
"""The same for the share of pairs whose longer side is preferred, or whose shorter one is."""


def doubt_cells(cells: Sequence[Judgement]) -> list[str]:
    """Return a warning where a judge prefers a place and not an answer."""
    if len(cells) < FEWEST:
        return []
    first = sum(cell.margin_ab > 0 > cell.margin_ba for cell in cells)
    second = sum(cell.margin_ab < 0 < cell.margin_ba for cell in cells)
    silent = sum(cell.margin_ab == 0 == cell.margin_ba for cell in cells)
    if silent == len(cells):
        return [f"all {silent} margins of the judge are 0"]
    if first + second <= FLIPPED * len(cells):
        return []
    place = "first" if first > second else "second"
    return [
        f"in {(first + second) / len(cells):.0%} of {len(cells)} cells the judge's verdict turns "
        f"with the order, most often for the answer shown {place}: it judges places, not answers"
    ]


def doubt_pairs(pairs: Sequence[Pair], firsts: Collection[str]) -> list[str]:
    """Return warnings about pairs as a whole.

    Args:
        firsts: the ids of the pairs whose first answer was preferred.
    """
    judged = [pair for pair in pairs if not pair.override]
    if len(judged) < FEWEST:
        return []
    warnings = []
    first = sum(pair.id in firsts for pair in judged)
    if first in (0, len(judged)):
        side = "first" if first else "second"
        warnings.append(f"all {len(judged)} pairs prefer the {side} of their two answers")
    if len({pair.margin for pair in judged}) == 1:
        warnings.append(f"all {len(judged)} pairs have the same margin, {judged[0].margin:g}")
    gaps = [len(pair.chosen) - len(pair.rejected) for pair in judged]
    longer, shorter = sum(gap > 0 for gap in gaps), sum(gap < 0 for gap in gaps)
    if max(longer, shorter) > LONGER * len(judged):
        which = "longer" if longer > shorter else "shorter"
        warnings.append(
            f"in {max(longer, shorter) / len(judged):.0%} of {len(judged)} pairs the {which} "
            "answer is preferred: length alone explains the labels"
        )
    return warnings
