"""What lm_eval measured, with intervals, and models against each other. Arithmetic only.

In: lm_eval's results with its samples, and the task's aggregations. A metric's value is lm_eval's
own, and so is its
standard error. Intervals: Wilson's for the mean of yes and no, `stderr` times the normal quantile
for other means, and a percentile bootstrap over the questions for what is no mean (BBQ's bias
scores), for which lm_eval gives no error. Paired differences are those of `comparison.py`, or that
bootstrap over the questions of both.
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from stages.statistics.intervals import mean_interval, paired_difference, share


@dataclass(frozen=True)
class Measured:
    """One metric of one task: `values` by question; `aggregate` is None where it is their mean, or
    there are none.
    """

    value: float
    stderr: float | None
    n: int
    values: dict[str, Any]
    aggregate: Callable[[list[Any]], Any] | None


def read_results(
    results: Mapping[str, Any], tasks: Mapping[str, Any], wanted: Sequence[str]
) -> dict[str, Measured]:
    """By "task: metric"; metrics that are no number, such as those of categories that the data
    lack, are left out.
    """
    found = {}
    for task, told in results["results"].items():
        for key, value in told.items():
            metric, _, filtered = key.partition(",")
            if not filtered or metric.endswith("_stderr") or (wanted and metric not in wanted):
                continue
            if not _plain(value) or not math.isfinite(value):
                continue
            stderr = told.get(f"{metric}_stderr,{filtered}")
            known = isinstance(stderr, (int, float)) and math.isfinite(stderr)
            samples = [
                s
                for s in results.get("samples", {}).get(task, [])
                if s["filter"] == filtered and metric in s
            ]
            values = {str(s["doc_id"]): s[metric] for s in samples}
            name = f"{task}: {metric}" + ("" if filtered == "none" else f" ({filtered})")
            found[name] = Measured(
                float(value),
                float(stderr) if known else None,  # type: ignore[arg-type]
                len(values) or int(told.get("sample_len") or 0),
                values,
                _aggregate(tasks.get(task), metric, values),
            )
    return found


def _aggregate(
    task: Any, metric: str, values: Mapping[str, Any]
) -> Callable[[list[Any]], Any] | None:
    from lm_eval.api.metrics import mean

    chosen = task.aggregation().get(metric, mean) if task is not None else mean
    return None if chosen is mean and all(_plain(v) for v in values.values()) else chosen


def _plain(value: Any) -> bool:
    return isinstance(value, (int, float)) or (
        type(value).__module__ == "numpy" and getattr(value, "shape", None) == ()
    )


def estimate(measured: Measured, resamples: int, confidence: float, seed: int) -> dict[str, Any]:
    """{value, stderr, low, high, n}; low and high are None where nobody can tell."""
    low = high = None
    values = (
        {item: float(value) for item, value in measured.values.items()}
        if measured.aggregate is None
        else {}
    )
    if values and set(values.values()) <= {0.0, 1.0}:
        found = share(values, confidence)
        low, high = (found.low, found.high) if found else (None, None)
    elif measured.stderr is not None:
        half = NormalDist().inv_cdf((1 + confidence) / 2) * measured.stderr
        low, high = measured.value - half, measured.value + half
    elif measured.values:
        low, high = _bootstrap(
            list(measured.values), lambda drawn: _of(measured, drawn), resamples, confidence, seed
        )
    return {
        "value": measured.value,
        "stderr": measured.stderr,
        "low": low,
        "high": high,
        "n": measured.n,
    }


def difference(
    before: Measured, after: Measured, resamples: int, confidence: float, seed: int
) -> dict[str, Any] | None:
    """`after` less `before`, over the questions of both; None without samples, as for a group of
    tasks.
    """
    items = [item for item in before.values if item in after.values]
    if not items:
        return None
    if before.aggregate or after.aggregate:
        low, high = _bootstrap(
            items, lambda drawn: _of(after, drawn) - _of(before, drawn), resamples, confidence, seed
        )
        return {
            "value": _of(after, items) - _of(before, items),
            "low": low,
            "high": high,
            "n": len(items),
        }
    first, second = ({item: float(m.values[item]) for item in items} for m in (before, after))
    if all(0 <= v <= 1 for v in (*first.values(), *second.values())):
        return paired_difference(first, second, resamples, confidence, seed)
    found = mean_interval(
        [second[item] - first[item] for item in items], resamples, confidence, seed
    )
    return found.plain() if found else None


def _of(measured: Measured, items: Sequence[str]) -> float:
    values = [measured.values[item] for item in items]
    return float(measured.aggregate(values) if measured.aggregate else sum(values) / len(values))


def _bootstrap(
    items: Sequence[str],
    statistic: Callable[[Sequence[str]], float],
    resamples: int,
    confidence: float,
    seed: int,
) -> tuple[float | None, float | None]:
    """Percentile interval over questions. Draws in which the statistic does not exist are passed
    over.
    """
    import numpy as np

    draw = np.random.default_rng(seed)
    drawn = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an empty category
        for _ in range(resamples):
            value = statistic([items[i] for i in draw.integers(0, len(items), len(items))])
            if math.isfinite(value):
                drawn.append(value)
    if not drawn or min(drawn) == max(
        drawn
    ):  # a bootstrap that sees no spread would be sure of too much
        return None, None
    tail = (1 - confidence) / 2
    return float(np.quantile(drawn, tail)), float(np.quantile(drawn, 1 - tail))
