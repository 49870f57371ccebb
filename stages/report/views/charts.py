"""Small charts as inline SVG: the trade-off of two shares, training curves, and the same curve of
several trainings.

In: plain numbers. Out: SVG text. Colours are CSS variables of the page (`--policy-0` ...), so one
drawing serves light and dark; all text is escaped here. The strips of the effect table are plain
HTML and live in the template.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

PALETTE = 6  # --policy-0 .. --policy-5 in report.css; more policies than that share colours
# points of a curve from which its running mean is drawn, and the points themselves only faintly
SMOOTH_FROM = 30
FEW = 3  # lines up to which the points themselves are drawn


def colour(index: int) -> str:
    return f"var(--policy-{index % PALETTE})"


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers that cover [low, high], in steps of 1, 2 or 5 times a power of ten."""
    if not high > low:
        low, high = low - 0.5, high + 0.5
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def trade_off(
    points: Sequence[tuple[str, dict[str, Any], dict[str, Any]]], x_label: str, y_label: str
) -> str:
    """Two shares against each other, one dot a policy with both intervals, joined in the policies'
    order.

    Args:
        points: (policy, estimate along x, estimate along y); shares in [0, 1].
    """
    width, height, left, right, top, bottom = 460, 320, 52, 16, 16, 44
    xs = [round(100 * t) for t in ticks(0, max(a["high"] for _, a, _ in points) + 0.02)]
    ys = [round(100 * t) for t in ticks(0, max(b["high"] for _, _, b in points) + 0.02)]

    def x(share: float) -> float:
        return left + 100 * share / xs[-1] * (width - left - right)

    def y(share: float) -> float:
        return height - bottom - 100 * share / ys[-1] * (height - top - bottom)

    parts = []
    for tick in xs:
        parts += [_line(x(tick / 100), top, x(tick / 100), height - bottom, "grid")]
        parts += [_text(x(tick / 100), height - bottom + 16, f"{tick}", "tick", "middle")]
    for tick in ys:
        parts += [_line(left, y(tick / 100), width - right, y(tick / 100), "grid")]
        parts += [_text(left - 8, y(tick / 100) + 4, f"{tick}", "tick", "end")]
    parts.append(_text((left + width - right) / 2, height - 8, f"{x_label}, %", "axis", "middle"))
    middle = (top + height - bottom) / 2
    turned = f'transform="translate(14 {middle:.1f}) rotate(-90)"'
    parts.append(f'<text class="axis" text-anchor="middle" {turned}>{escape(y_label)}, %</text>')
    path = " ".join(f"{x(a['value']):.1f},{y(b['value']):.1f}" for _, a, b in points)
    parts.append(f'<polyline class="trail" points="{path}"/>')
    for i, (name, a, b) in enumerate(points):
        style = f'style="stroke:{colour(i)}"'
        parts.append(
            _line(x(a["low"]), y(b["value"]), x(a["high"]), y(b["value"]), "whisker", style)
        )
        parts.append(
            _line(x(a["value"]), y(b["low"]), x(a["value"]), y(b["high"]), "whisker", style)
        )
        dot = f"{name}: {x_label} {100 * a['value']:.1f} %, {y_label} {100 * b['value']:.1f} %"
        place = f'cx="{x(a["value"]):.1f}" cy="{y(b["value"]):.1f}"'
        parts.append(
            f'<circle class="dot" {place} r="6" style="fill:{colour(i)}"><title>{escape(dot)}</title></circle>'
        )
    for at, name in _labels(
        [(x(a["value"]), y(b["value"]), name) for name, a, b in points], width - right
    ):
        parts.append(
            f'<text class="label" text-anchor="{at[2]}" x="{at[0]:.1f}" y="{at[1]:.1f}">{escape(name)}</text>'
        )
    return _svg(width, height, parts, f"{y_label} against {x_label} of each policy")


def _labels(
    dots: list[tuple[float, float, str]], right: float
) -> list[tuple[tuple[float, float, str], str]]:
    """Names beside their dots, on the side with room, pushed apart where two would overlap."""
    placed: list[tuple[tuple[float, float, str], str]] = []
    for x, y, name in dots:
        fits = x + 12 + 7 * len(name) < right
        at = (x + 10 if fits else x - 10, y - 9, "start" if fits else "end")
        while any(abs(at[1] - other[1]) < 13 and abs(at[0] - other[0]) < 90 for other, _ in placed):
            at = (at[0], at[1] + 13, at[2])
        placed.append((at, name))
    return placed


