"""Curves over training steps as inline SVG: one of one training, or the same of several.

In: plain numbers. Out: SVG text, or none where there is nothing to draw.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from stages.report.views import svg
from stages.report.views.charts import PALETTE, Plot, Point, colour, ticks
from stages.statistics.formatting import format_short, format_significant

SMOOTH_FROM = 30
"""Points of a curve from which its running mean is drawn, and the points themselves faintly."""
FEW = 3
"""Lines up to which the points themselves are drawn; of more they would hide the means."""


@dataclass(frozen=True)
class Line:
    """One training's curve."""

    name: str
    colour: int
    points: list[Point]
    """(step, value), all finite."""
    marked: bool = False
    """Draw an alarm at its end."""

    def ends(self) -> tuple[str, str]:
        """Its first and last value."""
        return format_significant(self.points[0][1]), format_significant(self.points[-1][1])


def curve(history: Sequence[dict[str, float]], key: str, label: str) -> str:
    """One number over the training steps.

    Args:
        history: dicts with `step` and, where it was logged, `key`.
    """
    points = [(p["step"], p[key]) for p in history if key in p and math.isfinite(p[key])]
    if not points:
        return ""
    values = [value for _, value in points]
    ys = ticks(min(values), max(values), 3)
    first, last = points[0][0], points[-1][0]
    plot = Plot(320, 180, 44, 12, 28, 26, _steps(first, last), (ys[0], ys[-1]))
    parts = [svg.text(plot.left, 16, label, "label")]
    for tick in ys:
        parts.append(plot.across(tick))
        parts.append(svg.text(plot.left - 6, plot.y(tick) + 4, format_short(tick), "tick", "end"))
    low = plot.height - 8
    parts.append(svg.text(plot.x(first), low, f"step {format_short(first)}", "tick"))
    parts.append(svg.text(plot.x(last), low, f"step {format_short(last)}", "tick", "end"))
    places = [(plot.x(step), plot.y(value)) for step, value in points]
    parts.append(svg.polyline(places, kind="curve"))
    x, y = places[-1]
    parts.append(svg.tag("circle", kind="end", cx=x, cy=y, r=3))
    start, end = Line(label, 0, points).ends()
    return svg.drawing(plot.width, plot.height, f"{label}, from {start} to {end}", parts)


def overlay(
    lines: Sequence[Line],
    label: str,
    alarm: str = "",
    from_zero: bool = False,
    least: float = 0.0,
    limit: float = math.inf,
) -> str:
    """The same number of several trainings in one drawing, on one scale.

    Args:
        alarm: what stands beside the heading if a line is marked.
        from_zero: begin the axis at 0.
        least: what an axis from 0 covers at least, so that tiny changes do not look large.
        limit: where an alarm goes off, drawn if the curves come near it.
    """
    lines = [line for line in lines if line.points]
    if not lines:
        return ""
    low, high = _range(lines, from_zero, least)
    ys = [tick for tick in ticks(low, high) if low <= tick <= high]
    labels = [format_short(tick) for tick in ys]
    left = max(34.0, 9 + 6.8 * max(map(len, labels), default=0))
    first = min(line.points[0][0] for line in lines)
    last = max(line.points[-1][0] for line in lines)
    plot = Plot(200, 142, left, 9, 28, 20, _steps(first, last), (low, high))
    parts = [svg.text(0, 12, label, "label")]
    if any(line.marked for line in lines) and alarm:
        parts.append(svg.text(plot.width, 12, f"\u25b2 {alarm}", "alarm", "end"))
    for tick, text in zip(ys, labels, strict=True):
        parts.append(plot.across(tick))
        parts.append(svg.text(left - 6, plot.y(tick) + 4, text, "tick", "end"))
    if limit <= high:
        parts.append(plot.across(limit, "limit"))
    bottom = plot.height - 4
    parts.append(svg.text(plot.x(first), bottom, format_short(first), "tick"))
    if last > first:
        parts.append(svg.text(plot.x(last), bottom, f"step {format_short(last)}", "tick", "end"))
    for line in lines:
        if len(lines) <= FEW and len(line.points) >= SMOOTH_FROM:
            parts.append(_path(plot, line, line.points, "raw"))
    for line in lines:
        title = svg.title("{}: {} to {}".format(line.name, *line.ends()))
        parts.append(_path(plot, line, running_mean(line.points), "curve", title))
    parts += [_end(plot, line) for line in lines]
    summary = "; ".join("{} from {} to {}".format(line.name, *line.ends()) for line in lines)
    return svg.drawing(plot.width, plot.height, f"{label}: {summary}", parts)


def running_mean(points: Sequence[Point]) -> list[Point]:
    """Each point as the mean of a tenth of all points around it, of fewer at the ends.

    A short curve is returned as it is.
    """
    reach = len(points) // 20 if len(points) >= SMOOTH_FROM else 0
    smooth = []
    for i, (step, _) in enumerate(points):
        window = points[max(0, i - reach) : i + reach + 1]
        smooth.append((step, sum(value for _, value in window) / len(window)))
    return smooth


def _steps(first: float, last: float) -> Point:
    """The range of the axis of steps; a single step has a width too."""
    return first, max(last, first + 1)


def _range(lines: Sequence[Line], from_zero: bool, least: float) -> Point:
    values = [value for line in lines for _, value in line.points]
    low, high = min(values), max(values)
    if from_zero:
        low, high = min(0.0, low), max(least, high)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _path(plot: Plot, line: Line, points: Sequence[Point], kind: str, title: str = "") -> str:
    style = f"stroke:{colour(line.colour)}"
    if line.colour >= PALETTE and kind == "curve":
        style += ";stroke-dasharray:5 3"
    places = [(plot.x(step), plot.y(value)) for step, value in points]
    return svg.polyline(places, title, kind=kind, style=style)


def _end(plot: Plot, line: Line) -> str:
    """A dot at the curve's end, or a triangle where it is marked."""
    step, value = running_mean(line.points)[-1]
    x, y = plot.x(step), plot.y(value)
    if line.marked:
        corners = f"{x - 5:.1f},{y + 4:.1f} {x + 5:.1f},{y + 4:.1f} {x:.1f},{y - 5:.1f}"
        return svg.tag("polygon", kind="tripped", points=corners)
    return svg.tag("circle", cx=x, cy=y, r=2.5, style=f"fill:{colour(line.colour)}")
