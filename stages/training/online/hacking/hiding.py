"""Dropout of what a judge reads: in each step some principles or criteria are hidden.

In: principles or criteria, the share that is hidden, the run's seed, the step. Out: those that are
read, at least one of them. Which are hidden follows from the seed, the step and their ids alone, so
that all answers of a step are scored alike, and a resumed training hides the same.

A policy that games one criterion is then not paid for it in every step. Source: Rubric Dropout
(2026, arXiv 2608.11669).
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from stages.runtime.rows import Proposal
from stages.runtime.store import derive_fraction

Item = TypeVar("Item")


def hide(
    items: Sequence[Item],
    share: float,
    seed: int,
    step: int,
    name: Callable[[Item], str],
) -> list[Item]:
    """Return the items that are read in a step, in their order.

    Args:
        share: each is hidden with this probability; the luckiest one stays in any case.
        name: the id of an item.
    """
    if not share or not items:
        return list(items)
    chances = [_chance(seed, step, name(item)) for item in items]
    luckiest = max(chances)
    return [
        item
        for item, chance in zip(items, chances, strict=True)
        if chance >= share or chance == luckiest
    ]


def hide_criteria(
    criteria: Sequence[Proposal], share: float, seed: int, step: int
) -> list[Proposal]:
    """Return the criteria of a rubric that are read in a step: its gates, and at least one that an
    answer can gain by.
    """
    if not share:
        return list(criteria)
    gaining = [row for row in criteria if row.weight > 0 and not row.gate]
    others = [row for row in criteria if row.weight <= 0 and not row.gate]
    shown = {row.id for row in criteria if row.gate}
    shown |= {row.id for row in hide(gaining, share, seed, step, _id_of)}
    shown |= {row.id for row in others if _chance(seed, step, row.id) >= share}
    return [row for row in criteria if row.id in shown]


def _id_of(row: Proposal) -> str:
    return row.id


def _chance(seed: int, step: int, item: str) -> float:
    return derive_fraction(seed, "dropout", step, item)
