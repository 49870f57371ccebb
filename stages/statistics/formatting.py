"""Numbers as text: how a share, a change or an interval is written in tables and on pages.

A share is a number from 0 to 1 and is written in per cent; the difference of two shares is written
in percentage points. Pages have a true minus sign and an en dash where there is no number. Tables
in the terminal contain only ASCII characters: `format_estimate` and `format_change`, and every
other function with `missing=NO_VALUE`. A zero has no minus sign.
"""

from collections.abc import Mapping
from typing import Any, Literal

MINUS = "\u2212"
DASH = "\u2013"
"""What a page shows where there is no number."""
NO_VALUE = "-"
"""What a table in the terminal shows where there is no number."""
PER_CENT = 100.0
Sign = Literal["", "+"]
"""`+`: positive numbers get a sign, too."""


def format_percent(share: float | None, places: int = 1, missing: str = DASH) -> str:
    """A share in per cent, without the unit: `58.2`."""
    return missing if share is None else f"{PER_CENT * share:z.{places}f}"


def format_percent_range(low: float, high: float) -> str:
    """Two shares with their unit: `54.0 to 62.3 %`."""
    return f"{format_percent(low)} to {format_percent(high)} %"


def format_points(difference: float) -> str:
    """A difference of two shares in points with its sign: `−12.3`, `+4.0`, or `0.0`."""
    text = format_percent(abs(difference))
    if float(text) == 0:
        return text
    return f"{'+' if difference > 0 else MINUS}{text}"


def format_points_range(low: float, high: float) -> str:
    """Two differences of shares in points: `−1.2 to +3.4`."""
    return f"{format_points(low)} to {format_points(high)}"


def format_number(
    value: float | None, places: int = 2, sign: Sign = "", missing: str = DASH
) -> str:
    """A number with a fixed number of decimals and a true minus sign: `−0.25`; 0 has no sign."""
    if value is None:
        return missing
    text = f"{value:{sign}.{places}f}"
    return text.replace("-", MINUS) if float(text) else text.lstrip("+-")


def format_short(value: float, sign: Sign = "") -> str:
    """A number with as few digits as it needs, at most six, and a true minus sign: `0.1`, `20`."""
    return f"{value:{sign}g}".replace("-", MINUS)


def format_p_value(p: float, alpha: float = 0.05) -> str:
    """`0.038`, or `< 0.001` for anything smaller.

    With more decimals close to `alpha`, so that two verdicts never stand beside the same p.
    """
    if p < 0.001:
        return "< 0.001"
    text = f"{p:.3f}"
    places = 3
    while float(text) == alpha != p and places < 9:
        places += 1
        text = f"{p:.{places}f}"
    return text


def format_confidence(confidence: float) -> str:
    """The confidence of an interval with its unit: `95 %`, `97.5 %`."""
    return f"{PER_CENT * confidence:g} %"


def format_count(number: float | None) -> str:
    """A whole number with a comma between thousands: `12,345`."""
    return "" if number is None else f"{number:,.0f}"


def format_plural(number: int, noun: str) -> str:
    """A count and what is counted: `1 call`, `1,200 calls`."""
    return f"{format_count(number)} {noun}{'' if number == 1 else 's'}"


def format_seconds(seconds: float) -> str:
    """A duration with its unit: `12.3 s`, and without a decimal from 1,000 s: `1,234 s`."""
    return f"{seconds:,.0f} s" if seconds >= 1000 else f"{seconds:.1f} s"


def format_estimate(
    estimate: Mapping[str, Any] | None,
    factor: float = PER_CENT,
    places: int = 1,
    bound_places: int | None = None,
    sign: Sign = "",
) -> str:
    """`58.2 [54.0,62.3]` for a table in the terminal.

    Args:
        estimate: `value`, `low` and `high`. Without a value the text is a dash, and without bounds
            the value alone.
        factor: of all three numbers. 100 for shares, in per cent or points; 1 for other numbers.
        places: decimals of the value, and of the bounds unless `bound_places` is given.
    """
    if estimate is None or estimate["value"] is None:
        return NO_VALUE
    value = f"{factor * estimate['value']:{sign}z.{places}f}"
    if estimate["low"] is None:
        return value
    bounds = places if bound_places is None else bound_places
    low = f"{factor * estimate['low']:{sign}z.{bounds}f}"
    high = f"{factor * estimate['high']:{sign}z.{bounds}f}"
    return f"{value} [{low},{high}]"


def format_change(difference: Mapping[str, Any] | None) -> str:
    """`-32 [-37,-28]`: a difference of shares and its interval in points, for the terminal.

    Numbers below one point have a decimal.
    """
    if difference is None:
        return NO_VALUE
    texts = []
    for name in ("value", "low", "high"):
        points = PER_CENT * difference[name]
        texts.append(f"{points:+.0f}" if abs(points) >= 1 else f"{points:+z.1f}")
    value, low, high = texts
    return f"{value} [{low},{high}]"
