"""The forest of an ablation: each variant's effect with its interval, its p and its verdict.

In: plain numbers. Out: SVG text. The page's script hides rows and closes the gaps, so it contains
the heights of rows, too (sweep.js).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stages.report.sweep.charts import TICKS, number_with_interval, shape, short_name
from stages.report.views import svg
from stages.report.views.charts import Plot, ticks
from stages.statistics.formatting import (
    PER_CENT,
    format_number,
    format_p_value,
    format_points,
    format_short,
)

TOP = 50
"""Pixels above the first row."""


@dataclass(frozen=True)
class Layout:
    """Where a drawing has its parts, in pixels; heights are those of a row."""

    kind: str
    """The drawing's class (sweep.css)."""
    width: float
    row: float
    left: float
    """Of the plot, as `right`: its distance from the edges."""
    right: float
    middle: float
    """The height of the interval."""
    name: float
    """The height of the variant's name."""
    numbers: float
    """The height of effect and p."""
    word: float
    """The height of the verdict."""
    effect: float
    """Where the effect begins, as the next two."""
    p: float
    verdict: float
    has_heads: bool
    """Whether the columns beside the plot have headings."""


WIDE = Layout(
    kind="forest",
    width=1040,
    row=27,
    left=226,
    right=453,
    middle=13.5,
    name=17.5,
    numbers=17.5,
    word=17.5,
    effect=621,
    p=767,
    verdict=835,
    has_heads=True,
)
NARROW = Layout(  # on a phone: the name, the interval, and the words stand below each other
    kind="forest narrow",
    width=360,
    row=86,
    left=12,
    right=12,
    middle=32,
    name=18,
    numbers=53,
    word=72,
    effect=0,
    p=148,
    verdict=0,
    has_heads=False,
)


@dataclass(frozen=True)
class Bar:
    """One variant's effect on one outcome, in the outcome's unit.

    Args:
        verdict: one of `conclusions.CLAIMS`.
        one_seed: the verdict is about models of one seed.
        word, phrase, tone: as in `conclusions.Conclusion`.
        hint: further text for the title of the row, such as the principle's text.
    """

    name: str
    kind: str
    value: float
    low: float
    high: float
    p: float
    verdict: str = ""
    one_seed: bool = False
    word: str = ""
    phrase: str = ""
    tone: str = "same"
    hint: str = ""


def forest(
    bars: Sequence[Bar],
    margin: float | None,
    detectable: float | None,
    ends: tuple[str, str],
    scale: float,
    kinds: Mapping[str, str],
    correction: str = "Holm",
    layout: Layout = WIDE,
) -> str:
    """Each variant's effect with its interval, in groups by kind.

    The zone of equivalence is shaded; the detectable effect is a dashed line.

    Args:
        margin, detectable: in the unit of the effects; None: not drawn.
        ends: the labels to the left and to the right of 0.
        scale: 100 for shares, which become points; 1 for logits.
        kinds: headings of the groups; a single group needs none.
        layout: the page draws both, and shows the one that fits.
    """
    if not bars:
        return ""
    lines = _lines(bars)
    limits = [limit for limit in (margin, detectable) if limit is not None]
    marks = _ticks(bars, limits, scale)
    height = TOP + layout.row * len(lines) + 10
    plot = Plot(
        width=layout.width,
        height=height,
        left=layout.left,
        right=layout.right,
        top=TOP - 6,
        bottom=6,
        x_range=(marks[0], marks[-1]),
    )
    parts = []
    if margin is not None:
        parts.append(_zone(plot, scale * margin))
    for mark in marks:
        label = format_short(mark, "+") if mark else "0"
        kind = "grid" if mark else "zero"
        parts.append(plot.x_tick(mark, label, TOP - 12, kind))
    if detectable is not None:
        for limit in (-scale * detectable, scale * detectable):
            parts.append(plot.vertical_line(limit, "detectable"))
    parts += _ends(plot, ends)
    if layout.has_heads:
        heads = {layout.effect: "effect", layout.p: f"p ({correction})", layout.verdict: "verdict"}
        parts += [svg.text(x, TOP - 12, head, "tick") for x, head in heads.items()]
    for number, line in enumerate(lines):
        y = TOP + layout.row * number
        if isinstance(line, Bar):
            parts.append(_bar(line, y, plot, scale, layout))
        else:
            heading = svg.text(0, layout.row - 9, kinds.get(line, line), "tick")
            parts.append(_row(heading, y=y, kind="row", data_heading=line))
    return plot.draw(f"Effects of {len(bars)} variants with their intervals", parts, layout.kind)