def curve(history: Sequence[dict[str, float]], key: str, label: str) -> str:
    """One number over the training steps.

    Args:
        history: dicts with `step` and, where it was logged, `key`.
    """
    width, height, left, right, top, bottom = 320, 180, 44, 12, 28, 26
    points = [(p["step"], p[key]) for p in history if key in p and math.isfinite(p[key])]
    if not points:
        return ""
    low, high = min(v for _, v in points), max(v for _, v in points)
    ys = ticks(low, high, 3)
    xs = (points[0][0], points[-1][0])

    def x(step: float) -> float:
        return left + (step - xs[0]) / max(xs[1] - xs[0], 1) * (width - left - right)

    def y(value: float) -> float:
        return height - bottom - (value - ys[0]) / (ys[-1] - ys[0]) * (height - top - bottom)

    parts = [_text(left, 16, label, "label", "start")]
    for tick in ys:
        parts += [
            _line(left, y(tick), width - right, y(tick), "grid"),
            _text(left - 6, y(tick) + 4, f"{tick:g}", "tick", "end"),
        ]
    for step, anchor in zip(xs, ("start", "end"), strict=True):
        parts.append(_text(x(step), height - 8, f"step {step:g}", "tick", anchor))
    line = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in points)
    parts.append(f'<polyline class="curve" points="{line}"/>')
    parts.append(
        f'<circle class="end" cx="{x(points[-1][0]):.1f}" cy="{y(points[-1][1]):.1f}" r="3"/>'
    )
    return _svg(width, height, parts, f"{label}, from {points[0][1]:.3g} to {points[-1][1]:.3g}")


@dataclass(frozen=True)
class Line:
    """One training's curve. `marked` draws an alarm at its end."""

    name: str
    colour: int
    points: list[tuple[float, float]]  # (step, value), all finite
    marked: bool = False


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
        from_zero: the axis begins at 0. least: what it covers at least, so that specks do not look
            like a wave.
        limit: where an alarm goes off, drawn if the curves come near it.
    """
    lines = [line for line in lines if line.points]
    if not lines:
        return ""
    values = [value for line in lines for _, value in line.points]
    low, high = (
        (min(0.0, *values), max(least, *values)) if from_zero else (min(values), max(values))
    )
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    ys = [tick for tick in ticks(low, high) if low <= tick <= high]
    told = [f"{tick:g}".replace("-", "\u2212") for tick in ys]
    left = max(34.0, 9 + 6.8 * max(map(len, told), default=0))
    width, height, right, top, bottom = 200, 142, 9, 28, 20
    first, last = (
        min(line.points[0][0] for line in lines),
        max(line.points[-1][0] for line in lines),
    )

    def x(step: float) -> float:
        return left + (step - first) / max(last - first, 1) * (width - left - right)

    def y(value: float) -> float:
        return height - bottom - (value - low) / (high - low) * (height - top - bottom)

    def path(points: Sequence[tuple[float, float]], kind: str, line: Line, inside: str = "") -> str:
        places = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in points)
        dashes = ";stroke-dasharray:5 3" if line.colour >= PALETTE and kind == "curve" else ""
        style = f"stroke:{colour(line.colour)}{dashes}"
        return f'<polyline class="{kind}" style="{style}" points="{places}">{inside}</polyline>'

    parts = [_text(0, 12, label, "label", "start")]
    if alarm and any(line.marked for line in lines):
        parts.append(_text(width, 12, f"\u25b2 {alarm}", "alarm", "end"))
    for tick, text in zip(ys, told, strict=True):
        parts.append(_line(left, y(tick), width - right, y(tick), "grid"))
        parts.append(_text(left - 6, y(tick) + 4, text, "tick", "end"))
    if limit <= high:
        parts.append(_line(left, y(limit), width - right, y(limit), "limit"))
    parts.append(_text(x(first), height - 4, f"{first:g}", "tick", "start"))
    if last > first:
        parts.append(_text(x(last), height - 4, f"step {last:g}", "tick", "end"))
    smooth = {line.name: running_mean(line.points) for line in lines}
    few = len(lines) <= FEW  # of more the faint lines would hide the strong ones
    parts += [
        path(line.points, "raw", line) for line in lines if few and len(line.points) >= SMOOTH_FROM
    ]
    for line in lines:
        points = smooth[line.name]
        ends = f"{line.name}: {line.points[0][1]:.3g} to {line.points[-1][1]:.3g}"
        parts.append(path(points, "curve", line, f"<title>{escape(ends)}</title>"))
    for line in lines:
        step, value = smooth[line.name][-1]
        if line.marked:
            corners = " ".join(
                f"{x(step) + dx:.1f},{y(value) + dy:.1f}" for dx, dy in ((-5, 4), (5, 4), (0, -5))
            )
            parts.append(f'<polygon class="tripped" points="{corners}"/>')
        else:
            parts.append(
                f'<circle cx="{x(step):.1f}" cy="{y(value):.1f}" r="2.5" style="fill:{colour(line.colour)}"/>'
            )
    summary = "; ".join(
        f"{line.name} from {line.points[0][1]:.3g} to {line.points[-1][1]:.3g}" for line in lines
    )
    return _svg(width, height, parts, f"{label}: {summary}")


def running_mean(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Each point as the mean of the tenth of the points around it, fewer at the ends; as they are
    where they are few.
    """
    reach = len(points) // 20 if len(points) >= SMOOTH_FROM else 0
    smooth = []
    for i, (step, _) in enumerate(points):
        window = points[max(0, i - reach) : i + reach + 1]
        smooth.append((step, sum(value for _, value in window) / len(window)))
    return smooth


def _svg(width: int, height: int, parts: list[str], title: str) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str, more: str = "") -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {more}/>'


def _text(x: float, y: float, text: str, kind: str, anchor: str) -> str:
    return (
        f'<text class="{kind}" text-anchor="{anchor}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'
    )
