"""The tables with colours of a sweep's page: the attribution map, and which principles agree.

In: the `Comparison`; plain data of `matrix`. Out: plain data for the template.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from stages.ablation.compare import Comparison
from stages.ablation.outcomes import NONE
from stages.ablation.runs import Run
from stages.report.sweep.charts import background, tint
from stages.report.sweep.wording import (
    NAMES,
    VIOLATES,
    format_change,
    format_interval,
    mood_of,
)
from stages.report.views.marks import View
from stages.statistics.effect import Effect
from stages.statistics.formatting import format_count, format_percent

FAINT = 0.05  # an effect below it never has the full colour
Plain = Mapping[str, Any]


def attribution(comparison: Comparison, outcomes: Sequence[str], texts: Mapping[str, str]) -> View:
    """A row for each variant, a column for each outcome.

    A cell without colour holds 0 in its interval. Each column has its own full colour: the largest
    effect in it that leaves 0 out, though no less than `FAINT`. Outcomes of further steps are left
    out.

    Args:
        texts: the principles', by id.
    """
    columns = [o for o in outcomes if " (" not in o and o in comparison.effects]
    full = _full_colours(comparison, columns)
    rows = []
    for run in comparison.runs.values():
        if run.kind == NONE or run.reference == run.label:
            continue
        cells = [_effect_cell(comparison, run, outcome, full[outcome]) for outcome in columns]
        rows.append(
            {
                "variant": run.label,
                "kind": run.kind,
                "verdict": comparison.verdict(comparison.outcome, run.label),
                "hint": texts.get(run.target, ""),
                "cells": cells,
            }
        )
    heads = []
    for outcome in columns:
        name = NAMES.get(outcome, outcome.removeprefix(VIOLATES))
        heads.append({"name": name, "violates": outcome.startswith(VIOLATES)})
    return {
        "columns": heads,
        "rows": rows,
        "violates": sum(head["violates"] for head in heads),
    }


def _full_colours(comparison: Comparison, outcomes: Sequence[str]) -> dict[str, float]:
    """By outcome the effect that has the full colour.

    Violations of principles share one, so that the diagonal can be read against the rest.
    """
    largest = {outcome: _largest(comparison.effects[outcome]) for outcome in outcomes}
    of_principles = [value for o, value in largest.items() if o.startswith(VIOLATES)]
    full = {}
    for outcome, value in largest.items():
        shared = outcome.startswith(VIOLATES)
        full[outcome] = max(of_principles) if shared else value
    return full


def _largest(effects: Mapping[str, Effect]) -> float:
    sure = [abs(e.value) for e in effects.values() if e.low > 0 or e.high < 0]
    return max([FAINT, *sure])


def _effect_cell(comparison: Comparison, run: Run, outcome: str, full: float) -> View | None:
    effect = comparison.effect(outcome, run.label)
    if effect is None:
        return None
    colour = mood_of(effect, outcome, comparison.level)
    unsure = colour == "same"
    number = format_change(effect.value, outcome)
    return {
        "text": number,
        "style": "" if unsure else tint(effect.value, full, colour),
        "unsure": unsure,
        "holm": comparison.verdict(outcome, run.label) == "works",
        "own": outcome == f"{VIOLATES}{run.target}",
        "title": f"{run.label}, {outcome}: {number} ({format_interval(effect, outcome)})",
    }


def redundancy_table(redundancy: Plain | None) -> View | None:
    """`matrix.redundancy` as a table: a row and a column for each principle.

    Beside them stands what each principle does alone, and below the pairs that are redundant.
    """
    if not redundancy:
        return None
    verdicts = redundancy["redundancies"]
    agreements: dict[tuple[str, str], Plain] = {}
    for agreement in redundancy["agreements"]:
        first = agreement["first"]
        second = agreement["second"]
        agreements[first, second] = agreement
        agreements[second, first] = agreement
    alone = {each["principle"]: each for each in redundancy["principles"]}
    redundant = [each for each in verdicts if each["verdict"] == "redundant"]
    pairs = {(each["principle"], each["beside"]) for each in redundant}
    rows = []
    for name in redundancy["names"]:
        cells = []
        for other in redundancy["names"]:
            agreement = agreements.get((name, other))
            cells.append(_agreement_cell(name, other, agreement, (name, other) in pairs))
        rows.append(
            {
                "id": name,
                "cells": cells,
                "alone": alone.get(name),
            }
        )
    return {
        "names": redundancy["names"],
        "rows": rows,
        "pairs": redundancy["pairs"],
        "redundant": redundant,
        "verdicts": Counter(each["verdict"] for each in verdicts),
        "decided": bool(alone),
    }


def _agreement_cell(name: str, other: str, agreement: Plain | None, redundant: bool) -> View | None:
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
