"""The attribution map: what each variant did to each outcome, as a table with colours."""

from collections.abc import Mapping, Sequence
from typing import Any

from stages.ablation.compare import Comparison
from stages.ablation.outcomes import NONE
from stages.ablation.runs import Run
from stages.report.sweep.charts import tint
from stages.report.sweep.wording import (
    NAMES,
    VIOLATES,
    format_change,
    format_interval,
    good,
    mood,
)
from stages.statistics.effect import Effect

FAINT = 0.05  # an effect below it never has the full colour


def attribution(
    comparison: Comparison, outcomes: Sequence[str], texts: Mapping[str, str]
) -> dict[str, Any]:
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
        cells = [_cell(comparison, run, outcome, full[outcome]) for outcome in columns]
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


def _cell(comparison: Comparison, run: Run, outcome: str, full: float) -> dict[str, Any] | None:
    effect = comparison.effect(outcome, run.label)
    if effect is None:
        return None
    colour = mood(effect, good(outcome, comparison.level))
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
