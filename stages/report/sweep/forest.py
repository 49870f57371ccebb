"""The forest of an ablation: each variant's effect with its interval, its p and its verdict.

In: plain numbers. Out: SVG text. The page's script hides rows and closes the gaps, so it contains
the height of a row, too (sweep.js).
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

# pixels of the drawing
WIDTH = 1040
LEFT = 226
RIGHT = 453
TOP = 50
ROW = 27
BASELINE = ROW / 2 + 4  # of a row's text
# where the columns beside the plot begin
EFFECT = WIDTH - RIGHT + 34
P = WIDTH - 273
VERDICT = WIDTH - 205


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
) -> str:
    """Each variant's effect with its interval, in groups by kind.

    The zone of equivalence is shaded; the detectable effect is a dashed line.

    Args:
        margin, detectable: in the unit of the effects; None: not drawn.
        ends: the labels to the left and to the right of 0.
        scale: 100 for shares, which become points; 1 for logits.
        kinds: headings of the groups; a single group needs none.
    """
    if not bars:
        return ""
    lines = _lines(bars)
    limits = [limit for limit in (margin, detectable) if limit is not None]
    marks = _ticks(bars, limits, scale)
    height = TOP + ROW * len(lines) + 10
    plot = Plot(
        width=WIDTH,
        height=height,
        left=LEFT,
        right=RIGHT,
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
    parts += _heads(plot, ends, correction)
    for number, line in enumerate(lines):
        y = TOP + ROW * number
        if isinstance(line, Bar):
            parts.append(_bar(line, y, plot, scale))
        else:
            heading = svg.text(0, 18, kinds.get(line, line), "tick")
            parts.append(_row(heading, y=y, kind="row", data_heading=line))
    return plot.draw(f"Effects of {len(bars)} variants with their intervals", parts, "forest")


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


def _heads(plot: Plot, ends: tuple[str, str], correction: str) -> list[str]:
    """The labels on both sides of 0, and the headings of the columns."""
    left, right = ends
    zero = plot.x(0)
    lowest, highest = plot.x_range
    parts = []
    if lowest < 0:
        parts.append(svg.text(zero - 8, 14, f"\u2190 {left}", "axis", "end"))
    if highest > 0:
        parts.append(svg.text(zero + 8, 14, f"{right} \u2192", "axis"))
    headings = {EFFECT: "effect", P: f"p ({correction})", VERDICT: "verdict"}
    for x, heading in headings.items():
        parts.append(svg.text(x, TOP - 12, heading, "tick"))
    return parts


def _bar(bar: Bar, y: float, plot: Plot, scale: float) -> str:
    """One variant's row."""
    middle = ROW / 2
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
            width=WIDTH,
            height=ROW,
        ),
        svg.text(0, BASELINE, short_name(bar.name), "label"),
        svg.line(low, middle, high, middle, "whisker"),
        shape(value, middle, bar.verdict, bar.one_seed),
        number_with_interval(EFFECT, BASELINE, number, interval),
        svg.text(P, BASELINE, p, "tick"),
        shape(VERDICT + 7, middle, bar.verdict, bar.one_seed),
        svg.text(VERDICT + 19, BASELINE, word, "word"),
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
