"""Drawings of an ablation as inline SVG and as table cells: the forest of effects, ratings, tints
of a heat map.

In: plain numbers. Out: SVG text, styles. Colours are CSS variables of the page; all text is escaped
here. A verdict shows in
its word and in its shape: a filled diamond works, a ring is equivalent, an open square is
undecided.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from stages.report.views.charts import ticks
from stages.statistics.formatting import format_points as signed

LEFT, RIGHT, WIDTH, TOP, ROW = 226, 366, 1040, 50, 27
P, WORD = WIDTH - 186, WIDTH - 118  # where the columns beside the plot begin
WORDS = {"works": "works", "equivalent": "equivalent", "undecided": "undecided", "": "no verdict"}
LONGEST = 30  # letters of a name that fit beside the plot


@dataclass(frozen=True)
class Bar:
    """One variant's effect on one outcome, in the outcome's unit; `told` is what stands beside its
    interval.
    """

    name: str
    kind: str
    value: float
    low: float
    high: float
    p: float
    verdict: str = ""
    inside: bool = False
    mood: str = "same"  # better, worse or same
    hint: str = ""


def forest(
    bars: Sequence[Bar],
    margin: float | None,
    detectable: float | None,
    ends: tuple[str, str],
    scale: float,
    kinds: dict[str, str],
    correction: str = "Holm",
) -> str:
    """Each variant's effect with its interval, in groups by kind; the zone of equivalence is
    shaded, what is detectable dashed.

    Args:
        margin, detectable: in the unit of the effects; None: not drawn.
        ends: what lies to the left and to the right of 0.
        scale: 100 for shares, which become points; 1 for logits.
        kinds: headings of the groups; a single group needs none.
    """
    if not bars:
        return ""
    reach = [v for v in (margin, detectable) if v is not None]
    low = min(0.0, *(b.low for b in bars), *(-v for v in reach))
    high = max(0.0, *(b.high for b in bars), *reach)
    marks = ticks(scale * low, scale * high, 6)
    first, last = marks[0] / scale, marks[-1] / scale

    def x(value: float) -> float:
        return LEFT + (value - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    groups = list(dict.fromkeys(bar.kind for bar in bars))
    lines = [
        line
        for kind in groups
        for line in ([kind] if len(groups) > 1 else []) + [b for b in bars if b.kind == kind]
    ]
    height = TOP + ROW * len(lines) + 10
    parts = []
    if margin is not None:
        at, wide = x(-margin), x(margin) - x(-margin)
        parts.append(
            f'<rect class="zone" x="{at:.1f}" y="{TOP - 6}" width="{wide:.1f}" height="{height - TOP}"/>'
        )
    for mark in marks:
        at = x(mark / scale)
        parts.append(
            f'<line class="{"zero" if mark == 0 else "grid"}" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP - 6}" y2="{height - 6}"/>'
        )
        parts.append(_text(at, TOP - 12, _plain(mark), "tick", "middle"))
    for limit in (-detectable, detectable) if detectable is not None else ():
        parts.append(
            f'<line class="detectable" x1="{x(limit):.1f}" x2="{x(limit):.1f}" y1="{TOP - 6}" y2="{height - 6}"/>'
        )
    left, right = ends
    if first < 0:
        parts.append(_text(x(0) - 8, 14, f"\u2190 {left}", "axis", "end"))
    if last > 0:
        parts.append(_text(x(0) + 8, 14, f"{right} \u2192", "axis", "start"))
    columns = ((WIDTH - RIGHT + 34, "effect"), (P, f"p ({correction})"), (WORD, "verdict"))
    parts += [_text(at, TOP - 12, text, "tick", "start") for at, text in columns]
    for number, line in enumerate(lines):
        y = TOP + ROW * number
        if isinstance(line, str):
            heading = _text(0, 18, kinds.get(line, line), "tick", "start")
            parts.append(
                f'<g class="row" data-heading="{escape(line)}" transform="translate(0 {y})">{heading}</g>'
            )
        else:
            parts.append(_bar(line, y, x, scale))
    told = f"Effects of {len(bars)} variants with their intervals"
    return f'<svg class="forest" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(told)}">{"".join(parts)}</svg>'


def _bar(bar: Bar, y: float, x: Callable[[float], float], scale: float) -> str:
    middle, at = ROW / 2, x(bar.value)
    name = bar.name if len(bar.name) <= LONGEST else bar.name[: LONGEST - 1] + "\u2026"
    number = _number(bar.value, scale)
    interval = f"[{_number(bar.low, scale)}, {_number(bar.high, scale)}]"
    p = "< 0.001" if bar.p < 0.001 else f"{bar.p:.3f}"
    word = WORDS[bar.verdict] + (", small" if bar.verdict == "works" and bar.inside else "")
    inner = [
        f"<title>{escape(f'{bar.name}: {number} {interval}, p {p}, {word}. {bar.hint}'.strip())}</title>",
        f'<rect class="hover" x="0" y="0" width="{WIDTH}" height="{ROW}"/>',
        _text(0, middle + 4, name, "label", "start"),
        f'<line class="whisker" x1="{x(bar.low):.1f}" x2="{x(bar.high):.1f}" y1="{middle}" y2="{middle}"/>',
        shape(at, middle, bar.verdict),
        f'<text class="number" x="{WIDTH - RIGHT + 34}" y="{middle + 4}">{number} ',
        f'<tspan class="tick">{interval}</tspan></text>',
        _text(P, middle + 4, p, "tick", "start"),
        shape(WORD + 7, middle, bar.verdict),
        _text(WORD + 19, middle + 4, word, "word", "start"),
    ]
    place = f'transform="translate(0 {y})" data-variant="{escape(bar.name)}" data-kind="{escape(bar.kind)}"'
    return f'<g class="row {bar.verdict} {bar.mood}" data-verdict="{bar.verdict}" {place}>{"".join(inner)}</g>'


def shape(x: float, y: float, verdict: str) -> str:
    """The verdict's mark: told apart without colour."""
    if verdict == "works":
        return f'<path class="mark" d="M{x - 7:.1f} {y:.1f}L{x:.1f} {y - 7:.1f}L{x + 7:.1f} {y:.1f}L{x:.1f} {y + 7:.1f}Z"/>'
    if verdict == "equivalent":
        return f'<circle class="mark open" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
    return f'<rect class="mark open" x="{x - 4.5:.1f}" y="{y - 4.5:.1f}" width="9" height="9"/>'


