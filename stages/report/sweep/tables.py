"""The table of a sweep's page that shows which principles agree.

In: plain data of `matrix`. Out: plain data for the template.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from stages.report.sweep.charts import background
from stages.statistics.formatting import format_count, format_percent

Plain = Mapping[str, Any]


def redundancy_table(redundancy: Plain | None) -> dict[str, Any] | None:
    """`matrix.redundancy` as a table: a row and a column for each principle.

    Beside them stands what each principle does alone, and below the pairs that are redundant.
    """
    if not redundancy:
        return None
    verdicts = redundancy["redundancies"]
    agreements: dict[tuple[str, str], Plain] = {}
    for agreement in redundancy["agreements"]:
        first, second = agreement["first"], agreement["second"]
        agreements[first, second] = agreements[second, first] = agreement
    alone = {each["principle"]: each for each in redundancy["principles"]}
    redundant = [each for each in verdicts if each["verdict"] == "redundant"]
    pairs = {(each["principle"], each["beside"]) for each in redundant}
    rows = []
    for name in redundancy["names"]:
        cells = []
        for other in redundancy["names"]:
            agreement = agreements.get((name, other))
            cells.append(_cell(name, other, agreement, (name, other) in pairs))
        rows.append({"id": name, "cells": cells, "alone": alone.get(name)})
    return {
        "names": redundancy["names"],
        "rows": rows,
        "pairs": redundancy["pairs"],
        "redundant": redundant,
        "verdicts": Counter(each["verdict"] for each in verdicts),
        "decided": bool(alone),
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
