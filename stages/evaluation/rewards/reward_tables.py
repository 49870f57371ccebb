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
    """Every test: each model's share, and the first model's lead over each other one."""
    first, *others = metrics["models"]
    models = list(metrics["models"].values())
    rows = []
    for test, estimate in models[0]["tests"].items():
        row = [test]
        for model in models:
            row.append(format_estimate(model["tests"][test], bound_places=0))
        for other in others:
            row.append(_change(metrics["differences"][other][test]))
        row.append(str(estimate["n"]))
        rows.append(row)
    means = [model["mean_of_sections"] for model in models]
    if means[0] is not None:
        row = ["mean of the sections"]
        row += [format_percent(mean) for mean in means]
        row += [""] * (len(others) + 1)
        rows.append(row)
    differences = [f"{first} less {other}" for other in others]
    confidence = format_confidence(metrics["confidence"])
    by = f"by {metrics['truth']}; {confidence} intervals"
    return Table(
        f"Reward models: share of right preferences, per cent ({by})",
        ["test", *metrics["models"], *differences, "prompts"],
        rows,
    )


def _principle_table(metrics: dict[str, Any]) -> Table:
    """Every principle: each model's share under it and under its opposite."""
    models = list(metrics["models"].values())
    rows = []
    for principle, estimates in models[0]["principles"].items():
        name = principle
        if principle in metrics["held_out"]:
            name += " (held out)"
        row = [name]
        for model in models:
            row.append(_plain_and_negated(model["principles"][principle]))
        row.append(str(estimates["plain"]["n"]))
        rows.append(row)
    return Table(
        "Under each principle / under its opposite, per cent",
        ["principle", *metrics["models"], "prompts"],
        rows,
    )


def _plain_and_negated(estimates: dict[str, Any]) -> str:
    plain = _whole_percent(estimates["plain"])
    negated = _whole_percent(estimates["negated"])
    return f"{plain} / {negated}"


def _whole_percent(estimate: dict[str, Any] | None) -> str:
    if estimate is None:
        return NO_VALUE
    return format_percent(estimate["value"], 0)


def _change(difference: dict[str, Any] | None) -> str:
    return format_estimate(difference, bound_places=0, sign="+")
