"""The tables with colours of a sweep's page: the attribution map, and which principles agree.

In: the `Comparison`; plain data of `matrix`. Out: plain data for the template.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from stages.ablation.compare import Comparison
from stages.ablation.outcomes import NONE
from stages.ablation.runs import Run
from stages.evaluation.instrument.doubt import mark
from stages.report.sweep.charts import background, tint
from stages.report.sweep.conclusions import DIFFERS, claim_of
from stages.report.sweep.wording import (
    NAMES,
    VIOLATES,
    format_outcome_change,
    format_outcome_interval,
    tone_of_effect,
)
from stages.report.views.marks import View
from stages.statistics.effect import Effect
from stages.statistics.formatting import format_count, format_number, format_percent

FAINT = 0.05  # an effect below it never has the full colour
Plain = Mapping[str, Any]


def attribution(comparison: Comparison, outcomes: Sequence[str], texts: Mapping[str, str]) -> View:
    """A row for each variant, a column for each outcome.

    A table cell has no colour if its interval contains 0. Each column has its own full colour: the
    largest effect in it whose interval excludes 0, but at least `FAINT`. Outcomes of further steps
    are left out.

    Args:
        texts: the texts of the principles, by id.
    """
    columns = [o for o in outcomes if " (" not in o and o in comparison.effects]
    full = _full_colours(comparison, columns)
    rows = []
    for run in comparison.runs.values():
        if run.kind == NONE or run.reference == run.label:
            continue
        cells = [_effect_value(comparison, run, outcome, full[outcome]) for outcome in columns]
        rows.append(
            {
                "variant": run.label,
                "kind": run.kind,
                "verdict": claim_of(comparison, comparison.outcome, run.label),
                "hint": texts.get(run.target, ""),
                "cells": cells,
            }
        )
    heads = []
    for outcome in columns:
        name = NAMES.get(outcome, outcome.removeprefix(VIOLATES))
        name = mark(name, comparison.doubt(outcome))
        heads.append({"name": name, "violates": outcome.startswith(VIOLATES)})
    return {
        "columns": heads,
        "rows": rows,
        "violates": sum(head["violates"] for head in heads),
    }


def _full_colours(comparison: Comparison, outcomes: Sequence[str]) -> dict[str, float]:
    """By outcome, the effect that has the full colour.

    Violations of all principles share one scale, so that the diagonal can be compared with the
    rest.
    """
    largest = {outcome: _largest(comparison.effects[outcome]) for outcome in outcomes}
    of_principles = [value for o, value in largest.items() if o.startswith(VIOLATES)]
    full = {}
    for outcome, value in largest.items():
        shared = outcome.startswith(VIOLATES)
        full[outcome] = max(of_principles) if shared else value
    return full


def _largest(effects: Mapping[str, Effect]) -> float:
    certain = [abs(e.value) for e in effects.values() if e.low > 0 or e.high < 0]
    return max([FAINT, *certain])


def _effect_value(comparison: Comparison, run: Run, outcome: str, full: float) -> View | None:
    effect = comparison.effect(outcome, run.label)
    if effect is None:
        return None
    doubt = comparison.doubt(outcome)
    tone = "same" if doubt else tone_of_effect(effect, outcome, comparison.level)
    unsure = tone == "same"
    number = format_outcome_change(effect.value, outcome)
    return {
        "text": mark(number, doubt),
        "style": "" if unsure else tint(effect.value, full, tone),
        "unsure": unsure,
        "holm": claim_of(comparison, outcome, run.label) == DIFFERS,
        "own": outcome == f"{VIOLATES}{run.target}",
        "title": f"{run.label}, {outcome}: {number} ({format_outcome_interval(effect, outcome)})",
    }


def redundancy_table(redundancy: Plain | None) -> View | None:
    """`matrix.redundancy` as a table: a row and a column for each principle.

    Further columns hold the effect of each principle alone; below are the redundant pairs.
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
            cells.append(_agreement_value(name, other, agreement, (name, other) in pairs))
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


def _agreement_value(
    name: str, other: str, agreement: Plain | None, redundant: bool
) -> View | None:
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
        title += f", kappa {format_number(kappa)}"
    tone = "other" if agree >= 0.5 else "worse"
    return {
        "text": format_percent(agree, 0),
        "style": background(tone, 0.62 * abs(2 * agree - 1) ** 1.5),
        "redundant": redundant,
        "title": title,
    }
