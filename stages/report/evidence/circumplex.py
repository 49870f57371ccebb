"""Profiles of values as drawings: a circle of dimensions with a line each, and the drift of each.

In: plain numbers. Out: SVG text, small enough for a phone. On a circle of a theory, dimensions lie
at its angles, the first on top, clockwise; without one they are spread evenly in the file's order.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from stages.report.views import svg
from stages.report.views.charts import Plot, Point, colour, ticks
from stages.report.views.names import shorten
from stages.statistics.formatting import format_count, format_number, format_short

WIDTH, HEIGHT = 380.0, 300.0
RADIUS = 96.0
MIDDLE = WIDTH / 2, HEIGHT / 2
LONGEST = 15
"""Letters of a dimension's name."""
MOST = 24
"""Dimensions of which names do not cover each other."""
TARGET = "stroke:var(--ink);stroke-dasharray:4 3"
TILE = {
    "width": 210.0,
    "height": 96.0,
    "left": 30.0,
    "right": 10.0,
    "top": 8.0,
    "bottom": 18.0,
}
Scores = Mapping[str, Mapping[str, Any]]
"""By dimension: value, low and high."""


def circumplex(
    dimensions: Sequence[str],
    angles: Mapping[str, float],
    profiles: Mapping[str, Scores],
    target: Mapping[str, float] | None,
) -> str:
    """Return the drawing; "" where there are too few dimensions for one, or too many.

    Args:
        angles: degrees of the dimensions on a circle; {}: there is none.
        profiles: by model, in order.
        target: the number that each dimension is to have.
    """
    if not 3 <= len(dimensions) <= MOST:
        return ""
    numbers = [score["value"] for profile in profiles.values() for score in profile.values()]
    low, high = axis_of([*numbers, *(target or {}).values()])
    places = {}
    for index, name in enumerate(dimensions):
        degrees = angles[name] if angles else 360 * index / len(dimensions)
        places[name] = math.radians(degrees - 90)

    def at(
        name: str,
        number: float,
    ) -> Point:
        distance = RADIUS * (number - low) / (high - low)
        x, y = MIDDLE
        return x + distance * math.cos(places[name]), y + distance * math.sin(places[name])

    parts = []
    for tick in ticks(low, high):
        radius = RADIUS * (tick - low) / (high - low)
        if 0 < radius <= RADIUS * 1.001:
            style = "stroke:var(--soft)" if tick == 0 else None
            x, y = MIDDLE
            ring = svg.tag(
                "circle",
                kind="ring",
                cx=x,
                cy=y,
                r=radius,
                style=style,
            )
            # The label of the outermost ring would cover the name on top of it.
            height = y - radius + (12 if radius > RADIUS * 0.95 else -2)
            parts.append(
                ring
                + svg.text(
                    x + 3,
                    height,
                    format_short(tick),
                    "tick",
                )
            )
    for name in dimensions:
        parts.append(
            svg.line(
                *MIDDLE,
                *at(name, high),
                "grid",
            )
        )
        parts.append(_name(name, at(name, high + (high - low) * 0.09)))
    for index, (model, profile) in enumerate(profiles.items()):
        points = {name: at(name, profile[name]["value"]) for name in dimensions}
        style = f"stroke:{colour(index)}"
        title = svg.title(model)
        closed = [*points.values(), points[dimensions[0]]]
        parts.append(
            svg.polyline(
                closed,
                title,
                kind="profile",
                style=style,
            )
        )
        for name, (x, y) in points.items():
            said = f"{model}, {name}: {format_number(profile[name]['value'])}"
            fill = f"fill:{colour(index)}"
            parts.append(
                svg.tag(
                    "circle",
                    svg.title(said),
                    cx=x,
                    cy=y,
                    r=3.2,
                    style=fill,
                )
            )
    if target:
        closed = [at(name, target[name]) for name in (*dimensions, dimensions[0])]
        parts.append(
            svg.polyline(
                closed,
                svg.title("target"),
                kind="profile",
                style=TARGET,
            )
        )
    label = f"values of {', '.join(profiles)} on a circle of {len(dimensions)} dimensions"
    return svg.drawing(
        WIDTH,
        HEIGHT,
        label,
        parts,
        kind="circumplex",
    )


def drift(
    name: str,
    models: Sequence[str],
    scores: Sequence[Mapping[str, Any]],
    target: float | None,
    ends: Point,
    steps: Sequence[int] = (),
    colours: Sequence[str] = (),
) -> str:
    """Return one dimension over the models in order: dots with intervals, the target dashed.

    Args:
        ends: of the axis, the same for all dimensions.
        steps: the training step of each model; (): they stand side by side.
        colours: of each model; (): those of policies in order.
    """
    low, high = ends
    shades = colours or [colour(index) for index in range(len(models))]
    places = steps or range(len(models))
    margin = 0.4 * (places[-1] - places[0]) / max(1, len(places) - 1)
    plot = Plot(
        **TILE,
        x_range=(places[0] - margin, places[-1] + margin),
        y_range=(low, high),
    )
    parts = []
    for step in (steps[0], steps[-1]) if steps else ():
        parts.append(plot.x_tick(step, format_count(step), plot.floor + 13))
    for tick in (low, 0.0, high):
        parts.append(
            plot.y_tick(
                tick,
                format_short(tick),
                5,
            )
        )
    if target is not None:
        y = plot.y(target)
        parts.append(
            svg.line(
                plot.left,
                y,
                plot.width - plot.right,
                y,
                "limit",
                TARGET,
            )
        )
    points = plot.path((place, score["value"]) for place, score in zip(places, scores, strict=True))
    parts.append(svg.polyline(points, kind="trail"))
    for index, (x, y) in enumerate(points):
        score = scores[index]
        bottom, top = (plot.y(min(max(score[key], low), high)) for key in ("low", "high"))
        parts.append(
            svg.line(
                x,
                bottom,
                x,
                top,
                "whisker",
                f"stroke:{shades[index]}",
            )
        )
        bounds = f"{format_number(score['low'])} to {format_number(score['high'])}"
        when = f" after step {format_count(steps[index])}" if steps else ""
        title = svg.title(f"{models[index]}{when}: {format_number(score['value'])} ({bounds})")
        fill = f"fill:{shades[index]}"
        parts.append(
            svg.tag(
                "circle",
                title,
                kind="dot",
                cx=x,
                cy=y,
                r=4.5,
                style=fill,
            )
        )
    return plot.draw(f"{name} of {', '.join(models)}", parts)


def axis_of(numbers: Sequence[float]) -> Point:
    """Return the ends of an axis: -1 and 1, or less or more in steps of round numbers."""
    largest = max([abs(number) for number in numbers if math.isfinite(number)] or [1.0])
    if largest <= 1:
        steps = (0.25, 0.5, 1.0)
        end = next(step for step in steps if largest <= step)
        return -end, end
    end = ticks(0, largest)[-1]
    return -end, end


def _name(
    name: str,
    place: Point,
) -> str:
    x, y = place
    side = x - MIDDLE[0]
    anchor = "middle" if abs(side) < 12 else "start" if side > 0 else "end"
    return svg.text(
        x,
        y + 4,
        shorten(name, LONGEST),
        "tick",
        anchor,
    )
