"""How far the judge can be trusted: its verdicts and its choices against ground truth. Arithmetic
only.

In: Verdict rows with both views, or the judge matrix with a ground-truth function. Out: plain
dicts,

    verdicts   {n, accuracy, kappa, missed, false_alarms, principles: {id: {n, accuracy, kappa}}}
    pairs      {cells, flipped, first_place, n, accuracy_ab, accuracy_ba, accuracy_single, accuracy,
    kappa,
                principles: {id: {n, accuracy}}}

`flipped` is the share of cells whose verdict turns with the order, `first_place` the share of picks
that fell on the response shown first (Shi et al. 2024, arXiv 2406.07791: position consistency and
preference fairness). Truth has a preference for a pair where exactly one response violates the
principle's dimension; only these `n` cells enter the accuracies. `accuracy` averages both orders'
margins, `accuracy_single` is the mean of the two orders alone.

Left out: intervals. Cells of one pair are not independent, and these numbers are a check and no
result.
"""

from collections.abc import Callable, Iterable, Sequence
from statistics import fmean
from typing import Any

from stages.principles.constitution import Principle
from stages.runtime.rows import Judgement, Verdict, request_text
from stages.statistics.agreement import kappa


def verdict_agreement(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """The judge's Yes/No against the ground truth; `missed` and `false_alarms` are shares of the
    (non-)violations.
    """
    cells = [
        (principle, truth, p > 0.5)
        for v in verdicts
        if v.violated and v.judged
        for principle, truth, p in zip(v.principles, v.violated, v.judged, strict=True)
        if truth is not None
    ]
    bad, fine = (
        [said for _, truth, said in cells if truth],
        [said for _, truth, said in cells if not truth],
    )
    principles: dict[str, Any] = {}
    for name in dict.fromkeys(principle for principle, _, _ in cells):
        pairs = [(truth, said) for principle, truth, said in cells if principle == name]
        principles[name] = {
            "n": len(pairs),
            "accuracy": _mean(t == s for t, s in pairs),
            "kappa": kappa(pairs),
        }
    return {
        "n": len(cells),
        "accuracy": _mean(truth == said for _, truth, said in cells),
        "kappa": kappa([(truth, said) for _, truth, said in cells]),
        "missed": _mean(not said for said in bad),
        "false_alarms": _mean(said for said in fine),
        "principles": principles,
    }


def pair_agreement(
    rows: Sequence[Judgement],
    principles: Sequence[Principle],
    truth: Callable[[str, str], Any] | None,
) -> dict[str, Any]:
    """The judge matrix against itself (order) and, where there is a ground truth, against that."""
    found: dict[str, Any] = {
        "cells": len(rows),
        "flipped": _mean((r.margin_ab > 0) != (r.margin_ba > 0) for r in rows),
        "first_place": _mean(pick for r in rows for pick in (r.margin_ab > 0, r.margin_ba < 0)),
    }
    if truth is None:
        return found
    dimensions = {p.id: p.dimension for p in principles}
    told: list[tuple[Judgement, bool]] = []
    for row in rows:
        request, dimension = request_text(row.prompt), dimensions.get(row.principle)
        a, b = (
            truth(request, text).violations.get(dimension)
            for text in (row.response_a, row.response_b)
        )
        if a is not None and b is not None and a != b:
            told.append((row, b))  # a is the better one where b violates
    first = _mean(_right(r.margin_ab, up) for r, up in told)
    second = _mean(_right(r.margin_ba, up) for r, up in told)
    averaged = [(r.principle, r.margin_ab + r.margin_ba, up) for r, up in told]
    return found | {
        "n": len(told),
        "accuracy_ab": first,
        "accuracy_ba": second,
        "accuracy_single": None if first is None or second is None else (first + second) / 2,
        "accuracy": _mean(_right(margin, up) for _, margin, up in averaged),
        "kappa": kappa([(up, margin > 0) for _, margin, up in averaged if margin != 0]),
        "principles": {
            name: {
                "n": sum(p == name for p, _, _ in averaged),
                "accuracy": _mean(_right(margin, up) for p, margin, up in averaged if p == name),
            }
            for name in dict.fromkeys(p for p, _, _ in averaged)
        },
    }


def _right(margin: float, a_is_better: bool) -> float:
    return 0.5 if margin == 0 else float((margin > 0) == a_is_better)


def _mean(values: Iterable[float]) -> float | None:
    found = [float(value) for value in values]
    return fmean(found) if found else None
