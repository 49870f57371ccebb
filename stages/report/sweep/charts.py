"""Shared parts of an ablation's drawings, and the chart of ratings.

In: plain data. Out: SVG text, styles. Colours are CSS variables of the page. A verdict has a
word and a shape: a diamond differs, a ring is equivalent, a square is undecided. A
diamond that one seed alone shows is not filled.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from stages.ablation.outcomes import NONE
from stages.report.views import svg
from stages.report.views.charts import Plot, ticks

LONGEST = 30  # letters of a name that fit beside the plot
TICKS = 6
ELLIPSIS = "\u2026"
ANCHOR = 1000.0  # Elo points of the model that all ratings are relative to

# pixels of the chart of ratings
WIDTH = 1040
LEFT = 226
RIGHT = 330
TOP = 34
ROW = 25


def short_name(name: str) -> str:
    """A name that fits beside the plot."""
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + ELLIPSIS


def number_with_interval(x: float, y: float, number: str, rest: str) -> str:
    """A line of text: a number, and in small print what follows it.

    Args:
        rest: the small print, such as the interval of the number.
    """
    small = svg.tag("tspan", svg.plain(rest), kind="tick")
    return svg.tag(
        "text",
        svg.plain(f"{number} "),
        small,
        kind="number",
        x=float(x),
        y=float(y),
    )


def shape(x: float, y: float, verdict: str, one_seed: bool = False) -> str:
    """The verdict's mark, which can be recognised without colour.

    Args:
        one_seed: a difference that one seed alone shows is not filled.
    """
    if verdict == "differs":
        corners = [(x - 7, y), (x, y - 7), (x + 7, y), (x, y + 7)]
        path = "L".join(f"{across:.1f} {down:.1f}" for across, down in corners)
        return svg.tag("path", kind="mark open" if one_seed else "mark", d=f"M{path}Z")
    if verdict == "equivalent":
        return svg.tag("circle", kind="mark open", cx=x, cy=y, r=5)
    return svg.tag(
        "rect",
        kind="mark open",
        x=x - 4.5,
        y=y - 4.5,
        width=9,
        height=9,
    )


def sign(verdict: str, one_seed: bool = False) -> str:
    """The mark as a drawing of its own, for a legend."""
    mark = shape(8.0, 8.0, verdict, one_seed)
    return svg.tag("svg", mark, kind=f"sign {verdict}", viewBox="0 0 16 16", aria_hidden="true")


def tint(value: float, full: float, tone: str) -> str:
    """The background of a table cell, stronger for larger values.

    Args:
        full: the value that has the strongest colour.
        tone: `better`, `worse` or `other`, each of which has its own colour.
    """
    strength = min(abs(value) / full, 1.0) if full else 0.0
    return background(tone, 0.10 + 0.62 * strength)


def background(tone: str, strength: float) -> str:
    """The style of a table cell in the colour of a tone; `strength` goes from 0 to 1."""
    return f"background:rgba(var(--tint-{tone}), {strength:.2f})"


def rating_chart(ratings: Sequence[Mapping[str, Any]]) -> str:
    """Ratings in Elo points with intervals, from `matrix.rate_policies`; 1000 is the anchor."""
    if not ratings:
        return ""
    lows = [rating["low"] for rating in ratings]
    highs = [rating["high"] for rating in ratings]
    low = min(ANCHOR, *lows)
    high = max(ANCHOR, *highs)
    marks = ticks(low, high, TICKS)
    height = TOP + ROW * len(ratings) + 8
    plot = Plot(
        width=WIDTH,
        height=height,
        left=LEFT,
        right=RIGHT,
        top=TOP - 8,
        bottom=4,
        x_range=(marks[0], marks[-1]),
    )
    parts = []
    for mark in marks:
        kind = "zero" if mark == ANCHOR else "grid"
        parts.append(plot.x_tick(mark, f"{mark:g}", TOP - 14, kind))
    for number, rating in enumerate(ratings):
        parts.append(_rating(rating, TOP + ROW * number + ROW / 2, plot))
    return plot.draw(f"Ratings of {len(ratings)} models", parts, "ratings differs")


def _rating(rating: Mapping[str, Any], y: float, plot: Plot) -> str:
    """One model's line."""
    name = rating["model"]
    if name.partition(" ")[0] == NONE:
        name = f"before the method{name.removeprefix(NONE)}"
    elo = f"{rating['elo']:.0f}"
    low = f"{rating['low']:.0f}"
    high = f"{rating['high']:.0f}"
    record = f"{rating['wins']} won, {rating['ties']} tied, {rating['losses']} lost"
    left = plot.x(rating["low"])
    right = plot.x(rating["high"])
    middle = plot.x(rating["elo"])
    return svg.tag(
        "g",
        svg.title(f"{name}: {elo} ({low} to {high}), {record}"),
        svg.text(0, y + 4, short_name(name), "label"),
        svg.line(left, y, right, y, "whisker"),
        svg.tag("circle", kind="mark", cx=middle, cy=y, r=5),
        number_with_interval(WIDTH - RIGHT + 14, y + 4, elo, f"[{low}, {high}] {record}"),
    )
