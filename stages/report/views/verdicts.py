"""Verdicts on principles as the report shows them, and how far to trust the judge that gave them.

In: the metrics of one `evaluate` artifact. Out: plain data for the template: violations of each
principle by ground truth and by the judge, and the judge's answers against ground truth and against
its own in the other order.
"""

import math
from collections.abc import Iterator
from typing import Any

from stages.evaluation.measures import foremost
from stages.report.views.marks import mark_change, place_estimate
from stages.statistics.formatting import (
    DASH,
    format_count,
    format_number,
    format_percent,
)

SOURCES = ("truth", "judge")
Tile = tuple[str, str, str]  # name, value, remark


def principle_rows(metrics: dict[str, Any], texts: dict[str, str]) -> list[dict[str, Any]]:
    """A row for each principle, with a cell for each policy; `texts` by the principle's id."""
    names = list(metrics["policies"])
    changes: dict[str, Any] = {}
    if len(names) > 1:
        changes = metrics["differences"][foremost(metrics)][names[0]]["principles"]
    verdicts = (metrics.get("judge") or {}).get("verdicts", {}).get("principles", {})
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


def measured_by(metrics: dict[str, Any]) -> list[str]:
    """Which of truth and judge measured any principle."""
    cells = list(_cells(metrics))
    return [source for source in SOURCES if any(cell[source] for cell in cells)]


def scale_of_bars(metrics: dict[str, Any]) -> int:
    """Per cent at which a principle's bar is full: the highest share, rounded up to tens."""
    highest = 0.0
    for cell in _cells(metrics):
        for source in SOURCES:
            if cell[source]:
                highest = max(highest, cell[source]["value"])
    return max(10, 10 * math.ceil(10 * highest - 1e-9))


def _cells(metrics: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for facts in metrics["policies"].values():
        yield from facts["principles"].values()


def _cell(estimates: dict[str, Any]) -> dict[str, Any]:
    return {
        source: place_estimate(estimates[source]) if estimates[source] else None
        for source in SOURCES
    }


def judge_tiles(judge: dict[str, Any]) -> dict[str, Any] | None:
    """The tiles, and the agreement of A/B choices by principle; None if nothing was measured."""
    verdicts = judge.get("verdicts") or {}
    pairs = judge.get("pairs") or {}
    tiles = [*_verdict_tiles(verdicts), *_choice_tiles(pairs), *_order_tiles(pairs)]
    if not tiles:
        return None
    return {"tiles": tiles, "principles": pairs.get("principles") or {}}


def _verdict_tiles(verdicts: dict[str, Any]) -> list[Tile]:
    """How often Yes/No verdicts are right."""
    if not verdicts.get("n"):
        return []
    number = format_count(verdicts["n"])
    false_alarms = _with_unit(verdicts["false_alarms"])
    return [
        (
            "Yes/No verdicts: accuracy",
            _with_unit(verdicts["accuracy"]),
            f"{number} verdicts against ground truth",
        ),
        (
            "Yes/No verdicts: kappa",
            format_number(verdicts["kappa"]),
            "Cohen; 1 is perfect, 0 is chance",
        ),
        (
            "violations missed",
            _with_unit(verdicts["missed"]),
            f"false alarms {false_alarms}",
        ),
    ]


def _choice_tiles(pairs: dict[str, Any]) -> list[Tile]:
    """How often choices between A and B are right."""
    if not pairs.get("n"):
        return []
    single = _with_unit(pairs["accuracy_single"])
    number = format_count(pairs["n"])
    cells = format_count(pairs["cells"])
    return [
        (
            "A/B choices: accuracy",
            _with_unit(pairs["accuracy"]),
            f"both orders averaged; one order {single}",
        ),
        (
            "A/B choices: kappa",
            format_number(pairs["kappa"]),
            f"{number} of {cells} cells where truth prefers one",
        ),
    ]


def _order_tiles(pairs: dict[str, Any]) -> list[Tile]:
    """How far choices depend on which response comes first."""
    if not pairs.get("cells"):
        return []
    cells = format_count(pairs["cells"])
    return [
        (
            "verdict flips with the order",
            _with_unit(pairs["flipped"]),
            f"of {cells} cells",
        ),
        (
            "first place is picked",
            _with_unit(pairs["first_place"]),
            "50 % is unbiased",
        ),
    ]


def _with_unit(share: float | None) -> str:
    return DASH if share is None else f"{format_percent(share)} %"
