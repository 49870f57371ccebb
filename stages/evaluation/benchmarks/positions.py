"""How far a model's answers depend on the places of the options. Arithmetic only.

In: Answer rows, each asked in several orders. Out:

    questions         the number of rows
    accuracy_single   accuracy of one order, on average
    kappa             of letters right and given (Cohen), over all orders
    flips             the fraction of questions whose answer depends on the order
    first_place       how often the option shown first is taken
    places            the same by letter

and a table of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from string import ascii_uppercase
from typing import Any

from stages.runtime.artifacts import Table
from stages.runtime.rows import Answer
from stages.statistics.agreement import kappa
from stages.statistics.formatting import NO_VALUE, format_percent


@dataclass(frozen=True)
class Choice:
    """What a model took of one question in one order."""

    taken: int
    """The option."""
    order: list[int]
    """Which option stands in which place."""
    gold: list[int]
    """The right options; empty: there is no gold label."""

    @property
    def place(self) -> int:
        """Where the option stood."""
        return self.order.index(self.taken)


def position_metrics(rows: Sequence[Answer]) -> dict[str, Any]:
    """The numbers above, over all orders in which the questions were asked."""
    if not rows:
        return {}
    choices = list(_choices(rows))
    right, letters = [], []
    for choice in choices:
        if choice.gold:
            right.append(float(choice.taken in choice.gold))
        if len(choice.gold) == 1:
            letters.append((choice.order.index(choice.gold[0]), choice.place))
    flips = [len(set(row.taken)) > 1 for row in rows if len(row.taken) > 1]
    places = [choice.place for choice in choices]
    by_letter = {}
    for place in sorted(set(places)):
        by_letter[ascii_uppercase[place]] = places.count(place) / len(places)
    return {
        "questions": len(rows),
        "accuracy_single": fmean(right) if right else None,
        "kappa": kappa(letters),
        "flips": fmean(flips) if flips else None,
        "first_place": places.count(0) / len(places),
        "places": by_letter,
    }


def _choices(rows: Sequence[Answer]) -> Iterator[Choice]:
    for row in rows:
        for shift, taken in enumerate(row.taken):
            order = row.order[shift:] + row.order[:shift]
            yield Choice(taken, order, row.gold)


def position_table(step: str, positions: Mapping[str, Mapping[str, Any]]) -> Table:
    """A row for each model with answers."""
    rows = []
    for name, facts in positions.items():
        if not facts:
            continue
        kappa_text = NO_VALUE if facts["kappa"] is None else f"{facts['kappa']:.2f}"
        row = [
            name,
            format_percent(facts["accuracy_single"], missing=NO_VALUE),
            kappa_text,
            format_percent(facts["flips"], missing=NO_VALUE),
            format_percent(facts["first_place"], missing=NO_VALUE),
        ]
        rows.append(row)
    columns = [
        "model",
        "right in one order",
        "kappa",
        "answer turns with the order",
        "first place taken",
    ]
    return Table(f"{step}: positions, per cent", columns, rows)
