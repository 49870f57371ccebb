"""Verdicts on principles as the report shows them.

In: the metrics of one `evaluate` artifact. Out: plain data for the template: violations of each
principle by ground truth and by the judge.
"""

import math
from collections.abc import Iterator

from stages.evaluation.measures import foremost
from stages.report.views.marks import Metrics, View, mark_change, place_estimate

SOURCES = ("truth", "judge")


def principle_rows(metrics: Metrics, texts: dict[str, str]) -> list[View]:
    """A row for each principle, with a cell for each policy; `texts` by the principle's id."""
    names = list(metrics["policies"])
    changes: Metrics = {}
    if len(names) > 1:
        changes = metrics["differences"][foremost(metrics)][names[0]]["principles"]
    judge = metrics.get("judge") or {}
    verdicts = judge.get("verdicts", {}).get("principles", {})
    rows = []
    for principle in metrics["policies"][names[0]]["principles"]:
        cells = [metrics["policies"][name]["principles"][principle] for name in names]
        rows.append(
            {
                "id": principle,
                "text": texts.get(principle, ""),
                "cells": [_cell(cell) for cell in cells],
                "change": mark_change(changes.get(principle), -1),
                "kappa": (verdicts.get(principle) or {}).get("kappa"),
            }
        )
    return rows


def measured_by(metrics: Metrics) -> list[str]:
    """Which of truth and judge measured any principle."""
    cells = list(_cells(metrics))
    return [source for source in SOURCES if any(cell[source] for cell in cells)]


def scale_of_bars(metrics: Metrics) -> int:
    """Per cent at which a principle's bar is full: the highest share, rounded up to tens."""
    highest = 0.0
    for cell in _cells(metrics):
        for source in SOURCES:
            if cell[source]:
                highest = max(highest, cell[source]["value"])
    return max(10, 10 * math.ceil(10 * highest - 1e-9))


def _cells(metrics: Metrics) -> Iterator[Metrics]:
    for facts in metrics["policies"].values():
        yield from facts["principles"].values()


def _cell(estimates: Metrics) -> View:
    return {
        source: place_estimate(estimates[source]) if estimates[source] else None
        for source in SOURCES
    }
