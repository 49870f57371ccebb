"""What the report shows of conflicts: a matrix of who wins against whom, and the pairs one by one.

In: the metrics of one `conflict_atlas` artifact. Out: plain data for the template.
"""

from stages.report.views.marks import Metrics, View
from stages.statistics.formatting import format_number, format_percent, format_percent_range

SEPARATOR = " > "
MOST = 12
"""Principles in the matrix; of more, only the list of pairs is shown."""
TONES = {
    "as stated": "better",
    "against the file": "worse",
    "undecided": "same",
}


def conflicts_view(
    step: str,
    metrics: Metrics,
) -> View:
    """The data of one atlas for the template."""
    pairs = sorted(metrics["stated"], key=lambda pair: _order(pair, metrics))
    names = sorted({name for pair in pairs for name in pair.split(SEPARATOR)})
    lines = [_line(pair, metrics) for pair in pairs]
    return {
        "step": step,
        "confidence": metrics["confidence"],
        "deciders": [_decider(name, each) for name, each in metrics["deciders"].items()],
        "names": names if len(names) <= MOST else [],
        "matrix": _matrix(names, metrics) if len(names) <= MOST else [],
        "lines": lines,
        "apart": [line for line in lines if line["where"]],
    }


def _order(
    pair: str,
    metrics: Metrics,
) -> tuple[bool, float]:
    apart = metrics["apart"].get(pair)
    share = apart["all"]["value"] if apart and apart["all"] else 0.0
    return not (apart and apart["where"]), -share


def _decider(
    name: str,
    facts: Metrics,
) -> View:
    verdicts = list(facts["verdicts"].values())
    agreement = facts["agreement"]
    return {
        "name": name,
        "what": facts["what"],
        "order": SEPARATOR.join(facts["priorities"]),
        "as_stated": verdicts.count("as stated"),
        "against": verdicts.count("against the file"),
        "agreement": None if agreement is None else format_number(agreement),
        "cases": _share(facts.get("cases")),
        "verdict": facts.get("verdict"),
    }


def _line(
    pair: str,
    metrics: Metrics,
) -> View:
    first, second = pair.split(SEPARATOR)
    apart = metrics["apart"].get(pair)
    stated = metrics["stated"][pair]
    cells = []
    for each in metrics["deciders"].values():
        estimate = each["pairs"].get(pair)
        cells.append(_cell(estimate, each["verdicts"][pair]) if estimate else None)
    return {
        "first": first,
        "second": second,
        "apart": _share(apart["all"]) if apart else None,
        "where": ", ".join(apart["where"]) if apart else "",
        "stated": {"first": first, "second": second}.get(stated, ""),
        "cells": cells,
    }


def _matrix(
    names: list[str],
    metrics: Metrics,
) -> list[View]:
    """A row for each principle: its share against each other one, by decider."""
    rows = []
    for row in names:
        cells = []
        for column in names:
            pair = SEPARATOR.join(sorted((row, column)))
            turned = row > column
            shares = []
            for each in metrics["deciders"].values():
                estimate = each["pairs"].get(pair)
                shares.append(
                    _cell(_turn(estimate, turned), each["verdicts"][pair]) if estimate else None
                )
            stated = metrics["stated"].get(pair, "")
            cells.append(
                {
                    "is_own": row == column,
                    "shares": shares if any(shares) else [],
                    "is_first": stated == ("second" if turned else "first"),
                    "is_apart": bool(metrics["apart"].get(pair, {}).get("where")),
                }
            )
        rows.append({"name": row, "cells": cells})
    return rows


def _turn(
    estimate: Metrics,
    turned: bool,
) -> Metrics:
    if not turned:
        return estimate
    ends = {"low": 1 - estimate["high"], "high": 1 - estimate["low"]}
    return {
        **estimate,
        **ends,
        "value": 1 - estimate["value"],
    }


def _share(estimate: Metrics | None) -> View | None:
    if estimate is None:
        return None
    return {
        "text": format_percent(estimate["value"], 0),
        "bounds": f"{format_percent(estimate['low'], 0)} to {format_percent(estimate['high'], 0)}",
        "title": f"{format_percent_range(estimate['low'], estimate['high'])}, n = {estimate['n']}",
        "n": estimate["n"],
        "doubt": "",
        "at": 100 * estimate["value"],
        "low": 100 * estimate["low"],
        "width": 100 * (estimate["high"] - estimate["low"]),
    }


def _cell(
    estimate: Metrics,
    verdict: str,
) -> View:
    cell = _share(estimate)
    assert cell is not None
    return {
        **cell,
        "verdict": verdict,
        "tone": TONES.get(verdict, "other"),
    }
