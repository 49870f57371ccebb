"""The table of a comparison in the terminal: at most 80 columns, plain characters.

In: a `Comparison`. Out: the notes first, then a line for each effect, then what the items can show.
"""

from rich.console import Console
from rich.table import Table

from stages.compare.pairing import (
    CORRECTIONS,
    Compared,
    Comparison,
)
from stages.guards.console import styled
from stages.statistics.formatting import (
    NO_VALUE,
    PER_CENT,
    format_confidence,
    format_p_value,
    format_plural,
)

WIDTH = 80
NOTES_SHOWN = 12
LINES_SHOWN = 40
"""Effects in the terminal; the page shows all."""


def show_comparison(
    comparison: Comparison,
    console: Console,
) -> None:
    """Print the notes, the logs by number, the effects, and how to read them."""
    for note in comparison.notes[:NOTES_SHOWN]:
        console.print(styled(("! ", "yellow"), note))
    rest = len(comparison.notes) - NOTES_SHOWN
    if rest > 0:
        console.print(f"! and {rest} notes more: see the page")
    for number, log in enumerate(comparison.logs):
        role = " (the reference)" if number == 0 else ""
        console.print(f"[{number}] {log.name}{role}: {log.tool}")
    console.print(_table(comparison), width=WIDTH)
    rest = len(comparison.rows) - LINES_SHOWN
    if rest > 0:
        console.print(f"and {rest} comparisons more: see the page, or name some with --metric")
    correction = CORRECTIONS[comparison.correction]
    several = f"p after {correction} for {format_plural(len(comparison.rows), 'comparison')}"
    confidence = format_confidence(comparison.confidence)
    alpha = 1 - comparison.confidence
    console.print("ref, value: the mean of the reference [0] and of the log.")
    console.print(f"change: log minus reference, {confidence} interval; {several}.")
    console.print("finds: the smallest true change that is found with a chance of 80 %.")
    console.print(f"Shares in per cent, their changes in points; * p below {alpha:.2g}.")


def _table(comparison: Comparison) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column("metric", overflow="fold", ratio=1)
    for column in ("log", "n", "ref", "value", "change", "p", "finds"):
        table.add_column(column, justify="right", no_wrap=True)
    alpha = 1 - comparison.confidence
    for row in comparison.rows[:LINES_SHOWN]:
        effect = row.effect
        mark = "*" if effect.p_adjusted < alpha else ""
        table.add_row(
            row.metric,
            f"[{row.other}]",
            str(effect.n_prompts),
            number_of(row, effect.reference),
            number_of(row, effect.mean),
            _change(row),
            f"{format_p_value(effect.p_adjusted)}{mark}",
            NO_VALUE if row.detectable is None else number_of(row, row.detectable),
        )
    return table


def is_share(row: Compared) -> bool:
    """Whether all values of a comparison lie in [0, 1]."""
    return row.effect.cohens_h is not None


def number_of(
    row: Compared,
    value: float,
    sign: str = "",
) -> str:
    """A value of a comparison: a share in per cent, or a number with three digits."""
    if is_share(row):
        return f"{PER_CENT * value:{sign}z.1f}"
    return f"{value:{sign}.3g}"


def _change(row: Compared) -> str:
    effect = row.effect
    value, low, high = (
        number_of(row, part, "+") for part in (effect.value, effect.low, effect.high)
    )
    return f"{value} [{low},{high}]"
