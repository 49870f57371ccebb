"""Lists of principles that reward models are asked under. Pure functions.

In: cells. Out: for each pair a list of texts in two orders.
"""

from collections.abc import Sequence
from typing import NamedTuple

from stages.evaluation.rewards.cells import Cell, Question, by_pair
from stages.principles.constitution import wording
from stages.runtime.store import derive_seed


class PrincipleList(NamedTuple):
    """A cell, and the principle texts under which its pair is shown."""

    cell: Cell
    texts: tuple[str, ...]
    reordered: tuple[str, ...]
    """The same texts in another order."""

    def questions(self) -> tuple[Question, Question]:
        """The pair under the texts in both orders."""
        better = self.cell.better
        first = self.cell.question(self.texts, better)
        return first, self.cell.question(self.reordered, better)


Lists = list[PrincipleList]


def agreeing_lists(cells: Sequence[Cell], size: int, seed: int) -> Lists:
    """For each pair with two cells or more, texts that prefer the same response as its first cell.

    A principle that prefers the other response is negated, or left out if it has no opposite.

    Args:
        size: the largest number of texts in a list.
    """
    lists: Lists = []
    for pair, group in by_pair(cells).items():
        ranked = _rank(group, seed, "list")
        first = ranked[0]
        texts = []
        for cell in ranked:
            agrees = cell.better == first.better
            if agrees or cell.principle.opposite:
                texts.append(wording(cell.principle, not agrees))
        texts = texts[:size]
        if len(texts) < 2:
            continue
        shift = 1 + derive_seed(seed, "permutation", pair) % (len(texts) - 1)
        reordered = texts[shift:] + texts[:shift]
        lists.append(PrincipleList(first, tuple(texts), tuple(reordered)))
    return lists


def distractor_lists(
    cells: Sequence[Cell],
    undecided: Sequence[Cell],
    size: int,
    seed: int,
) -> Lists:
    """For each pair one cell, its text after and before texts that prefer neither response.

    Args:
        undecided: cells that prefer neither response; their texts are the distractors.
        size: the largest number of texts in a list.
    """
    others = by_pair(undecided)
    lists: Lists = []
    for pair, group in by_pair(cells).items():
        if pair not in others:
            continue
        cell = _rank(group, seed, "lone")[0]
        undecided_cells = _rank(others[pair], seed, "lone")[: size - 1]
        distractor_texts = tuple(wording(other.principle) for other in undecided_cells)
        text = (wording(cell.principle),)
        lists.append(PrincipleList(cell, distractor_texts + text, text + distractor_texts))
    return lists


def _rank(cells: Sequence[Cell], seed: int, purpose: str) -> list[Cell]:
    """The cells of one pair in an order drawn by a hash."""

    def rank(cell: Cell) -> int:
        return derive_seed(seed, purpose, cell.row.pair_id, cell.principle.id)

    return sorted(cells, key=rank)
