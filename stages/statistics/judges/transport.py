"""Do a judge's values mean the same on another policy? Tests of the mean residual.

Labels of one policy, the reference, say what people say where the judge gave a value. Where few
labels exist on another policy, their mean difference from that shows whether the judge errs there
in another way: it may be fooled by this policy, or too strict with it.

    carried(reference, target)         residual = people's value - what the reference's labels lead
                                       to expect at the judge's value (isotonic; Barlow 1972)
    carried_errors(reference, target)  residual = the judge's value - what the reference's hits and
                                       false alarms lead to expect at people's value

The first is for scores and holds where policies differ in what they write but not in how often
the judge's value is right. The second is for a yes or no, and holds also where one policy breaks a
principle more often than the other: it tests what `misclassification` assumes. Intervals are by a
bootstrap over prompts that draws both policies' prompts anew.

Left out: a test that finds errors which cancel in the mean.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from stages.statistics.judges.gold_labels import FEWEST_LABELS, Labelled, values_of

Table = Any
"""An array with a row for each label: the judge's value, people's, the weight."""


@dataclass(frozen=True)
class Residual:
    """The mean residual on the target, and whether it is 0."""

    value: float
    low: float
    high: float
    labels: int
    carries: bool
    """False: the interval excludes 0, so the reference's labels say nothing of this policy."""

    def plain(self) -> dict[str, Any]:
        return vars(self).copy()


def carried(
    reference: Labelled,
    target: Labelled,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Residual | None:
    """Test scores; None where either policy has fewer than `FEWEST_LABELS` labels."""
    return _test(
        reference,
        target,
        _score_residual,
        confidence,
        resamples,
        seed,
    )


def carried_errors(
    reference: Labelled,
    target: Labelled,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Residual | None:
    """Test a yes or no; None as above, and where the reference's labels are all of one kind."""
    return _test(
        reference,
        target,
        _error_residual,
        confidence,
        resamples,
        seed,
    )


def calibrate(judged: Any, gold: Any, weights: Any) -> Callable[[Any], Any]:
    """Return the rising function of the judge's value that is closest to people's.

    Between the judge's values it is a straight line.
    """
    import numpy as np
    from scipy.optimize import isotonic_regression

    values, places = np.unique(judged, return_inverse=True)
    totals = np.bincount(places, weights)
    means = np.bincount(places, weights * gold) / totals
    rising = isotonic_regression(means, weights=totals).x
    return lambda wanted: np.interp(
        wanted,
        values,
        rising,
    )


def _score_residual(reference: Table, target: Table) -> float | None:
    expected = calibrate(*reference.T)
    judged, gold, weights = target.T
    return _mean(gold - expected(judged), weights)


def _error_residual(reference: Table, target: Table) -> float | None:
    judged, gold, weights = reference.T
    hits = _mean(judged, weights * gold)
    false_alarms = _mean(judged, weights * (1 - gold))
    if hits is None or false_alarms is None:
        return None
    judged, gold, weights = target.T
    return _mean(judged - hits * gold - false_alarms * (1 - gold), weights)


def _mean(values: Any, weights: Any) -> float | None:
    total = float(weights.sum())
    return float((values * weights).sum()) / total if total else None


def _test(
    reference: Labelled,
    target: Labelled,
    residual: Callable[[Table, Table], float | None],
    confidence: float,
    resamples: int,
    seed: int,
) -> Residual | None:
    import numpy as np

    if min(len(reference.labels), len(target.labels)) < FEWEST_LABELS:
        return None
    tables = [_table(reference), _table(target)]
    value = residual(*tables)
    if value is None:
        return None
    prompts = list(dict.fromkeys([*reference.labels, *target.labels]))
    places = [_places(reference, prompts), _places(target, prompts)]
    generator = np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples):
        draw = generator.integers(
            0,
            len(prompts),
            len(prompts),
        )
        resampled = [
            _take(
                table,
                of,
                draw,
            )
            for table, of in zip(
                tables,
                places,
                strict=True,
            )
        ]
        if all(len(table) for table in resampled):
            drawn.append(residual(*resampled))
    tail = (1 - confidence) / 2
    usable = [one for one in drawn if one is not None]
    low, high = (float(np.quantile(usable, edge)) for edge in (tail, 1 - tail))
    return Residual(
        value,
        low,
        high,
        len(target.labels),
        low <= 0 <= high,
    )


def _table(policy: Labelled) -> Table:
    import numpy as np

    labels = policy.labels
    columns = [values_of(policy.judged, labels), values_of(policy.gold, labels)]
    weights = np.asarray([policy.weights.get(prompt, 1.0) for prompt in labels])
    return np.column_stack([*columns, weights])


def _places(policy: Labelled, prompts: Sequence[str]) -> Any:
    """By prompt, the row of its label; -1 without one."""
    import numpy as np

    rows = {prompt: row for row, prompt in enumerate(policy.labels)}
    return np.asarray([rows.get(prompt, -1) for prompt in prompts])


def _take(table: Table, places: Any, draw: Any) -> Table:
    rows = places[draw]
    return table[rows[rows >= 0]]
