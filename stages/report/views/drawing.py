"""The pipeline as a drawing: steps as boxes, their inputs as lines, their cost as bars.

In: steps (`steps.py`). Out: one inline SVG. Colours are CSS variables of the page; whatever a
colour shows, a shape or a word also shows. The places of the boxes come from `layout.py`.
"""

from collections.abc import Sequence

from stages.report.views import svg
from stages.report.views.layout import Layout, arrange
from stages.report.views.names import shorten
from stages.report.views.steps import EXTERNAL, Step, format_calls
from stages.statistics.formatting import format_plural, format_seconds

BOX, HIGH = 190.0, 60.0
SMALLEST = 0.82
"""Of its full size; on a narrower screen the drawing scrolls in its card."""
PADDING = 11.0
"""Between a box and its texts."""
HEAD = 5.0
"""Pixels of an arrow's head that its line does not cover."""
ONE_LETTER = 6.9
"""The width of a letter of the stage's name in a wide font, in pixels."""


def draw(steps: Sequence[Step]) -> str:
    """The SVG of the pipeline.

    A line is in the group of the step it leads to, so that the page can highlight the inputs
    of the step under the mouse.
    """
    layout = arrange([step.inputs.keys() for step in steps], BOX, HIGH)
    measured = [step.seconds for step in steps if step.origin != EXTERNAL]
    longest = max([*measured, 1e-9])
    groups = []
    for number, step in enumerate(steps):
        x = layout.middles[number] - BOX / 2
        y = layout.top(number)
        if step.origin == EXTERNAL:
            parts = _model_box(step, x, y)
        else:
            parts = _step_box(step, x, y, step.seconds / longest)
        edges = _edges(number, steps, layout)
        box = svg.tag("g", *parts)
        groups.append(svg.tag("g", *edges, box, kind=f"step {step.origin}"))
    width = layout.width + 4
    height = layout.tops[-1] + HIGH + 4
    return svg.tag(
        "svg",
        *groups,
        kind="flow",
        style=f"max-width:{width:.0f}px;min-width:{SMALLEST * width:.0f}px",
        viewBox=f"-2 -2 {width:.1f} {height:.1f}",
        role="img",
        aria_label=f"the pipeline: {format_plural(len(steps), 'step')}, each below its inputs; "
        "the table below shows the same",
    )


def _edges(
    user: int,
    steps: Sequence[Step],
    layout: Layout,
) -> list[str]:
    """The lines into a step, which meet its box at equal distances."""
    step = steps[user]
    order = sorted(step.inputs, key=lambda source: layout.arrival(source, user))
    end = layout.middles[user] - BOX / 2
    top = layout.top(user)
    groups = []
    for source in order:
        end += BOX / (len(order) + 1)
        path = _path(source, user, end, layout)
        title = _edge_title(steps[source], step, source)
        group = [
            svg.title(title),
            svg.tag("path", kind="line", d=path),
            svg.tag("path", kind="head", d=f"M{end:.1f} {top - 1:.1f}l-3.5 -6h7z"),
        ]
        groups.append(svg.tag("g", *group, kind="edge"))
    return groups


def _path(
    source: int,
    user: int,
    end: float,
    layout: Layout,
) -> str:
    """From below the source to above its user.

    A line to a step further down first joins the source's own line and follows it down.
    """
    x = layout.middles[source]
    y = layout.top(source) + HIGH
    path = f"M{x:.1f} {y:.1f}"
    first = layout.levels[source] + 1
    last = layout.levels[user]
    if first < last:
        line = layout.trunks[source]
        path += _curve(x, y, line, layout.tops[first])
        x = line
        y = layout.tops[last - 1] + HIGH
        path += f"V{y:.1f}"
    return path + _curve(x, y, end, layout.tops[last] - HEAD)


def _curve(
    x: float,
    y: float,
    end_x: float,
    end_y: float,
) -> str:
    """A curve that begins and ends vertically."""
    half = (y + end_y) / 2
    return f"C{x:.1f} {half:.1f} {end_x:.1f} {half:.1f} {end_x:.1f} {end_y:.1f}"


def _edge_title(
    source: Step,
    user: Step,
    number: int,
) -> str:
    """Both steps, and the names of the input where they differ from the step's name."""
    names = [name for name in user.inputs[number] if name != source.name]
    title = f"{source.name} \u2192 {user.name}"
    return f"{title} ({', '.join(names)})" if names else title


def _model_box(
    step: Step,
    x: float,
    y: float,
) -> list[str]:
    """A box with round ends: a model that existed before the run and cost it nothing."""
    middle = x + BOX / 2
    name = shorten(step.name, 19)
    stage = shorten(step.stage, 24)
    return [
        *_outline(step, x, y, rounding=int(HIGH / 2)),
        svg.text(middle, y + 26, name, "label", "middle"),
        svg.text(middle, y + 41, stage, "tick", "middle"),
    ]


def _step_box(
    step: Step,
    x: float,
    y: float,
    fraction: float,
) -> list[str]:
    """A box with its texts and a bar; `fraction` is its share of the longest step's seconds."""
    left = x + PADDING
    right = x + BOX - PADDING
    mark = _mark(step, left, y + 28)
    start = left + 13 if mark else left
    room = right - start - ONE_LETTER * len(step.output) - 8
    name = shorten(step.name, 21)
    stage = shorten(step.stage, int(room / ONE_LETTER))
    seconds = format_seconds(step.seconds)
    calls = "" if step.calls is None else format_calls(step.calls)
    low = y + HIGH - 7
    full = left + max(1.5, (right - left) * fraction)
    return [
        *_outline(step, x, y, rounding=7),
        svg.text(left, y + 17, name, "label"),
        mark,
        svg.text(start, y + 32, stage, "tick"),
        svg.text(right, y + 32, step.output, "tick", "end"),
        svg.text(left, y + 47, seconds, "cost"),
        svg.text(right, y + 47, calls, "cost", "end"),
        svg.line(left, low, right, low, "track"),
        svg.line(left, low, full, low, "bar"),
    ]


def _outline(
    step: Step,
    x: float,
    y: float,
    rounding: int,
) -> list[str]:
    title = f"{step.name} ({step.stage}): {step.details}"
    rectangle = svg.tag(
        "rect",
        kind="box",
        x=x,
        y=y,
        width=BOX,
        height=HIGH,
        rx=rounding,
    )
    return [svg.title(title), rectangle]


def _mark(
    step: Step,
    x: float,
    y: float,
) -> str:
    """A diamond if the step trains a model, a dot if it asks one."""
    if step.kind == "trains":
        return svg.tag("path", kind="kind", d=f"M{x:.1f} {y:.1f}l4 -4 4 4 -4 4z")
    if step.kind == "asks":
        return svg.tag("circle", kind="kind", cx=x + 4, cy=y, r=3.2)
    return ""
