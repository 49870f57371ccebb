"""What the page's tables have in common: an estimate on a strip, and a change with its verdict.

In: estimates and differences of shares, as metrics hold them. Out: plain data for the template, in
per cent and percentage points.
"""

from typing import Any

from stages.statistics.formatting import (
    PER_CENT,
    format_percent,
    format_percent_range,
    format_points,
    format_points_range,
)

Metrics = dict[str, Any]
"""What a step measured, or a part of it."""
View = dict[str, Any]
"""Plain data for a template."""


def mark_change(difference: Metrics | None, good: int) -> dict[str, str] | None:
    """A difference of shares in words.

    Args:
        good: 1 if more is better, -1 if less is.

    Returns:
        Its text and interval, what the page shows under the mouse, and whether it is `better`,
        `worse` or, where the interval holds 0, the `same`. None if there is no difference.
    """
    if difference is None:
        return None
    title = f"{difference['fell']} prompts fell, {difference['rose']} rose"
    if difference["p"] is not None:
        title += f"; exact McNemar p = {difference['p']:.2g}"
    return {
        "text": format_points(difference["value"]),
        "interval": format_points_range(difference["low"], difference["high"]),
        "mood": mood(difference["low"], difference["high"], good),
        "title": title,
    }


def mood(low: float, high: float, good: int) -> str:
    """How the page colours an interval: `same` where it holds 0, else `better` or `worse`.

    `other` where more is neither good (1) nor bad (-1).
    """
    if low <= 0 <= high:
        return "same"
    if not good:
        return "other"
    return "better" if (low > 0) == (good > 0) else "worse"


def place_estimate(estimate: Metrics, places: int = 1) -> View:
    """Where an estimate and its interval lie on a strip from 0 to 100, and its text."""
    low = PER_CENT * estimate["low"]
    high = PER_CENT * estimate["high"]
    bounds = format_percent_range(estimate["low"], estimate["high"])
    return {
        "text": format_percent(estimate["value"], places),
        "at": PER_CENT * estimate["value"],
        "low": low,
        "width": high - low,
        "title": f"{bounds}, {estimate['n']} prompts",
    }
