"""The pipeline as a drawing: steps as boxes, their inputs as lines, their cost as bars.

In: steps (`steps.py`). Out: one inline SVG. Colours are CSS variables of the page, and what a
colour shows, a shape or a word shows too. Where the boxes go is `layout.py`.
"""

from collections.abc import Sequence
from unicodedata import east_asian_width

from stages.report.views import svg
from stages.report.views.layout import Layout, arrange
from stages.report.views.steps import GIVEN, Step, format_calls
from stages.statistics.formatting import format_plural, format_seconds

BOX, HIGH = 176.0, 60.0
SMALLEST = 0.82
"""Of its size; on a narrower screen the drawing scrolls in its card."""
PADDING = 11.0
"""Between a box and its texts."""
HEAD = 5.0
"""Pixels of an arrow's head that its line does not cover."""
ONE_LETTER = 5.7
"""The usual width of a letter of the stage's name, in pixels."""


def draw(steps: Sequence[Step]) -> str:
    """The SVG.

    A line stands in the group of the step it leads to, so that the page can highlight the inputs
    of the step under the mouse.
    """
    layout = arrange([step.inputs.keys() for step in steps], BOX)
    tops = _tops(layout, steps)
    measured = [step.seconds for step in steps if step.origin != GIVEN]
    longest = max([*measured, 1e-9])
    boxes = []
    for number, step in enumerate(steps):
        x = layout.middles[number] - BOX / 2
        y = tops[layout.levels[number]]
        box = svg.tag("g", _box(step, x, y, step.seconds / longest))
        edges = _edges(number, steps, layout, tops)
        boxes.append(svg.tag("g", edges, box, kind=f"step {step.origin}"))
    width = layout.width + 4
    height = max(tops) + HIGH + 4
    return svg.tag(
        "svg",
        *boxes,
        kind="flow",
        style=f"max-width:{width:.0f}px;min-width:{SMALLEST * width:.0f}px",
        viewBox=f"-2 -2 {width:.1f} {height:.1f}",
        role="img",
        aria_label=f"the pipeline: {format_plural(len(steps), 'step')}, each below what it was "
        "made of; the table below tells the same",
    )


def _tops(layout: Layout, steps: Sequence[Step]) -> list[float]:
    """Where each level begins along y: the further lines go sideways, the more room they get."""
    reach = [0.0] * (max(layout.levels) + 1)
    for user, step in enumerate(steps):
        for source in step.inputs:
            start = layout.middles[source]
            middle = layout.trunks.get(source, start)
            below = layout.levels[source] + 1
            above = layout.levels[user]
            reach[below] = max(reach[below], abs(middle - start))
            reach[above] = max(reach[above], abs(layout.middles[user] - middle))
    tops = [0.0]
    for sideways in reach[1:]:
        tops.append(tops[-1] + HIGH + 26 + min(26.0, sideways / 16))
    return tops


def _edges(user: int, steps: Sequence[Step], layout: Layout, tops: Sequence[float]) -> str:
    """The lines into a step, which meet its box at equal distances."""
    level = layout.levels[user]
    arrivals = {}
    for source in steps[user].inputs:
        direct = layout.levels[source] == level - 1
        arrivals[source] = layout.middles[source] if direct else layout.trunks[source]
    left = layout.middles[user] - BOX / 2
    apart = BOX / (len(arrivals) + 1)
    parts = []
    for place, source in enumerate(sorted(arrivals, key=arrivals.__getitem__), 1):
        end = left + place * apart
        path = _path(source, arrivals[source], end, level, layout, tops)
        head = f"M{end:.1f} {tops[level] - 1:.1f}l-3.5 -6h7z"
        group = [
            svg.title(_edge_title(steps[source], steps[user], source)),
            svg.tag("path", kind="line", d=path),
            svg.tag("path", kind="head", d=head),
        ]
        parts.append(svg.tag("g", *group, kind="edge"))
    return "".join(parts)


def _path(
    source: int, arrival: float, end: float, level: int, layout: Layout, tops: Sequence[float]
) -> str:
    """From below the source to above its user: to its own line, down that line, and to the box."""
    x = layout.middles[source]
    above = layout.levels[source]
    y = tops[above] + HIGH
    path = f"M{x:.1f} {y:.1f}"
    if above + 1 < level:
        path += _curve(x, y, arrival, tops[above + 1])
        y = tops[level - 1] + HIGH
        path += f"V{y:.1f}"
    return path + _curve(arrival, y, end, tops[level] - HEAD)


def _curve(x1: float, y1: float, x2: float, y2: float) -> str:
    half = (y1 + y2) / 2
    return f"C{x1:.1f} {half:.1f} {x2:.1f} {half:.1f} {x2:.1f} {y2:.1f}"


def _edge_title(source: Step, user: Step, number: int) -> str:
    """Both steps, and the input's names where they are not just the step's own."""
    names = [name for name in user.inputs[number] if name != source.name]
    known_as = f" ({', '.join(names)})" if names else ""
    return f"{source.name} \u2192 {user.name}{known_as}"


def _box(step: Step, x: float, y: float, fraction: float) -> str:
    """The box and its texts; `fraction` is that of the longest step's seconds."""
    given = step.origin == GIVEN
    outline = svg.tag(
        "rect", kind="box", x=x, y=y, width=BOX, height=HIGH, rx=int(HIGH / 2) if given else 7
    )
    parts = [svg.title(f"{step.name} ({step.stage}): {step.details}"), outline]
    if given:
        middle = x + BOX / 2
        parts.append(svg.text(middle, y + 26, shorten(step.name, 19), "label", "middle"))
        parts.append(svg.text(middle, y + 41, shorten(step.stage, 24), "tick", "middle"))
        return "".join(parts)
    left = x + PADDING
    right = x + BOX - PADDING
    parts.append(svg.text(left, y + 17, shorten(step.name, 21), "label"))
    mark = _mark(step, left, y + 28)
    start = left + 13 if mark else left
    room = right - start - 6 * len(step.output) - 8
    calls = "" if step.calls is None else format_calls(step.calls)
    low = y + HIGH - 7
    full = left + max(1.5, (right - left) * fraction)
    parts += [
        mark,
        svg.text(start, y + 32, shorten(step.stage, int(room / ONE_LETTER)), "tick"),
        svg.text(right, y + 32, step.output, "tick", "end"),
        svg.text(left, y + 47, format_seconds(step.seconds), "cost"),
        svg.text(right, y + 47, calls, "cost", "end"),
        svg.line(left, low, right, low, "track"),
        svg.line(left, low, full, low, "bar"),
    ]
    return "".join(parts)


def _mark(step: Step, x: float, y: float) -> str:
    """A diamond if the step trains a model, a dot if it asks one."""
    if step.kind == "trains":
        return svg.tag("path", kind="kind", d=f"M{x:.1f} {y:.1f}l4 -4 4 4 -4 4z")
    if step.kind == "asks":
        return svg.tag("circle", kind="kind", cx=x + 4, cy=y, r=3.2)
    return ""


def shorten(text: str, most: int) -> str:
    """The text's beginning and end in the room of `most` letters; wide characters take two."""
    widths = [1 + (east_asian_width(character) in "WF") for character in text]
    if sum(widths) <= most:
        return text
    room = max(most - 1, 1)
    head = len(text)
    while head and sum(widths[:head]) > (room + 1) // 2:
        head -= 1
    tail = len(text)
    while tail > head and sum(widths[tail - 1 :]) <= room // 2:
        tail -= 1
    return f"{text[:head]}\u2026{text[tail:]}"
