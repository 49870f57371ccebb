"""The pipeline as a drawing: its steps as boxes, what they were made of as lines, their cost as
bars; one inline SVG.

In: steps (`steps.py`). Out: SVG text. Colours are CSS variables of the page, and what they tell is
told by a shape or a word, too; all text is escaped here, and no character goes in that XML forbids.
Where the boxes go is `layers.py`.
"""

from collections.abc import Sequence
from html import escape
from itertools import pairwise
from unicodedata import east_asian_width

from stages.report.steps import GIVEN, Step, calls_told
from stages.report.views.layers import Layout, arrange, spread

BOX, HIGH = 176.0, 60.0
LEAST = 0.82  # of its size, below which the drawing scrolls in its card and shrinks no more


def draw(steps: Sequence[Step]) -> str:
    """The SVG. An edge stands in the group of the step it leads to, so that the page can light up a
    step's inputs.
    """
    layout = arrange([step.inputs.keys() for step in steps], BOX)
    tops = _tops(layout, steps)
    longest = max([step.seconds for step in steps if step.origin != GIVEN] + [1e-9])
    width, height = layout.width + 4, max(tops) + HIGH + 4
    parts = []
    for i, step in enumerate(steps):
        edges = _edges(i, steps, layout, tops)
        box = _box(step, layout.x[i] - BOX / 2, tops[layout.levels[i]], step.seconds / longest)
        parts.append(f'<g class="step {step.origin}">{edges}<g>{box}</g></g>')
    count = f"{len(steps)} step{'s' if len(steps) != 1 else ''}"
    label = f'role="img" aria-label="the pipeline: {count}, each below what it was made of; the table below tells the same"'
    size = f"max-width:{width:.0f}px;min-width:{LEAST * width:.0f}px"
    return f'<svg class="flow" style="{size}" viewBox="-2 -2 {width:.1f} {height:.1f}" {label}>{"".join(parts)}</svg>'


def _tops(layout: Layout, steps: Sequence[Step]) -> list[float]:
    """Where each level begins: the wider its lines sweep, the more room they are given."""
    reach = [0.0] * (max(layout.levels) + 1)
    for user, step in enumerate(steps):
        for source in step.inputs:
            path = [layout.x[source], *layout.routes[source, user], layout.x[user]]
            for i, (a, b) in enumerate(pairwise(path), layout.levels[source] + 1):
                reach[i] = max(reach[i], abs(a - b))
    tops = [0.0]
    for sweep in reach[1:]:
        tops.append(tops[-1] + HIGH + 26 + min(26.0, sweep / 16))
    return tops


def _edges(user: int, steps: Sequence[Step], layout: Layout, tops: Sequence[float]) -> str:
    """The lines into a step: curves between the levels, straight down beside the boxes of a level."""
    given = steps[user].inputs
    came = {source: [layout.x[source], *layout.routes[source, user]] for source in given}
    order = sorted(given, key=lambda source: came[source][-1])
    parts = []
    for source, end in zip(
        order, _ends([came[source][-1] for source in order], layout.x[user]), strict=True
    ):
        x, at = came[source][0], layout.levels[source]
        y = tops[at] + HIGH
        path = f"M{x:.1f} {y:.1f}"
        for level, x2 in enumerate([*came[source][1:], end], at + 1):
            low = tops[level] - (5 if level == layout.levels[user] else 0)
            half = (y + low) / 2
            path += f"C{x:.1f} {half:.1f} {x2:.1f} {half:.1f} {x2:.1f} {low:.1f}"
            if level < layout.levels[user]:
                path += f"V{tops[level] + HIGH:.1f}"
            x, y = x2, tops[level] + HIGH
        names = [name for name in given[source] if name != steps[source].name]
        title = f"{steps[source].name} \u2192 {steps[user].name}" + (
            f" ({', '.join(names)})" if names else ""
        )
        head = f'<path class="head" d="M{end:.1f} {tops[layout.levels[user]] - 1:.1f}l-3.5 -6h7z"/>'
        parts.append(
            f'<g class="edge"><title>{_plain(title)}</title><path class="line" d="{path}"/>{head}</g>'
        )
    return "".join(parts)


