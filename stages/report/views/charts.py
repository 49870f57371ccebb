"""The base of small charts, and one of them: two shares against each other.

In: plain numbers. Out: SVG text. Colours are CSS variables of the page (`--policy-0` ...), so one
drawing works in light and dark mode. The strips of the effect table are plain HTML in the template.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from stages.report.views import svg
from stages.report.views.names import shorten
from stages.statistics.formatting import PER_CENT, format_percent

PALETTE = 6
"""--policy-0 .. --policy-5 in report.css; more policies than that share colours."""
LONGEST = 24
"""Letters of a name in a chart; what is longer is shortened in the middle."""
LETTER, LINE = 7.2, 14.0
"""The usual width of a label's letter, and the height of its line, in pixels."""
Point = tuple[float, float]
Box = tuple[float, float, float]
"""A label's left end, width and height."""
Estimate = dict[str, Any]
Shares = tuple[str, Estimate, Estimate]
"""A policy, and its estimates along x and along y."""


def colour(index: int) -> str:
    """The colour of a policy."""
    return f"var(--policy-{index % PALETTE})"


def ticks(
    low: float,
    high: float,
    count: int = 4,
) -> list[float]:
    """Round numbers that cover [low, high], in steps of 1, 2 or 5 times a power of ten."""
    if not high > low:
        low -= 0.5
        high += 0.5
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    steps = [factor * power for factor in (1, 2, 5, 10)]
    step = next(step for step in steps if step >= raw * 0.999)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


