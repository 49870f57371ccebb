"""The tables of `reward_accuracy`: every test, and every principle and its opposite.

In: its metrics. Out: tables in per cent and percentage points.
"""

from typing import Any

from stages.runtime.artifacts import Table
from stages.statistics.formatting import (
    NO_VALUE,
    format_confidence,
    format_estimate,
    format_percent,
)


def reward_tables(metrics: dict[str, Any]) -> list[Table]:
    """The tests, every model beside the first, and below them the principles."""
    tables = [_test_table(metrics)]
    first = next(iter(metrics["models"].values()))
    if first["principles"]:
        tables.append(_principle_table(metrics))
    return tables


def _test_table(metrics: dict[str, Any]) -> Table:
    names = list(metrics["models"])
    models = list(metrics["models"].values())
    others = names[1:]
    rows = []
    for test, estimate in models[0]["tests"].items():
        shares = [format_estimate(model["tests"][test], bound_places=0) for model in models]
        changes = [_change(metrics["differences"][other][test]) for other in others]
        rows.append([test, *shares, *changes, str(estimate["n"])])
    means = [model["mean_of_sections"] for model in models]
    if means[0] is not None:
        shares = [format_percent(mean) for mean in means]
        empty = [""] * (len(others) + 1)
        rows.append(["mean of the sections", *shares, *empty])
    differences = [f"{names[0]} less {other}" for other in others]
    intervals = f"{format_confidence(metrics['confidence'])} intervals"
    return Table(
        f"Reward models: share of right preferences, per cent (by {metrics['truth']}; {intervals})",
        ["test", *names, *differences, "prompts"],
        rows,
    )


def _principle_table(metrics: dict[str, Any]) -> Table:
    models = list(metrics["models"].values())
    rows = []
    for principle, estimates in models[0]["principles"].items():
        mark = " (held out)" if principle in metrics["held_out"] else ""
        shares = [_plain_and_negated(model["principles"][principle]) for model in models]
        rows.append([principle + mark, *shares, str(estimates["plain"]["n"])])
    return Table(
        "Under each principle / under its opposite, per cent",
        ["principle", *metrics["models"], "prompts"],
        rows,
    )


def _plain_and_negated(estimates: dict[str, Any]) -> str:
    return f"{_whole_percent(estimates['plain'])} / {_whole_percent(estimates['negated'])}"


def _whole_percent(estimate: dict[str, Any] | None) -> str:
    return NO_VALUE if estimate is None else format_percent(estimate["value"], 0)


def _change(difference: dict[str, Any] | None) -> str:
    return format_estimate(difference, bound_places=0, sign="+")
