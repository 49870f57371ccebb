"""Parts of an ablation's drawings, and the chart of ratings.

In: plain numbers. Out: SVG text, styles. Colours are CSS variables of the page. A verdict shows in
its word and in its shape: a filled diamond works, a ring is equivalent, an open square is
undecided.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from stages.report.views import svg
from stages.report.views.charts import ticks

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


@dataclass(frozen=True)
class Axis:
    """The horizontal axis of a plot: its ticks, from the pixel `left` to the pixel `right`."""

    ticks: list[float]
    left: float
    right: float

    @classmethod
    def over(
        cls,
        low: float,
        high: float,
        left: float,
        right: float,
    ) -> "Axis":
        """An axis that covers all numbers from `low` to `high`."""
        return cls(ticks(low, high, TICKS), left, right)

    def x(self, value: float) -> float:
        """The pixel of a number."""
        first, last = self.ticks[0], self.ticks[-1]
        return self.left + (value - first) / (last - first) * (self.right - self.left)

    def upright(
        self,
        value: float,
        top: float,
        bottom: float,
        kind: str,
    ) -> str:
        """A vertical line at a number, from one height to another."""
        x = self.x(value)
        return svg.line(x, top, x, bottom, kind)


def drawing(kind: str, width: float, height: float, label: str, parts: Sequence[str]) -> str:
    """A whole drawing with a class of its own; `label` says in words what it shows."""
    return svg.tag(
        "svg",
        *parts,
        kind=kind,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_label=label,
    )


def short_name(name: str) -> str:
    """A name that fits beside the plot."""
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + ELLIPSIS


def number_with_interval(x: float, y: float, number: str, rest: str) -> str:
    """A line of text: a number, and in small print what stands beside it.

    Args:
        rest: such as the number's interval.
    """
    small = svg.tag("tspan", svg.plain(rest), kind="tick")
    place = {"x": float(x), "y": float(y)}
    return svg.tag("text", svg.plain(f"{number} "), small, kind="number", **place)


def shape(x: float, y: float, verdict: str) -> str:
    """The verdict's mark, which can be recognised without colour."""
    if verdict == "works":
        corners = [(x - 7, y), (x, y - 7), (x + 7, y), (x, y + 7)]
        path = "L".join(f"{across:.1f} {down:.1f}" for across, down in corners)
        return svg.tag("path", kind="mark", d=f"M{path}Z")
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


def sign(verdict: str) -> str:
    """The mark alone, for a legend."""
    mark = shape(8.0, 8.0, verdict)
    return svg.tag("svg", mark, kind=f"sign {verdict}", viewBox="0 0 16 16", aria_hidden="true")


def tint(value: float, full: float, mood: str) -> str:
    """A cell's background, stronger the larger the value.

    Args:
        full: the value that has the strongest colour.
        mood: `better`, `worse` or `other`, which have a colour each.
    """
    strength = min(abs(value) / full, 1.0) if full else 0.0
    return background(mood, 0.10 + 0.62 * strength)


def background(mood: str, strength: float) -> str:
    """The style of a cell in the colour of a mood; `strength` goes from 0 to 1."""
    return f"background:rgba(var(--tint-{mood}), {strength:.2f})"


@dataclass(frozen=True)
class RatingBar:
    """One model's rating.

    Args:
        value, low, high: Elo points.
        record: wins, ties and losses in words.
    """

    name: str
    value: float
    low: float
    high: float
    record: str


def rating_chart(bars: Sequence[RatingBar]) -> str:
    """Ratings in Elo points with intervals, the strongest first; 1000 is the anchor."""
    if not bars:
        return ""
    height = TOP + ROW * len(bars) + 8
    low = min(ANCHOR, *(bar.low for bar in bars))
    high = max(ANCHOR, *(bar.high for bar in bars))
    axis = Axis.over(low, high, LEFT, WIDTH - RIGHT)
    parts = []
    for tick in axis.ticks:
        kind = "zero" if tick == ANCHOR else "grid"
        parts.append(axis.upright(tick, TOP - 8, height - 4, kind))
        parts.append(svg.text(axis.x(tick), TOP - 14, f"{tick:g}", "tick", "middle"))
    for number, bar in enumerate(bars):
        parts.append(_rating(bar, TOP + ROW * number + ROW / 2, axis))
    label = f"Ratings of {len(bars)} models"
    return drawing("ratings works", WIDTH, height, label, parts)


def _rating(bar: RatingBar, y: float, axis: Axis) -> str:
    """One model's line."""
    value, low, high = f"{bar.value:.0f}", f"{bar.low:.0f}", f"{bar.high:.0f}"
    return svg.tag(
        "g",
        svg.title(f"{bar.name}: {value} ({low} to {high}), {bar.record}"),
        svg.text(0, y + 4, short_name(bar.name), "label"),
        svg.line(axis.x(bar.low), y, axis.x(bar.high), y, "whisker"),
        svg.tag("circle", kind="mark", cx=axis.x(bar.value), cy=y, r=5),
        number_with_interval(WIDTH - RIGHT + 14, y + 4, value, f"[{low}, {high}] {bar.record}"),
    )