def _ends(came: Sequence[float], middle: float) -> list[float]:
    """Where lines that come from these places, in order, meet a box: straight below if they can."""
    if not came:
        return []
    reach, gaps = BOX / 2 - 20, len(came) - 1
    apart = min(16.0, 2 * reach / len(came))
    low, high = middle - reach, middle + reach - gaps * apart
    wanted = [min(max(place, low + i * apart), high + i * apart) for i, place in enumerate(came)]
    return spread(wanted, [1.0] * len(came), [apart] * gaps)


def _box(step: Step, x: float, y: float, share: float) -> str:
    left, right, inner = x + 11, x + BOX - 11, BOX - 22
    parts = [f"<title>{_plain(f'{step.name} ({step.stage}): {step.more}')}</title>"]
    parts.append(
        f'<rect class="box" x="{x:.1f}" y="{y:.1f}" width="{BOX:.0f}" height="{HIGH:.0f}" rx="{_rounding(step)}"/>'
    )
    if step.origin == GIVEN:
        parts.append(_text(x + BOX / 2, y + 26, short(step.name, 19), "label", "middle"))
        parts.append(_text(x + BOX / 2, y + 41, short(step.stage, 24), "tick", "middle"))
        return "".join(parts)
    parts.append(_text(left, y + 17, short(step.name, 21), "label"))
    start = left
    if step.kind == "trains":
        parts.append(f'<path class="kind" d="M{left:.1f} {y + 28:.1f}l4 -4 4 4 -4 4z"/>')
        start = left + 13
    elif step.kind == "asks":
        parts.append(f'<circle class="kind" cx="{left + 4:.1f}" cy="{y + 28:.1f}" r="3.2"/>')
        start = left + 13
    room = right - start - 6 * len(step.out) - 8
    parts.append(_text(start, y + 32, short(step.stage, int(room / 5.7)), "tick"))
    parts.append(_text(right, y + 32, step.out, "tick", "end"))
    parts.append(_text(left, y + 47, _seconds(step.seconds), "cost"))
    parts.append(
        _text(right, y + 47, "" if step.calls is None else calls_told(step.calls), "cost", "end")
    )
    track = f'x1="{left:.1f}" y1="{y + HIGH - 7:.1f}" y2="{y + HIGH - 7:.1f}"'
    parts.append(f'<line class="track" {track} x2="{right:.1f}"/>')
    parts.append(f'<line class="bar" {track} x2="{left + max(1.5, inner * share):.1f}"/>')
    return "".join(parts)


def _rounding(step: Step) -> int:
    return int(HIGH / 2) if step.origin == GIVEN else 7


def _seconds(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds >= 1000 else f"{seconds:.1f} s"


def short(text: str, most: int) -> str:
    """The text's beginning and end in the room of `most` letters; wide characters take two."""
    wide = [1 + (east_asian_width(character) in "WF") for character in text]
    if sum(wide) <= most:
        return text
    head, tail = len(text), 0
    kept = max(most - 1, 1)
    while head and sum(wide[:head]) > (kept + 1) // 2:
        head -= 1
    while tail < len(text) - head and sum(wide[len(text) - tail - 1 :]) <= kept // 2:
        tail += 1
    return f"{text[:head]}\u2026{text[len(text) - tail :] if tail else ''}"


def _text(x: float, y: float, text: str, kind: str, anchor: str = "start") -> str:
    if not text:
        return ""
    return (
        f'<text class="{kind}" text-anchor="{anchor}" x="{x:.1f}" y="{y:.1f}">{_plain(text)}</text>'
    )


def _plain(text: str) -> str:
    """Escaped, without control characters, which XML forbids."""
    return escape("".join(character if character.isprintable() else "\ufffd" for character in text))
