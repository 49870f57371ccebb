"""A turn in the terminal: the answers, and the shortest list of principles that says all.

A principle is listed where an answer breaks it, or where the speakers differ by a fifth or more;
the others are counted.
"""

from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from stages.chat.session import KEPT, Turn, count_kept
from stages.guards.console import styled

WIDTH = 80
DIFFERENT = 0.2
"""The difference of two probabilities from which a principle is listed."""
COLOURS = ("cyan", "green")


def show_turn(
    turn: Turn,
    console: Console,
    every: bool = False,
) -> None:
    """Show the answers and their verdicts in at most 80 columns.

    Args:
        every: list all principles.
    """
    width = min(console.width, WIDTH)
    for number, (name, answer) in enumerate(turn.answers.items()):
        colour = COLOURS[number % len(COLOURS)]
        verdict = ""
        if answer.kept:
            verdict = f"  keeps {count_kept(answer.kept)} of {len(answer.kept)}"
        console.print(styled((name, f"bold {colour}"), verdict))
        text = answer.text or f"(no answer: {answer.failure})"
        console.print(Padding(styled(text), (0, 0, 0, 2)), width=width)
    rows = listed(turn, every)
    if rows:
        console.print(_table(turn, rows), width=width)
    judged = {name for answer in turn.answers.values() for name in answer.kept}
    rest = len(judged) - len(rows)
    if rest > 0:
        console.print(f"  P(kept) of {rest} other principles: {KEPT} or more, and alike")


def listed(
    turn: Turn,
    every: bool = False,
) -> list[str]:
    """Return the principles that a turn lists, in the order of the set."""
    names: dict[str, list[float]] = {}
    for answer in turn.answers.values():
        for name, probability in answer.kept.items():
            names.setdefault(name, []).append(probability)
    rows = []
    for name, values in names.items():
        if every or min(values) < KEPT or max(values) - min(values) >= DIFFERENT:
            rows.append(name)
    return rows


def _table(
    turn: Turn,
    rows: list[str],
) -> Table:
    table = Table(
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 2),
    )
    table.add_column("P(kept)", overflow="fold")
    for name in turn.answers:
        table.add_column(name, justify="right")
    for principle in rows:
        cells = []
        for answer in turn.answers.values():
            probability = answer.kept.get(principle)
            if probability is None:
                cells.append(styled("-"))
            else:
                colour = "red" if probability < KEPT else ""
                cells.append(styled((f"{probability:.2f}", colour)))
        table.add_row(principle, *cells)
    return table
