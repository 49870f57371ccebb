"""How much a model's answers depend on the places of the options. Arithmetic only.

In: Answer rows, each asked in several orders. Out:

    questions         the number of rows
    accuracy_single   accuracy of one order, on average
    kappa             Cohen's, of the right letter and the model's, over all orders
    flips             the fraction of questions whose answer depends on the order
    first_place       how often the option shown first is chosen
    places            the same by letter

and a table of them.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean
from string import ascii_uppercase
from typing import Any

from stages.runtime.manifest import Table
from stages.runtime.rows import Answer
from stages.statistics.agreement import kappa
from stages.statistics.formatting import NO_VALUE, format_percent

COLUMNS = {
    "accuracy_single": "right in one order",
    "kappa": "kappa",
    "flips": "answer changes with the order",
    "first_place": "first place chosen",
}


def position_metrics(rows: Sequence[Answer]) -> dict[str, Any]:
    """The numbers above, over all orders in which the questions were asked."""
    if not rows:
        return {}
    places, letters, right = [], [], []
    for row in rows:
        for shift, option in enumerate(row.taken):
            order = row.order[shift:] + row.order[:shift]
            place = order.index(option)
            places.append(place)
            if row.gold:
                right.append(float(option in row.gold))
            if len(row.gold) == 1:
                letters.append((order.index(row.gold[0]), place))
    flips = [len(set(row.taken)) > 1 for row in rows if len(row.taken) > 1]
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


def position_table(step: str, positions: Mapping[str, Mapping[str, Any]]) -> Table:
    """A row for each model with answers."""
    rows = []
    for name, facts in positions.items():
        if facts:
            texts = {key: format_percent(facts[key], missing=NO_VALUE) for key in COLUMNS}
            if facts["kappa"] is not None:
                texts["kappa"] = f"{facts['kappa']:z.2f}"
            rows.append([name, *texts.values()])
    return Table(f"{step}: positions, per cent", ["model", *COLUMNS.values()], rows)
