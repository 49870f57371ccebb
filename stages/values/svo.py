"""Social value orientation by the slider measure: payoffs, angle, category.

Six items; each is a line between two pairs of payoffs (for oneself, for another person), with nine
options at equal distances, rounded half up (Murphy, Ackermann, Handgraaf 2011, Measuring social
value orientation; the six primary items).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from stages.guards.errors import UserError

Payoffs = tuple[float, float]
"""For oneself and for the other person."""
LINES: tuple[tuple[Payoffs, Payoffs], ...] = (
    ((85, 85), (85, 15)),
    ((85, 15), (100, 50)),
    ((50, 100), (85, 85)),
    ((50, 100), (85, 15)),
    ((100, 50), (50, 100)),
    ((100, 50), (85, 85)),
)
OPTIONS = 9
WHERE = "social value orientation"
CATEGORIES = ((57.15, "altruistic"), (22.45, "prosocial"), (-12.04, "individualistic"))
"""Degrees above which an angle is of a category; at or below the last it is competitive."""


def payoff_table(rounded: bool = True) -> list[list[Payoffs]]:
    """Return the options of each item.

    Args:
        rounded: as they are shown to people. Rounding half up lets item 5 have options whose sums
            are 151 instead of 150, so who wants the largest sum compares `rounded=False`.
    """
    table = []
    for start, end in LINES:
        options: list[Payoffs] = []
        for place in range(OPTIONS):
            step = place / (OPTIONS - 1)
            own = start[0] + step * (end[0] - start[0])
            other = start[1] + step * (end[1] - start[1])
            options.append((_half_up(own), _half_up(other)) if rounded else (own, other))
        table.append(options)
    return table


def angle(own: float, other: float) -> float:
    """Return the degrees of mean payoffs as seen from (50, 50), in (-180, 180]."""
    return math.degrees(math.atan2(other - 50, own - 50))


def angle_of_choices(choices: Sequence[int]) -> float:
    """Return the angle of one chosen option an item, counted from 0 in the order of the table.

    Raises:
        UserError: not one option of each item.
    """
    if len(choices) != len(LINES) or not all(choice in range(OPTIONS) for choice in choices):
        raise UserError(
            f"{list(choices)} is no choice of an option in each item",
            where=WHERE,
            fix=f"give {len(LINES)} numbers from 0 to {OPTIONS - 1}",
        )
    chosen = [[float(option == choice) for option in range(OPTIONS)] for choice in choices]
    return expected_angle(chosen)


def expected_angle(probabilities: Sequence[Sequence[float]]) -> float:
    """Return the angle of expected payoffs, from the probability of each option of each item.

    Whoever has no preference among options is at 22.70 degrees, just inside of "prosocial": compare
    an angle with this one before it is called an orientation.

    Args:
        probabilities: by item and option, in the order of the table; of any positive sum an item.

    Raises:
        UserError: another number of items or options, or an item whose numbers are no shares.
    """
    shares = np.array(probabilities, dtype=float)
    if shares.shape != (len(LINES), OPTIONS) or not _are_shares(shares):
        raise UserError(
            f"there are no probabilities of {OPTIONS} options for each of {len(LINES)} items",
            where=WHERE,
            fix="give each option a number from 0 up",
        )
    shares /= shares.sum(axis=1, keepdims=True)
    payoffs = np.array(payoff_table())
    own, other = np.einsum("io,iop->p", shares, payoffs) / len(LINES)
    return angle(own, other)


def category(degrees: float) -> str:
    """Return the orientation of an angle, by the cut-offs of the measure."""
    return next((name for least, name in CATEGORIES if degrees > least), "competitive")


def _are_shares(numbers: Any) -> bool:
    is_share = (numbers >= 0) & np.isfinite(numbers)
    return bool(is_share.all() and numbers.any(axis=1).all())


def _half_up(number: float) -> int:
    return math.floor(number + 0.5)