def sign(verdict: str) -> str:
    """The mark by itself, for a legend."""
    return f'<svg class="sign {verdict}" viewBox="0 0 16 16" aria-hidden="true">{shape(8, 8, verdict)}</svg>'


@dataclass(frozen=True)
class Rung:
    """One model's rating."""

    name: str
    value: float
    low: float
    high: float
    told: str


def ladder(rungs: Sequence[Rung]) -> str:
    """Ratings in Elo points with intervals, the strongest first; 1000 is the anchor."""
    if not rungs:
        return ""
    left, right, width, top, row = 226, 330, 1040, 34, 25
    marks = ticks(min(1000.0, *(r.low for r in rungs)), max(1000.0, *(r.high for r in rungs)), 6)
    height = top + row * len(rungs) + 8

    def x(value: float) -> float:
        return left + (value - marks[0]) / (marks[-1] - marks[0]) * (width - left - right)

    parts = []
    for mark in marks:
        kind = "zero" if mark == 1000 else "grid"
        parts.append(
            f'<line class="{kind}" x1="{x(mark):.1f}" x2="{x(mark):.1f}" y1="{top - 8}" y2="{height - 4}"/>'
        )
        parts.append(_text(x(mark), top - 14, f"{mark:g}", "tick", "middle"))
    for number, rung in enumerate(rungs):
        y = top + row * number + row / 2
        name = rung.name if len(rung.name) <= LONGEST else rung.name[: LONGEST - 1] + "\u2026"
        title = f"{rung.name}: {rung.value:.0f} ({rung.low:.0f} to {rung.high:.0f}), {rung.told}"
        parts += [
            f"<g><title>{escape(title)}</title>{_text(0, y + 4, name, 'label', 'start')}",
            f'<line class="whisker" x1="{x(rung.low):.1f}" x2="{x(rung.high):.1f}" y1="{y}" y2="{y}"/>',
            f'<circle class="mark" cx="{x(rung.value):.1f}" cy="{y}" r="5"/>',
            f'<text class="number" x="{width - right + 14}" y="{y + 4}">{rung.value:.0f} ',
            f'<tspan class="tick">[{rung.low:.0f}, {rung.high:.0f}] {escape(rung.told)}</tspan></text></g>',
        ]
    told = f"Ratings of {len(rungs)} models"
    return f'<svg class="ladder works" viewBox="0 0 {width} {height}" role="img" aria-label="{told}">{"".join(parts)}</svg>'


def tint(value: float, full: float, mood: str) -> str:
    """A cell's background: the stronger the larger, `full` being the strongest; by `mood` in the
    colour of better or worse.
    """
    share = min(abs(value) / full, 1.0) if full else 0.0
    return f"background:rgba(var(--tint-{mood}), {0.10 + 0.62 * share:.2f})"


def _number(value: float, scale: float) -> str:
    return signed(value * scale / 100) if scale == 100 else f"{value:+.2f}".replace("-", "\u2212")


def _plain(value: float) -> str:
    return f"{value:+g}".replace("-", "\u2212") if value else "0"


def _text(x: float, y: float, text: str, kind: str, anchor: str) -> str:
    return (
        f'<text class="{kind}" text-anchor="{anchor}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'
    )