def _ticks(bars: Sequence[Bar], limits: Sequence[float], scale: float) -> list[float]:
    """The ticks of an axis that covers 0, all intervals, and the limits on both sides."""
    lows = [bar.low for bar in bars] + [-limit for limit in limits]
    highs = [bar.high for bar in bars] + list(limits)
    low = min(0.0, *lows)
    high = max(0.0, *highs)
    return ticks(scale * low, scale * high, TICKS)


def _lines(bars: Sequence[Bar]) -> list[str | Bar]:
    """The bars by kind; before each group its kind, if there are several."""
    kinds = list(dict.fromkeys(bar.kind for bar in bars))
    lines: list[str | Bar] = []
    for kind in kinds:
        if len(kinds) > 1:
            lines.append(kind)
        lines.extend(bar for bar in bars if bar.kind == kind)
    return lines


def _zone(plot: Plot, margin: float) -> str:
    left = plot.x(-margin)
    width = plot.x(margin) - left
    height = int(plot.height) - TOP
    return svg.tag(
        "rect",
        kind="zone",
        x=left,
        y=TOP - 6,
        width=width,
        height=height,
    )


def _ends(plot: Plot, ends: tuple[str, str]) -> list[str]:
    """The labels on both sides of 0."""
    left, right = ends
    zero = plot.x(0)
    lowest, highest = plot.x_range
    parts = []
    if lowest < 0:
        parts.append(svg.text(zero - 8, 14, f"\u2190 {left}", "axis", "end"))
    if highest > 0:
        parts.append(svg.text(zero + 8, 14, f"{right} \u2192", "axis"))
    return parts


def _bar(bar: Bar, y: float, plot: Plot, scale: float, layout: Layout) -> str:
    """One variant's row."""
    middle = layout.middle
    value = plot.x(scale * bar.value)
    low = plot.x(scale * bar.low)
    high = plot.x(scale * bar.high)
    number = format_effect(bar.value, scale)
    interval = f"[{format_effect(bar.low, scale)}, {format_effect(bar.high, scale)}]"
    p = format_p_value(bar.p)
    word = bar.word or bar.verdict
    title = f"{bar.name}: {number} {interval}, p {p}, {bar.phrase or word}. {bar.hint}".strip()
    return _row(
        svg.title(title),
        svg.tag(
            "rect",
            kind="hover",
            x=0,
            y=0,
            width=layout.width,
            height=layout.row,
        ),
        svg.text(0, layout.name, short_name(bar.name), "label"),
        svg.line(low, middle, high, middle, "whisker"),
        shape(value, middle, bar.verdict, bar.one_seed),
        number_with_interval(layout.effect, layout.numbers, number, interval),
        svg.text(layout.p, layout.numbers, p if layout.has_heads else f"p {p}", "tick"),
        shape(layout.verdict + 7, layout.word - 4, bar.verdict, bar.one_seed),
        svg.text(layout.verdict + 19, layout.word, word, "word"),
        y=y,
        kind=f"row {bar.verdict} {bar.tone}",
        data_verdict=bar.verdict,
        data_variant=bar.name,
        data_kind=bar.kind,
    )


def _row(*inside: str, y: float, kind: str, **data: str) -> str:
    return svg.tag("g", *inside, kind=kind, transform=f"translate(0 {y})", **data)


def format_effect(value: float, scale: float) -> str:
    """An effect with its sign: points where `scale` is 100, else logits."""
    return format_points(value) if scale == PER_CENT else format_number(value, sign="+")
