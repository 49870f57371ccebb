"""Parts of the page's tables: an estimate on a strip, and a change with its tone.

In: estimates and differences of shares, as metrics hold them, and the doubt about what measured
them (see `instrument/doubt`). Out: plain data for the template, in per cent and percentage points;
what is in doubt has no tone, and the page marks it.
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
"""The metrics of a step, or a part of them."""
View = dict[str, Any]
"""Plain data for a template."""


def mark_change(difference: Metrics | None, good: int, doubt: str = "") -> dict[str, str] | None:
    """A difference of shares in words.

    Args:
        good: 1 if more is better, -1 if less is.

    Returns:
        `text`, `interval`, `title` (shown under the mouse), `doubt` and `tone` (see
        `tone_of_change`). None if there is no difference.
    """
    if difference is None:
        return None
    title = f"{difference['fell']} prompts fell, {difference['rose']} rose"
    if difference["p"] is not None:
        title += f"; exact McNemar p = {difference['p']:.2g}"
    return {
        "text": format_points(difference["value"]),
        "interval": format_points_range(difference["low"], difference["high"]),
        "tone": "same" if doubt else tone_of_change(difference["low"], difference["high"], good),
        "title": title,
        "doubt": doubt,
    }


def tone_of_change(low: float, high: float, good: int) -> str:
    """The tone of a change, which sets its colour: `same` where the interval contains 0.

    Otherwise `better` or `worse`, or `other` where more is neither good (1) nor bad (-1).
    """
    if low <= 0 <= high:
        return "same"
    if not good:
        return "other"
    return "better" if (low > 0) == (good > 0) else "worse"


def place_estimate(estimate: Metrics, places: int = 1, doubt: str = "") -> View:
    """Where an estimate and its interval lie on a strip from 0 to 100, and its text."""
    low = PER_CENT * estimate["low"]
    high = PER_CENT * estimate["high"]
    bounds = format_percent_range(estimate["low"], estimate["high"])
    return {
        "text": format_percent(estimate["value"], places),
        "at": PER_CENT * estimate["value"],
        "low": low,
        "width": high - low,
        "bounds": bounds,
        "title": f"{bounds}, {estimate['n']} prompts",
        "doubt": doubt,
    }
