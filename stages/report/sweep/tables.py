"""The tables of a sweep's page: which principles agree, and ratings.

In: plain data of `matrix`. Out: plain data for the template.
"""

from collections.abc import Mapping
from typing import Any

from stages.ablation.outcomes import NONE
from stages.report.sweep.charts import RatingBar, background
from stages.statistics.formatting import format_count, format_percent, format_percent_range

Plain = Mapping[str, Any]


def redundancy_table(redundancy: Plain | None) -> dict[str, Any] | None:
    """`matrix.redundancy` as a table: a row and a column for each principle.

    Beside them stands what each principle does alone, and below the pairs that are redundant.
    """
    if not redundancy:
        return None
    names, verdicts = redundancy["names"], redundancy["redundancies"]
    agreements: dict[tuple[str, str], Plain] = {}
    for agreement in redundancy["agreements"]:
        first, second = agreement["first"], agreement["second"]
        agreements[first, second] = agreements[second, first] = agreement
    alone = {each["principle"]: _alone(each) for each in redundancy["principles"]}
    redundant = [each for each in verdicts if each["verdict"] == "redundant"]
    pairs = {(each["principle"], each["beside"]) for each in redundant}
    rows = []
    for name in names:
        cells = []
        for other in names:
            agreement = agreements.get((name, other))
            cells.append(_cell(name, other, agreement, (name, other) in pairs))
        rows.append({"id": name, "cells": cells} | alone.get(name, {}))
    return {
        "names": names,
        "rows": rows,
        "pairs": format_count(redundancy["pairs"]),
        "redundant": [_redundant(each) for each in redundant],
        "undecided": sum(each["verdict"] == "undecided" for each in verdicts),
        "distinct": sum(each["verdict"] == "distinct" for each in verdicts),
        "decided": bool(alone),
    }


def _alone(principle: Plain) -> dict[str, str]:
    """What one principle does by itself."""
    pivotal = principle["pivotal"]
    return {
        "speaks": format_percent(principle["speaks"], 0),
        "decides": format_percent(principle["decides"]),
        "pivotal": format_percent(pivotal["value"]),
        "interval": format_percent_range(pivotal["low"], pivotal["high"]),
    }


def _cell(name: str, other: str, agreement: Plain | None, redundant: bool) -> dict[str, Any] | None:
    """How far two principles agree; None where they never both speak."""
    if agreement is None or agreement["agree"] is None:
        return None
    agree = agreement["agree"]["value"]
    covered = agreement["covered"]["value"]
    kappa = agreement["kappa"]
    title = (
        f"{name} and {other} prefer the same in {format_percent(agree)} % of "
        f"{format_count(agreement['both'])} pairs; "
        f"where either speaks, both do in {format_percent(covered)} %"
    )
    if kappa is not None:
        title += f", kappa {kappa:.2f}"
    colour = "other" if agree >= 0.5 else "worse"
    return {
        "text": format_percent(agree, 0),
        "style": background(colour, 0.62 * abs(2 * agree - 1) ** 1.5),
        "redundant": redundant,
        "title": title,
    }


def _redundant(redundancy: Plain) -> dict[str, str]:
    """A principle that can go while another stays, and the three shares that show it."""
    return {
        "principle": redundancy["principle"],
        "beside": redundancy["beside"],
        "agree": format_percent(redundancy["agree"]),
        "covered": format_percent(redundancy["covered"]),
        "pivotal": format_percent(redundancy["pivotal"]),
    }


def rating_bar(rating: Plain) -> RatingBar:
    """One model's line in the chart of ratings."""
    name = rating["model"]
    if name.partition(" ")[0] == NONE:
        name = f"before the method{name.removeprefix(NONE)}"
    record = f"{rating['wins']} won, {rating['ties']} tied, {rating['losses']} lost"
    return RatingBar(
        name,
        rating["elo"],
        rating["low"],
        rating["high"],
        record,
    )
