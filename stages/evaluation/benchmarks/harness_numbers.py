"""lm_eval's measurements with intervals, and the differences of models. Arithmetic only.

In: lm_eval's results with its samples, and the task's aggregations. A metric's value and its
standard error are lm_eval's own. Intervals: Wilson's for the mean of yes and no, `stderr` times
the normal quantile for other means, and a percentile bootstrap over the questions for what is not a
mean (BBQ's bias scores), for which lm_eval gives no error. Paired differences are those of
`comparison.py`, or that bootstrap over the questions of both.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from stages.statistics.intervals import Intervals

Aggregate = Callable[[list[Any]], Any]
Bounds = tuple[float | None, float | None]


@dataclass(frozen=True)
class Measured:
    """One metric of one task."""

    value: float
    stderr: float | None
    n: int
    values: dict[str, Any]
    """By question."""
    aggregate: Aggregate | None
    """None where the value is the mean of `values`, or there are none."""

    def over(self, items: Sequence[str]) -> float:
        """The metric over some of the questions."""
        values = [self.values[item] for item in items]
        if self.aggregate:
            return float(self.aggregate(values))
        return float(sum(values) / len(values))


def read_results(
    results: Mapping[str, Any], tasks: Mapping[str, Any], metric_names: Sequence[str]
) -> dict[str, Measured]:
    """Every metric by "task: metric".

    Metrics that are not a number, such as those of categories that the data lack, are left out.

    Args:
        metric_names: the metrics to keep; empty: all.
    """
    measured = {}
    for task, metrics in results["results"].items():
        samples = results.get("samples", {}).get(task, [])
        for key, value in metrics.items():
            metric, _, filter_name = key.partition(",")
            if not filter_name or metric.endswith("_stderr"):
                continue
            if metric_names and metric not in metric_names:
                continue
            if not _is_number(value) or not math.isfinite(value):
                continue
            values = {}
            for sample in samples:
                if sample["filter"] == filter_name and metric in sample:
                    values[str(sample["doc_id"])] = sample[metric]
            name = f"{task}: {metric}"
            if filter_name != "none":
                name += f" ({filter_name})"
            measured[name] = Measured(
                value=float(value),
                stderr=_finite(metrics.get(f"{metric}_stderr,{filter_name}")),
                n=len(values) or int(metrics.get("sample_len") or 0),
                values=values,
                aggregate=_aggregate(tasks.get(task), metric, values),
            )
    return measured


def _finite(value: Any) -> float | None:
    """A finite number; None for anything else, such as lm_eval's "N/A"."""
    if isinstance(value, (int, float)) and math.isfinite(value):
        return float(value)
    return None


def _aggregate(task: Any, metric: str, values: Mapping[str, Any]) -> Aggregate | None:
    from lm_eval.api.metrics import mean

    aggregate = mean
    if task is not None:
        aggregate = task.aggregation().get(metric, mean)
    if aggregate is mean and all(_is_number(value) for value in values.values()):
        return None
    return aggregate


def _is_number(value: Any) -> bool:
    if isinstance(value, (int, float)):
        return True
    return type(value).__module__ == "numpy" and getattr(value, "shape", None) == ()


def estimate(measured: Measured, intervals: Intervals) -> dict[str, Any]:
    """{value, stderr, low, high, n}; low and high are None if there is no interval."""
    low, high = _interval(measured, intervals)
    return {
        "value": measured.value,
        "stderr": measured.stderr,
        "low": low,
        "high": high,
        "n": measured.n,
    }


def _interval(measured: Measured, intervals: Intervals) -> Bounds:
    if measured.aggregate is None and set(measured.values.values()) <= {0.0, 1.0}:
        answers = {item: float(value) for item, value in measured.values.items()}
        wilson = intervals.estimate(answers)
        if wilson:
            return wilson["low"], wilson["high"]
    if measured.stderr is not None:
        half = NormalDist().inv_cdf((1 + intervals.confidence) / 2) * measured.stderr
        return measured.value - half, measured.value + half
    if not measured.values:
        return None, None
    return _bootstrap(list(measured.values), measured.over, intervals)


def difference(before: Measured, after: Measured, intervals: Intervals) -> dict[str, Any] | None:
    """`after` minus `before`, over the questions of both.

    Returns:
        None without samples, as for a group of tasks.
    """
    items = [item for item in before.values if item in after.values]
    if not items:
        return None
    if before.aggregate or after.aggregate:

        def change(questions: Sequence[str]) -> float:
            return after.over(questions) - before.over(questions)

        low, high = _bootstrap(items, change, intervals)
        return {"value": change(items), "low": low, "high": high, "n": len(items)}
    first = {item: float(before.values[item]) for item in items}
    second = {item: float(after.values[item]) for item in items}
    are_shares = all(0 <= value <= 1 for value in (*first.values(), *second.values()))
    return intervals.difference(first, second, are_shares)


def _bootstrap(
    items: Sequence[str], statistic: Callable[[Sequence[str]], float], intervals: Intervals
) -> Bounds:
    """Percentile interval over questions.

    If all draws agree, the interval would have no width, which is too certain: there is none.
    """
    statistics = intervals.resample(items, statistic)
    if not statistics or min(statistics) == max(statistics):
        return None, None
    return intervals.percentiles(statistics)
