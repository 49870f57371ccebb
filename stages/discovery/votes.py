"""How principles vote on people's choices: for, against, or not at all. Arithmetic only.

In: Judgement rows whose `response_a` is what people chose. Out: counts and shares with intervals.
A principle speaks for a choice if the judge prefers the chosen response under it in both orders,
against it if it prefers the other one in both, and does not apply otherwise.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from stages.preferences.aggregate import combine_orders
from stages.runtime.rows import Judgement
from stages.statistics.intervals import Estimate, by_prompt, share

Unit = Literal["prompt", "pair"]


@dataclass(frozen=True)
class Votes:
    """The votes of one principle."""

    agreeing: int
    """Comparisons in which it speaks for what people chose."""
    against: int
    silent: int
    """Those to which it does not apply."""
    relevant: float
    """The share in which it speaks at all."""
    accuracy: Estimate | None
    """Of these, the share in which it speaks for the choice; None where it never speaks."""

    @property
    def counts(self) -> list[int]:
        """For, against, does not apply."""
        return [self.agreeing, self.against, self.silent]

    def describe(self) -> str:
        """Return the votes in words, as a constitution file states them."""
        text = f"{self.agreeing} comparisons for it, {self.against} against it, "
        text += f"{self.silent} to which it does not apply"
        if self.accuracy:
            estimate = self.accuracy
            text += f"; right where it applies: {estimate.value:.2f} "
            text += f"({estimate.low:.2f} to {estimate.high:.2f}, n={estimate.n})"
        return text


def choice(cell: Judgement, least: float = 0.0) -> int:
    """Return 1 for a cell that speaks for `response_a`, -1 for one against it, else 0.

    Args:
        least: a margin within this speaks neither way.
    """
    margin = combine_orders(cell.margin_ab, cell.margin_ba, "agree")
    return 0 if abs(margin) <= least else (1 if margin > 0 else -1)


def count_votes(
    cells: Iterable[Judgement], least: float, unit: Unit, confidence: float
) -> dict[str, Votes]:
    """Return the votes of each principle, in the order of their first cells.

    Args:
        unit: what the interval counts: requests, whose comparisons are averaged, or comparisons.
    """
    choices: dict[str, list[tuple[str, int]]] = {}
    for cell in cells:
        name = cell.prompt_id if unit == "prompt" else cell.pair_id
        choices.setdefault(cell.principle, []).append((name, choice(cell, least)))
    return {name: _count(votes, confidence) for name, votes in choices.items()}


def _count(choices: Sequence[tuple[str, int]], confidence: float) -> Votes:
    """Return the votes of one principle.

    Args:
        choices: (unit, choice) of each comparison.
    """
    values = [value for _, value in choices]
    right = by_prompt((name, float(value > 0)) for name, value in choices if value)
    return Votes(
        agreeing=values.count(1),
        against=values.count(-1),
        silent=values.count(0),
        relevant=1 - values.count(0) / len(values),
        accuracy=share(right, confidence),
    )
