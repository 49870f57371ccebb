"""How far the judge can be trusted: its verdicts and its choices against ground truth.

Arithmetic only. In: Verdict rows with the ground truth's view and the judge's, or the judge matrix
with a ground-truth function. Out: plain dicts,

    verdicts   {n, accuracy, kappa, missed, false_alarms, principles: {id: {n, accuracy, kappa}}}
    pairs      {cells, flipped, first_place, n, accuracy_ab, accuracy_ba, accuracy_single, accuracy,
               kappa, principles: {id: {n, accuracy}}}

`flipped` is the fraction of cells whose verdict turns with the order, `first_place` the fraction of
picks that fell on the response shown first (Shi et al. 2024, arXiv 2406.07791: position consistency
and preference fairness). The ground truth has a preference for a pair where exactly one response
violates the principle's dimension; only these `n` cells enter the accuracies. `accuracy` averages
both orders' margins, `accuracy_single` is the mean of the two orders alone.

Left out: intervals. Cells of one pair are not independent, and these numbers are a check, not a
result.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from stages.principles.constitution import Principle
from stages.runtime.rows import Judgement, Verdict, request_text
from stages.statistics.agreement import kappa


@dataclass(frozen=True)
class VerdictCell:
    """One response under one principle: whether it is a violation."""

    principle: str
    truth: bool
    judge: bool


@dataclass(frozen=True)
class PreferenceCell:
    """One judged pair on which the ground truth has a preference."""

    row: Judgement
    a_is_better: bool

    @property
    def margin(self) -> float:
        """Both orders' margins together; its sign is the judge's choice."""
        return self.row.margin_ab + self.row.margin_ba

    @property
    def right(self) -> float:
        """Whether that choice is right."""
        return _right(self.margin, self.a_is_better)


def verdict_agreement(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """The judge's Yes or No against the ground truth.

    Returns:
        `missed` is a fraction of the violations, `false_alarms` one of the non-violations.
    """
    cells = _verdict_cells(verdicts)
    names = dict.fromkeys(cell.principle for cell in cells)
    principles = {}
    for name in names:
        principles[name] = _agreement([cell for cell in cells if cell.principle == name])
    return {
        **_agreement(cells),
        "missed": _mean(not cell.judge for cell in cells if cell.truth),
        "false_alarms": _mean(cell.judge for cell in cells if not cell.truth),
        "principles": principles,
    }


def _verdict_cells(verdicts: Sequence[Verdict]) -> list[VerdictCell]:
    cells = []
    for row in verdicts:
        if not (row.violated and row.judged):
            continue
        columns = zip(row.principles, row.violated, row.judged, strict=True)
        for principle, truth, probability in columns:
            if truth is not None:
                cells.append(VerdictCell(principle, truth, probability > 0.5))
    return cells


def _agreement(cells: Sequence[VerdictCell]) -> dict[str, Any]:
    return {
        "n": len(cells),
        "accuracy": _mean(cell.truth == cell.judge for cell in cells),
        "kappa": kappa([(cell.truth, cell.judge) for cell in cells]),
    }


def pair_agreement(
    rows: Sequence[Judgement],
    principles: Sequence[Principle],
    truth: Callable[[str, str], Any] | None,
) -> dict[str, Any]:
    """The judge matrix against itself (order) and, if there is a ground truth, against that."""
    picks_first = []
    for row in rows:
        picks_first += [row.margin_ab > 0, row.margin_ba < 0]
    order = {
        "cells": len(rows),
        "flipped": _mean((row.margin_ab > 0) != (row.margin_ba > 0) for row in rows),
        "first_place": _mean(picks_first),
    }
    if truth is None:
        return order
    return order | _accuracies(_preference_cells(rows, principles, truth))


def _preference_cells(
    rows: Sequence[Judgement],
    principles: Sequence[Principle],
    truth: Callable[[str, str], Any],
) -> list[PreferenceCell]:
    dimensions = {principle.id: principle.dimension for principle in principles}
    cells = []
    for row in rows:
        request = request_text(row.prompt)
        dimension = dimensions.get(row.principle)
        a_violates = truth(request, row.response_a).violations.get(dimension)
        b_violates = truth(request, row.response_b).violations.get(dimension)
        is_known = a_violates is not None and b_violates is not None
        if is_known and a_violates != b_violates:
            cells.append(PreferenceCell(row, a_is_better=b_violates))
    return cells


def _accuracies(cells: Sequence[PreferenceCell]) -> dict[str, Any]:
    first = _mean(_right(cell.row.margin_ab, cell.a_is_better) for cell in cells)
    second = _mean(_right(cell.row.margin_ba, cell.a_is_better) for cell in cells)
    single = None
    if first is not None and second is not None:
        single = (first + second) / 2
    decided = [cell for cell in cells if cell.margin != 0]
    principles = {}
    for name in dict.fromkeys(cell.row.principle for cell in cells):
        group = [cell for cell in cells if cell.row.principle == name]
        principles[name] = {"n": len(group), "accuracy": _mean(cell.right for cell in group)}
    return {
        "n": len(cells),
        "accuracy_ab": first,
        "accuracy_ba": second,
        "accuracy_single": single,
        "accuracy": _mean(cell.right for cell in cells),
        "kappa": kappa([(cell.a_is_better, cell.margin > 0) for cell in decided]),
        "principles": principles,
    }


def _right(margin: float, a_is_better: bool) -> float:
    return 0.5 if margin == 0 else float((margin > 0) == a_is_better)


def _mean(values: Iterable[float]) -> float | None:
    numbers = [float(value) for value in values]
    return fmean(numbers) if numbers else None
