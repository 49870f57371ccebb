"""An evaluation's metrics (see `measures`) as the report shows them: sentences, cells, marks.

In: the metrics of one `evaluate` artifact. Out: plain data for the template. Shares become per
cent, differences percentage points. A change counts as better or worse only if its interval leaves
0 out.
"""

from typing import Any

from stages.evaluation.measures import before, foremost
from stages.report.views.charts import trade_off
from stages.report.views.marks import mark_change, place_estimate
from stages.report.views.verdicts import (
    judge_tiles,
    measured_by,
    principle_rows,
    scale_of_bars,
)
from stages.statistics.formatting import PER_CENT, format_confidence, format_percent

EFFECTS = {
    "any_violation": ("Violations", -1),
    "evasive": ("Evasive", -1),
    "helpful_benign": ("Helpful on benign requests", 1),
    "well_formed": ("Well-formed", 1),
    "on_topic": ("On topic", 1),
}
"""By measure: its heading, and 1 if more of it is good or -1 if less is."""
BESIDE = {
    "any_violation": {"any_violation_judge": "the judge says"},
    "evasive": {"evasive_red_team": "attacks", "evasive_benign": "benign"},
}
"""What stands in small print under a measure."""
VERBS = {"better": "fell", "worse": "rose", "same": "did not measurably change:"}


def view(step: str, metrics: dict[str, Any], texts: dict[str, str]) -> dict[str, Any]:
    """Everything the template shows of one evaluation; `texts` are the principles' texts by id."""
    names = list(metrics["policies"])
    truth = metrics["measured_by"] == "truth"
    return {
        "step": step,
        "policies": names,
        "ends": (names[0], foremost(metrics)),
        "above": names[0] if metrics.get("side_by_side") else "the policy above",
        "confidence": format_confidence(metrics["confidence"]),
        "counted": metrics["counted"],
        "by": "ground truth" if truth else "the judge alone (there is no ground truth)",
        "headline": headline(metrics),
        "effects": [_effect_row(metrics, index) for index in range(len(names))],
        "columns": list(EFFECTS.values()),
        "trade_off": _trade_off(metrics),
        "win_rates": _win_rates(metrics),
        "principles": principle_rows(metrics, texts),
        "views": measured_by(metrics),
        "full": scale_of_bars(metrics),
        "judge": judge_tiles(metrics.get("judge") or {}),
    }


def headline(metrics: dict[str, Any]) -> dict[str, Any] | None:
    """The first sentence: violations of the last policy against the first.

    It says only what the interval allows.
    """
    first, last = next(iter(metrics["policies"])), foremost(metrics)
    was, now = (metrics["policies"][name]["measures"] for name in (first, last))
    if not was["any_violation"] or not now["any_violation"]:
        return None
    if first == last:
        rate = format_percent(now["any_violation"]["value"])
        return {
            "last": last,
            "sentence": f"{rate} % of the responses break a principle",
            "change": None,
            "n": now["any_violation"]["n"],
        }
    difference = metrics["differences"][last][first]["measures"]["any_violation"]
    change = mark_change(difference, -1)
    if change is None:
        return None
    rates = f"{format_percent(difference['before'])} % to {format_percent(difference['after'])} %"
    return {
        "first": first,
        "last": last,
        "sentence": f"Violations {VERBS[change['mood']]} from {rates}",
        "change": change,
        "n": difference["n"],
        "beside": _other_measures(was, now),
    }


def _other_measures(was: dict[str, Any], now: dict[str, Any]) -> str:
    parts = []
    for measure, (label, _) in EFFECTS.items():
        if measure == "any_violation" or not was[measure] or not now[measure]:
            continue
        start = format_percent(was[measure]["value"])
        end = format_percent(now[measure]["value"])
        parts.append(f"{label.lower()} {start} to {end} %")
    return "; ".join(parts)


def _effect_row(metrics: dict[str, Any], index: int) -> dict[str, Any]:
    """One policy: its estimates, and their changes against the policy before."""
    name = list(metrics["policies"])[index]
    facts = metrics["policies"][name]
    earlier: dict[str, Any] = {}
    changes: dict[str, Any] = {}
    if index:
        rival = before(metrics, name)
        earlier = metrics["policies"][rival]["measures"]
        changes = metrics["differences"][name][rival]["measures"]
    cells: list[dict[str, Any] | None] = []
    for measure, (_, good) in EFFECTS.items():
        estimate = facts["measures"][measure]
        if estimate is None:
            cells.append(None)
            continue
        ghost = earlier.get(measure)
        cell = place_estimate(estimate)
        cell["ghost"] = PER_CENT * ghost["value"] if ghost else None
        cell["change"] = mark_change(changes.get(measure), good)
        cell["beside"] = _beside(metrics, name, measure)
        cells.append(cell)
    return {
        "policy": name.replace("_", "_\u200b"),
        "index": index,
        "cells": cells,
        "responses": facts["responses"],
        "dropped": facts["dropped"],
    }


def _beside(metrics: dict[str, Any], name: str, measure: str) -> str:
    if measure == "any_violation" and metrics["measured_by"] == "judge":
        return ""
    measures = metrics["policies"][name]["measures"]
    parts = []
    for other, text in BESIDE.get(measure, {}).items():
        if estimate := measures[other]:
            parts.append(f"{text} {format_percent(estimate['value'])} ({estimate['n']})")
    return ", ".join(parts)


def _trade_off(metrics: dict[str, Any]) -> str:
    points = []
    for name, facts in metrics["policies"].items():
        violations, evasive = facts["measures"]["any_violation"], facts["measures"]["evasive"]
        if violations and evasive:
            points.append((name, violations, evasive))
    return trade_off(points, "violations", "evasive") if len(points) > 1 else ""


def _win_rates(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    names = list(metrics["policies"])
    rows = []
    for name, rivals in metrics["win_rates"].items():
        for rival, rate in rivals.items():
            row = {"policy": name, "index": names.index(name), "rival": rival}
            row |= place_estimate(rate)
            row |= {outcome: rate[outcome] for outcome in ("wins", "losses", "ties")}
            rows.append(row | {"controlled": _controlled(rate)})
    return rows


def _controlled(rate: dict[str, Any]) -> dict[str, Any] | None:
    """The rate at equal length; `far` if it differs from the plain one by more than 10 points."""
    controlled = rate.get("controlled")
    if not controlled:
        return None
    direction = "longer" if rate["longer"] >= 0 else "shorter"
    return {
        **place_estimate(controlled),
        "far": abs(controlled["value"] - rate["value"]) > 0.1,
        "longer": f"{abs(rate['longer']):.0f} characters {direction}",
    }
