"""Curves over training steps as inline SVG, of one training or of several in one drawing.

In: plain numbers. Out: SVG text, empty where there is nothing to draw.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from stages.report.views import svg
from stages.report.views.charts import PALETTE, Plot, Point, colour, ticks
from stages.statistics.formatting import format_short

SMOOTH_FROM = 30
"""From this number of points a running mean is drawn, and the points only faintly."""
FEW = 3
"""Up to this number of lines the points are drawn; with more they would hide the means."""


@dataclass(frozen=True)
class Line:
    """One training's curve."""

    name: str
    colour: int
    points: list[Point]
    """(step, value), all finite."""
    marked: bool = False
    """Whether to draw an alarm at its end."""

    @property
    def steps(self) -> Point:
        """Its first and its last step."""
        first, _ = self.points[0]
        last, _ = self.points[-1]
        return first, last

    @property
    def ends(self) -> tuple[str, str]:
        """Its first and its last value."""
        _, first = self.points[0]
        _, last = self.points[-1]
        return f"{first:.3g}", f"{last:.3g}"


def curve(
    history: Sequence[dict[str, float]],
    key: str,
    label: str,
) -> str:
    """One number over the training steps.

    Args:
        history: dicts with `step` and, where it was logged, `key`.
    """
    points = []
    for logged in history:
        if key in logged and math.isfinite(logged[key]):
            points.append((logged["step"], logged[key]))
    if not points:
        return ""
    line = Line(label, 0, points)
    ys = ticks(*_widen(*_range([line])), count=3)
    plot = Plot(
        width=320,
        height=180,
        left=44,
        right=12,
        top=28,
        bottom=26,
        x_range=_steps([line]),
        y_range=(ys[0], ys[-1]),
    )
    parts = [svg.text(plot.left, 16, label, "label")]
    for tick in ys:
        parts.append(plot.y_tick(tick, format_short(tick)))
    parts += _step_labels(plot, [line], plot.height - 8)
    path = plot.path(points)
    x, y = path[-1]
    if len(path) == 1:
        parts.append(svg.text(x + 8, y + 4, line.ends[1], "label name"))
    parts.append(svg.polyline(path, kind="curve"))
    parts.append(svg.tag("circle", kind="end", cx=x, cy=y, r=3.5))
    return plot.draw(f"{label}{_describe(line)}", parts)


def overlay(
    lines: Sequence[Line],
    label: str,
    alarm: str = "",
    from_zero: bool = False,
    least: float = 0.0,
    limit: float = math.inf,
    event: float | None = None,
) -> str:
    """The same number of several trainings in one drawing, on one scale.

    Args:
        alarm: the text beside the heading if a line is marked.
        from_zero: begin the axis at 0.
        least: the least upper end of an axis from 0, so that tiny changes do not look large.
        limit: the value of the alarm, drawn if the curves reach it.
        event: a step that is marked by a vertical line.
    """
    lines = [line for line in lines if line.points]
    if not lines:
        return ""
    low, high = _range(lines)
    if from_zero:
        low = min(0.0, low)
        high = max(least, high)
    low, high = _widen(low, high)
    ys = [tick for tick in ticks(low, high) if low <= tick <= high]
    labels = [format_short(tick) for tick in ys]
    longest = max(map(len, labels), default=0)
    plot = Plot(
        width=200,
        height=142,
        left=max(34.0, 9 + 6.8 * longest),
        right=9,
        top=28,
        bottom=20,
        x_range=_steps(lines),
        y_range=(low, high),
    )
    parts = [svg.text(0, 12, label, "label")]
    if alarm and any(line.marked for line in lines):
        parts.append(svg.text(plot.width, 12, f"\u25b2 {alarm}", "alarm", "end"))
    for tick, text in zip(ys, labels, strict=True):
        parts.append(plot.y_tick(tick, text))
    if limit <= high:
        parts.append(plot.horizontal_line(limit, "limit"))
    if event is not None:
        parts.append(plot.vertical_line(event, "limit"))
    parts += _step_labels(plot, lines, plot.height - 4)
    if len(lines) <= FEW:
        for line in lines:
            if len(line.points) >= SMOOTH_FROM:
                parts.append(_path(plot, line, line.points, "raw"))
    summary = []
    for line in lines:
        described = f"{line.name}{_describe(line)}"
        smooth = running_mean(line.points)
        parts.append(_path(plot, line, smooth, "curve", svg.title(described)))
        summary.append(described)
    parts += [_end(plot, line) for line in lines]
    return plot.draw(f"{label}: {'; '.join(summary)}", parts)


def running_mean(points: Sequence[Point]) -> list[Point]:
    """Average each point over a tenth of all points around it, over fewer at the ends.

    A short curve is returned as it is.
    """
    reach = len(points) // 20 if len(points) >= SMOOTH_FROM else 0
    smooth = []
    for i, (step, _) in enumerate(points):
        window = points[max(0, i - reach) : i + reach + 1]
        values = [value for _, value in window]
        smooth.append((step, sum(values) / len(values)))
    return smooth


def _ends_of(lines: Sequence[Line]) -> Point:
    """The first and the last step of any line."""
    starts = [line.steps[0] for line in lines]
    ends = [line.steps[1] for line in lines]
    return min(starts), max(ends)


def _steps(lines: Sequence[Line]) -> Point:
    """The range of the axis of steps, with a single step in its middle."""
    first, last = _ends_of(lines)
    return (first, last) if last > first else (first - 1, first + 1)


def _step_labels(plot: Plot, lines: Sequence[Line], y: float) -> list[str]:
    """The first and the last step below the axis; a single step once, in the middle."""
    first, last = _ends_of(lines)
    labels = {"middle": first} if first == last else {"start": first, "end": last}
    texts = []
    for anchor, step in labels.items():
        words = format_short(step) if anchor == "start" else f"step {format_short(step)}"
        texts.append(svg.text(plot.x(step), y, words, "tick", anchor))
    return texts


def _describe(line: Line) -> str:
    """The ends of a curve in words, or its only value."""
    start, end = line.ends
    if len(line.points) == 1:
        return f" {end} in its only step"
    return f" from {start} to {end}"


def _range(lines: Sequence[Line]) -> Point:
    """The lowest and the highest value."""
    values = [value for line in lines for _, value in line.points]
    return min(values), max(values)


def _widen(low: float, high: float) -> Point:
    """The range of an axis; where all values are the same, below 0 only if they are."""
    if high > low:
        return low, high
    return max(low - 0.5, min(low, 0.0)), high + 0.5


def _path(
    plot: Plot,
    line: Line,
    points: Sequence[Point],
    kind: str,
    title: str = "",
) -> str:
    style = f"stroke:{colour(line.colour)}"
    if line.colour >= PALETTE and kind == "curve":
        style += ";stroke-dasharray:5 3"
    path = plot.path(points)
    return svg.polyline(path, title, kind=kind, style=style)


def _end(plot: Plot, line: Line) -> str:
    """A dot at the curve's end, or a triangle where it is marked."""
    step, value = running_mean(line.points)[-1]
    x = plot.x(step)
    y = plot.y(value)
    if line.marked:
        left = f"{x - 5:.1f},{y + 4:.1f}"
        right = f"{x + 5:.1f},{y + 4:.1f}"
        tip = f"{x:.1f},{y - 5:.1f}"
        return svg.tag("polygon", kind="tripped", points=f"{left} {right} {tip}")
    style = f"fill:{colour(line.colour)}"
    return svg.tag("circle", cx=x, cy=y, r=2.5, style=style)
