"""What the report shows of a judge corrected by labels (see `labels.corrected`).

In: the metrics of one `evaluate` artifact. Out: plain data for the template: rates and changes by
each method, how the judge errs on each policy, and where its errors differ.
"""

from stages.evaluation.instrument.doubt import doubt_about, explain_mark
from stages.evaluation.labels.questions import ANY
from stages.report.views.marks import Metrics, View, place_estimate, tone_of_change
from stages.statistics.formatting import format_points, format_points_range

METHODS = {
    "raw": "the judge alone",
    "gold": "labels alone",
    "ppi": "prediction-powered",
    "misclassification": "misses and false alarms",
}


def corrections_view(step: str, metrics: Metrics, texts: dict[str, str]) -> View | None:
    """The data of one evaluation for the template; None where it had no labels.

    Args:
        texts: the principles' texts by id.
    """
    corrected = metrics.get("corrected")
    if not corrected:
        return None
    doubts = {"raw": doubt_about("any_violation_judge", metrics)}
    questions = []
    for name, question in corrected["questions"].items():
        questions.append(
            {
                "id": name,
                "text": "" if name == ANY else texts.get(name, ""),
                "reference": question["reference"],
                "policies": [
                    _policy(
                        question,
                        policy,
                        index,
                        doubts,
                    )
                    for index, policy in enumerate(question["rates"])
                ],
            }
        )
    return {
        "step": step,
        "confidence": corrected["confidence"],
        "drawn": corrected["drawn"],
        "by": "people" if corrected["source"] == "people" else "the ground truth",
        "methods": list(METHODS.values()),
        "doubt": explain_mark(doubts.values()),
        "questions": questions,
    }


def _policy(question: Metrics, name: str, index: int, doubts: dict[str, str]) -> View:
    rates = question["rates"][name]
    cells = []
    for method in METHODS:
        rate = rates[method]
        cells.append(place_estimate(rate, doubt=doubts.get(method, "")) if rate else None)
    changes = []
    for rival, difference in question["differences"].get(name, {}).items():
        marks = [_change(difference[method], doubts.get(method, "")) for method in METHODS]
        changes.append(
            {
                "rival": rival,
                "cells": marks,
            }
        )
    return {
        "name": name,
        "index": index,
        "labels": question["labels"][name],
        "cells": cells,
        "changes": changes,
        "errors": question["errors"][name],
        "errors_from": question["errors_from"][name],
        "residual": _residual(question["transport"].get(name)),
    }


def _change(difference: Metrics | None, doubt: str) -> View | None:
    if difference is None:
        return None
    return {
        "text": format_points(difference["value"]),
        "interval": format_points_range(difference["low"], difference["high"]),
        "tone": "same" if doubt else tone_of_change(difference["low"], difference["high"], -1),
        "doubt": doubt,
    }


def _residual(residual: Metrics | None) -> View | None:
    """How far the judge's yes is from what its errors on the reference lead to expect."""
    if residual is None:
        return None
    return {
        "text": format_points(residual["value"]),
        "interval": format_points_range(residual["low"], residual["high"]),
        "carries": residual["carries"],
        "labels": residual["labels"],
    }