@dataclass(frozen=True)
class Plot:
    """A drawing with margins, all in pixels, and the range of numbers along each axis."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    x_range: Point
    y_range: Point = (0.0, 1.0)

    def x(self, value: float) -> float:
        """Pixels from the left edge."""
        low, high = self.x_range
        room = self.width - self.left - self.right
        return self.left + (value - low) / (high - low) * room

    def y(self, value: float) -> float:
        """Pixels from the upper edge."""
        low, high = self.y_range
        room = self.height - self.top - self.bottom
        return self.floor - (value - low) / (high - low) * room

    @property
    def floor(self) -> float:
        """The height of the horizontal axis."""
        return self.height - self.bottom

    def horizontal_line(self, value: float, kind: str = "grid") -> str:
        """A horizontal line at a value."""
        y = self.y(value)
        return svg.line(self.left, y, self.width - self.right, y, kind)

    def vertical_line(self, value: float, kind: str = "grid") -> str:
        """A vertical line at a value."""
        x = self.x(value)
        return svg.line(x, self.top, x, self.floor, kind)

    def x_tick(self, value: float, label: str, y: float, kind: str = "grid") -> str:
        """A vertical line at a value, and its label at the height `y`."""
        text = svg.text(self.x(value), y, label, "tick", "middle")
        return self.vertical_line(value, kind) + text

    def y_tick(self, value: float, label: str, gap: float = 6) -> str:
        """A horizontal line of the grid with its label on the left, `gap` pixels away."""
        y = self.y(value) + 4
        text = svg.text(self.left - gap, y, label, "tick", "end")
        return self.horizontal_line(value) + text

    def path(self, points: Iterable[Point]) -> list[Point]:
        """Points as pixels."""
        return [(self.x(x), self.y(y)) for x, y in points]

    def draw(self, label: str, parts: Sequence[str], kind: str = "") -> str:
        """The whole drawing; `label` describes it in words."""
        return svg.drawing(self.width, self.height, label, parts, kind)


def trade_off(
    points: Sequence[Shares],
    x_label: str,
    y_label: str,
) -> str:
    """Two shares against each other: a dot with both intervals for each policy, joined in order.

    Args:
        points: shares in [0, 1].
    """
    xs = _axis(across for _, across, _ in points)
    ys = _axis(up for _, _, up in points)
    plot = Plot(
        width=460,
        height=320,
        left=52,
        right=16,
        top=16,
        bottom=44,
        x_range=(0.0, xs[-1]),
        y_range=(0.0, ys[-1]),
    )
    parts = []
    for tick in xs:
        parts.append(plot.x_tick(tick, f"{tick:.0f}", plot.floor + 16))
    for tick in ys:
        parts.append(plot.y_tick(tick, f"{tick:.0f}", gap=8))
    parts += _axis_labels(plot, f"{x_label}, %", f"{y_label}, %")
    dots = plot.path(_center(point) for point in points)
    parts.append(svg.polyline(dots, kind="trail"))
    for index, (name, across, up) in enumerate(points):
        x_text = f"{x_label} {format_percent(across['value'])} %"
        y_text = f"{y_label} {format_percent(up['value'])} %"
        parts += _whiskers(plot, points[index], colour(index))
        parts.append(_dot(dots[index], f"{name}: {x_text}, {y_text}", colour(index)))
    names = [shorten(name, LONGEST) for name, _, _ in points]
    parts += _labels(dots, names, plot)
    return plot.draw(f"{y_label} against {x_label} of each policy", parts)


def _axis(estimates: Iterable[Estimate]) -> list[float]:
    """The ticks of an axis in per cent, from 0 to above the highest interval."""
    highest = max(estimate["high"] for estimate in estimates)
    return [PER_CENT * tick for tick in ticks(0, highest + 0.02)]


def _center(point: Shares) -> Point:
    _, across, up = point
    return PER_CENT * across["value"], PER_CENT * up["value"]


def _axis_labels(
    plot: Plot,
    x_label: str,
    y_label: str,
) -> list[str]:
    middle = (plot.left + plot.width - plot.right) / 2
    below = svg.text(middle, plot.height - 8, x_label, "axis", "middle")
    middle = (plot.top + plot.floor) / 2
    beside = svg.tag(
        "text",
        svg.plain(y_label),
        kind="axis",
        text_anchor="middle",
        transform=f"translate(14 {middle:.1f}) rotate(-90)",
    )
    return [below, beside]


def _whiskers(
    plot: Plot,
    point: Shares,
    shade: str,
) -> list[str]:
    """Both intervals of a policy."""
    _, across, up = point
    center_x, center_y = _center(point)
    x = plot.x(center_x)
    y = plot.y(center_y)
    left = plot.x(PER_CENT * across["low"])
    right = plot.x(PER_CENT * across["high"])
    low = plot.y(PER_CENT * up["low"])
    high = plot.y(PER_CENT * up["high"])
    style = f"stroke:{shade}"
    return [
        svg.line(left, y, right, y, "whisker", style),
        svg.line(x, low, x, high, "whisker", style),
    ]


def _dot(
    place: Point,
    title: str,
    shade: str,
) -> str:
    x, y = place
    return svg.tag(
        "circle",
        svg.title(title),
        kind="dot",
        cx=x,
        cy=y,
        r=6,
        style=f"fill:{shade}",
    )


def _labels(
    dots: Sequence[Point],
    names: Sequence[str],
    plot: Plot,
) -> list[str]:
    """Names beside their dots, on the side with room, moved where two would overlap."""
    used: list[Box] = []
    parts = []
    for (dot_x, dot_y), name in zip(dots, names, strict=True):
        width = LETTER * len(name)
        fits = dot_x + 10 + width < plot.width
        left = dot_x + 10 if fits else dot_x - 10 - width
        y = next(y for y in _heights(dot_y, plot) if not _is_covered(left, width, y, used))
        used.append((left, width, y))
        x, anchor = (left, "start") if fits else (left + width, "end")
        parts.append(svg.text(x, y, name, "label name", anchor))
    return parts


def _heights(dot_y: float, plot: Plot) -> Iterator[float]:
    """Places for a label: above the dot, then down to the axis, then up from there."""
    first = max(dot_y - 9, plot.top)
    y = first
    while y < plot.floor:
        yield y
        y += LINE
    y = first
    while True:
        y -= LINE
        yield y


def _is_covered(left: float, width: float, y: float, used: Sequence[Box]) -> bool:
    for left2, width2, y2 in used:
        beside = left + width < left2 or left2 + width2 < left
        if abs(y - y2) < LINE and not beside:
            return True
    return False
