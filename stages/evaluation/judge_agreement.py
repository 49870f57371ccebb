"""How far the judge can be trusted: its Yes or No and its choices against the ground truth.

Arithmetic only. In: Verdict rows, which hold what the ground truth and what the judge says of a
response; or the judge matrix and a ground-truth function. Out: plain dicts,

    verdicts   {n, accuracy, kappa, missed, false_alarms, principles: {id: {n, accuracy, kappa}}},
               of the judge's Yes or No
    pairs      {cells, flipped, first_place, n, accuracy_ab, accuracy_ba, accuracy_single, accuracy,
               kappa, principles: {id: {n, accuracy}}}

`flipped` is the fraction of cells whose choice changes with the order, `first_place` how often the
response shown first is chosen (Shi et al. 2024, arXiv 2406.07791: position consistency and
preference fairness). The ground truth has a preference for a pair where exactly one response
violates the principle's dimension; only these `n` cells enter the accuracies. `accuracy` averages
both orders' margins, `accuracy_single` is the mean of the accuracies of the two orders.

Left out: intervals. Cells of one pair are not independent, and these numbers are a check, not a
result.
"""

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

from stages.evaluation.ground_truth import GroundTruth
from stages.evaluation.instrument.decision import Decision
from stages.principles.constitution import Principle
from stages.runtime.rows import Judgement, Verdict, request_text
from stages.statistics.agreement import kappa

Cell = tuple[Judgement, int]
"""A judgement, and which response is better: 1 for a, -1 for b."""


def verdict_agreement(verdicts: Sequence[Verdict], decision: Decision) -> dict[str, Any]:
    """The judge's Yes or No against the ground truth.

    Returns:
        `missed` is a fraction of the violations, `false_alarms` of the non-violations.
    """
    groups: dict[str, list[tuple[bool, bool]]] = {}  # (truth, judge) of each response
    for row in verdicts:
        if not (row.violated and row.judged):
            continue
        columns = zip(decision.violated(row).items(), row.violated, strict=True)
        for (principle, judged), truth in columns:
            if truth is not None:
                groups.setdefault(principle, []).append((truth, judged))
    cells = [cell for group in groups.values() for cell in group]
    return {
        **_agreement(cells),
        "missed": _mean(not judge for truth, judge in cells if truth),
        "false_alarms": _mean(judge for truth, judge in cells if not truth),
        "principles": {name: _agreement(group) for name, group in groups.items()},
    }


def _agreement(cells: Sequence[tuple[bool, bool]]) -> dict[str, Any]:
    return {
        "n": len(cells),
        "accuracy": _mean(truth == judge for truth, judge in cells),
        "kappa": kappa(cells),
    }


def pair_agreement(
    rows: Sequence[Judgement],
    principles: Sequence[Principle],
    truth: GroundTruth | None,
) -> dict[str, Any]:
    """How the judge matrix agrees over both orders, and with the ground truth if there is one."""
    first_choices = []
    for row in rows:
        first_choices.append(row.margin_ab > 0)
        first_choices.append(row.margin_ba < 0)
    order = {
        "cells": len(rows),
        "flipped": _mean((row.margin_ab > 0) != (row.margin_ba > 0) for row in rows),
        "first_place": _mean(first_choices),
    }
    if truth is None:
        return order
    dimensions = {principle.id: principle.dimension for principle in principles}
    groups: dict[str, list[Cell]] = {}
    for row in rows:
        better = better_response(row, dimensions.get(row.principle), truth)
        if better:
            groups.setdefault(row.principle, []).append((row, better))
    return order | _accuracies(groups)


def better_response(row: Judgement, dimension: str | None, truth: GroundTruth) -> int | None:
    """Which of two responses the ground truth prefers.

    Returns:
        +1 for a: only b violates the dimension. -1 for b: only a does. 0 if both or neither do, and
        None if the ground truth does not know the dimension.
    """
    request = request_text(row.prompt)
    a_violates = truth(request, row.response_a).violations.get(dimension or "")
    b_violates = truth(request, row.response_b).violations.get(dimension or "")
    if a_violates is None or b_violates is None:
        return None
    return int(bool(b_violates)) - int(bool(a_violates))


def _accuracies(groups: dict[str, list[Cell]]) -> dict[str, Any]:
    cells = [cell for group in groups.values() for cell in group]
    first = _mean(right(row.margin_ab, better) for row, better in cells)
    second = _mean(right(row.margin_ba, better) for row, better in cells)
    single = None
    if first is not None and second is not None:
        single = (first + second) / 2
    decided = [(better > 0, _margin(row) > 0) for row, better in cells if _margin(row)]
    principles = {}
    for name, group in groups.items():
        principles[name] = {"n": len(group), "accuracy": _accuracy(group)}
    return {
        "n": len(cells),
        "accuracy_ab": first,
        "accuracy_ba": second,
        "accuracy_single": single,
        "accuracy": _accuracy(cells),
        "kappa": kappa(decided),
        "principles": principles,
    }


def _accuracy(cells: Sequence[Cell]) -> float | None:
    """How often the choice of both orders together is right."""
    return _mean(right(_margin(row), better) for row, better in cells)


def _margin(row: Judgement) -> float:
    """Both orders' margins together; its sign is the judge's choice."""
    return row.margin_ab + row.margin_ba


def right(difference: float, better: int = 1) -> float:
    """1 if a difference in score has the sign of `better`, 0 if not, and 0.5 for a tie."""
    return 0.5 if difference == 0 else float((difference > 0) == (better > 0))


def _mean(values: Iterable[float]) -> float | None:
    numbers = [float(value) for value in values]
    return fmean(numbers) if numbers else None
