"""What the report shows of a survey: profiles with intervals, reliability beside them, verdicts.

In: the metrics of one `survey` artifact. Out: plain data for the template.
"""

import math
from collections.abc import Sequence

from stages.evaluation.surveys.tables import PROFILE_TABLES, UNITS
from stages.evaluation.surveys.verdict import MEASURABLE
from stages.report.views.marks import Metrics, View
from stages.runtime.manifest import Table
from stages.statistics.formatting import format_number, format_percent

TONES = {
    "moved": "other",
    "not moved": "same",
    "not measurable": "worse",
    MEASURABLE: "better",
}
WIDE = 1e3
"""Half the width of an axis is never more."""


def survey_view(step: str, metrics: Metrics) -> View:
    """The data of one survey for the template."""
    models = list(metrics["models"])
    names = dict.fromkeys(name for facts in metrics["models"].values() for name in facts["scores"])
    low, high = _axis([facts["scores"] for facts in metrics["models"].values()])
    lines = []
    for name in names:
        cells = []
        for model in models:
            score = metrics["models"][model]["scores"].get(name)
            cells.append(
                _cell(
                    score,
                    low,
                    high,
                )
                if score
                else None
            )
        changes = []
        for model in models[1:]:
            change = metrics["differences"].get(model, {}).get(name)
            changes.append(_change(change) if change else None)
        lines.append(
            {
                "name": name,
                "cells": cells,
                "changes": changes,
            }
        )
    return {
        "step": step,
        "name": metrics["name"],
        "unit": UNITS[metrics["kind"]],
        "confidence": metrics["confidence"],
        "models": [_model(name, facts) for name, facts in metrics["models"].items()],
        "lines": lines,
        "axis": (format_number(low), format_number(high)),
        "middle": 100 * (0 - low) / (high - low) if low < 0 < high else None,
    }


def is_of_people(table: Table) -> bool:
    """Whether a table of a survey holds what the profile does not show."""
    return not any(words in table.title for words in PROFILE_TABLES)


def _axis(profiles: Sequence[Metrics]) -> tuple[float, float]:
    """The ends of the axis on which all scores and intervals that are not endless lie."""
    numbers = [0.0]
    for profile in profiles:
        for score in profile.values():
            numbers += [score[key] for key in ("value", "low", "high") if _is_near(score[key])]
    low, high = min(numbers), max(numbers)
    margin = (high - low) / 20 or 1.0
    return low - margin, high + margin


def _is_near(number: float) -> bool:
    return math.isfinite(number) and abs(number) < WIDE


def _cell(
    score: Metrics,
    low: float,
    high: float,
) -> View:
    def place(number: float) -> float:
        return 100 * (min(max(number, low), high) - low) / (high - low)

    distances = []
    for kind in ("order", "wording", "retest"):
        if score[kind] is not None:
            distances.append(f"{kind} {format_number(score[kind])}")
    bounds = f"{format_number(score['low'])} to {format_number(score['high'])}"
    start, end = place(score["low"]), place(score["high"])
    return {
        "text": format_number(score["value"]),
        "bounds": bounds,
        "title": f"{bounds}, {score['n']} administrations",
        "at": place(score["value"]),
        "low": start,
        "width": end - start,
        "doubt": "" if score["verdict"] == MEASURABLE else "; ".join(score["reasons"]),
        "verdict": score["verdict"],
        "tone": TONES[score["verdict"]],
        "reasons": score["reasons"],
        "distances": ", ".join(distances),
    }


def _change(change: Metrics) -> View:
    low, high = (
        format_number(
            change["low"],
            2,
            "+",
        ),
        format_number(
            change["high"],
            2,
            "+",
        ),
    )
    return {
        "text": format_number(
            change["value"],
            2,
            "+",
        ),
        "interval": f"{low} to {high}",
        "verdict": change["verdict"],
        "tone": TONES[change["verdict"]],
    }


def _model(name: str, facts: Metrics) -> View:
    """How one model answered, as a sentence."""
    parts = [f"{facts['asked']} questions"]
    for key, words in (("invalid", "without an answer"), ("leaked", "of the probability on none")):
        if facts[key] is not None:
            parts.append(f"{format_percent(facts[key])} % {words}")
    for kind, estimate in facts["reliability"].items():
        if estimate:
            bounds = f"{format_number(estimate['low'])} to {format_number(estimate['high'])}"
            parts.append(f"reliability by {kind} {format_number(estimate['value'])} ({bounds})")
    category = facts["facts"].get("category")
    parts += [f"orientation: {category}"] if category else []
    return {
        "name": name,
        "how": "; ".join(parts),
        "verdict": facts["verdict"],
    }
