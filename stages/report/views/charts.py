"""What small charts share, and one of them: two shares against each other.

In: plain numbers. Out: SVG text. Colours are CSS variables of the page (`--policy-0` ...), so one
drawing serves light and dark. The strips of the effect table are plain HTML and are in the
template.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stages.report.views import svg
from stages.statistics.formatting import format_percent

PALETTE = 6
"""--policy-0 .. --policy-5 in report.css; more policies than that share colours."""
Point = tuple[float, float]
Estimate = dict[str, Any]


def colour(index: int) -> str:
    """The colour of a policy."""
    return f"var(--policy-{index % PALETTE})"


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers that cover [low, high], in steps of 1, 2 or 5 times a power of ten."""
    if not high > low:
        low, high = low - 0.5, high + 0.5
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


@dataclass(frozen=True)
class Plot:
    """A drawing with margins, and the range of numbers along each axis between them."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    x_range: Point
    y_range: Point

    def x(self, value: float) -> float:
        """Pixels from the left edge."""
        low, high = self.x_range
        return self.left + (value - low) / (high - low) * (self.width - self.left - self.right)

    def y(self, value: float) -> float:
        """Pixels from the upper edge."""
        low, high = self.y_range
        inside = self.height - self.top - self.bottom
        return self.height - self.bottom - (value - low) / (high - low) * inside

    def across(self, value: float, kind: str = "grid") -> str:
        """A line from the left to the right margin."""
        return svg.line(self.left, self.y(value), self.width - self.right, self.y(value), kind)

    def upright(self, value: float, kind: str = "grid") -> str:
        """A line from the upper to the lower margin."""
        return svg.line(self.x(value), self.top, self.x(value), self.height - self.bottom, kind)


def trade_off(points: Sequence[tuple[str, Estimate, Estimate]], x_label: str, y_label: str) -> str:
    """Two shares against each other: a dot with both intervals for each policy, joined in order.

    Args:
        points: (policy, estimate along x, estimate along y); shares in [0, 1].
    """
    xs = [100 * tick for tick in ticks(0, max(across["high"] for _, across, _ in points) + 0.02)]
    ys = [100 * tick for tick in ticks(0, max(up["high"] for _, _, up in points) + 0.02)]
    plot = Plot(460, 320, 52, 16, 16, 44, (0.0, xs[-1]), (0.0, ys[-1]))
    parts = _axes(plot, xs, ys, f"{x_label}, %", f"{y_label}, %")
    places = []
    for _, across, up in points:
        places.append((plot.x(100 * across["value"]), plot.y(100 * up["value"])))
    parts.append(svg.polyline(places, kind="trail"))
    for index, (name, across, up) in enumerate(points):
        x, y = places[index]
        stroke = f"stroke:{colour(index)}"
        left, right = (plot.x(100 * across[bound]) for bound in ("low", "high"))
        low, high = (plot.y(100 * up[bound]) for bound in ("low", "high"))
        parts.append(svg.line(left, y, right, y, "whisker", stroke))
        parts.append(svg.line(x, low, x, high, "whisker", stroke))
        shares = (
            f"{x_label} {format_percent(across['value'])} %",
            f"{y_label} {format_percent(up['value'])} %",
        )
        title = svg.title(f"{name}: {', '.join(shares)}")
        fill = f"fill:{colour(index)}"
        parts.append(svg.tag("circle", title, kind="dot", cx=x, cy=y, r=6, style=fill))
    names = [name for name, _, _ in points]
    parts += _labels(places, names, plot.width - plot.right)
    label = f"{y_label} against {x_label} of each policy"
    return svg.drawing(plot.width, plot.height, label, parts)


def _axes(
    plot: Plot, xs: Sequence[float], ys: Sequence[float], x_label: str, y_label: str
) -> list[str]:
    low = plot.height - plot.bottom
    parts = []
    for tick in xs:
        parts.append(plot.upright(tick))
        parts.append(svg.text(plot.x(tick), low + 16, f"{tick:.0f}", "tick", "middle"))
    for tick in ys:
        parts.append(plot.across(tick))
        parts.append(svg.text(plot.left - 8, plot.y(tick) + 4, f"{tick:.0f}", "tick", "end"))
    center = (plot.left + plot.width - plot.right) / 2
    parts.append(svg.text(center, plot.height - 8, x_label, "axis", "middle"))
    center = (plot.top + low) / 2
    turn = f"translate(14 {center:.1f}) rotate(-90)"
    y_axis = svg.plain(y_label)
    parts.append(svg.tag("text", y_axis, kind="axis", text_anchor="middle", transform=turn))
    return parts


def _labels(places: Sequence[Point], names: Sequence[str], right: float) -> list[str]:
    """Names beside their dots, on the side with room, moved down where two would overlap."""
    used: list[Point] = []
    parts = []
    for (dot, height), name in zip(places, names, strict=True):
        fits = dot + 12 + 7 * len(name) < right
        x = dot + 10 if fits else dot - 10
        y = height - 9
        while any(abs(y - y2) < 13 and abs(x - x2) < 90 for x2, y2 in used):
            y += 13
        used.append((x, y))
        parts.append(svg.text(x, y, name, "label", "start" if fits else "end"))
    return parts
