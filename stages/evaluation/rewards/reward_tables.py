"""The tables of `reward_accuracy`: every test, and every principle and its opposite.

In: its metrics. Out: tables in per cent and percentage points.
"""

from typing import Any

from stages.evaluation.comparison import estimate_rows
from stages.evaluation.instrument.doubt import explain_mark, mark
from stages.evaluation.rewards.reward_metrics import doubt_about_test
from stages.runtime.manifest import Table
from stages.statistics.formatting import NO_VALUE, format_confidence, format_percent


def reward_tables(metrics: dict[str, Any]) -> list[Table]:
    """A table of the tests, and one of the principles if there are any."""
    tables = [_test_table(metrics)]
    first = next(iter(metrics["models"].values()))
    if first["principles"]:
        tables.append(_principle_table(metrics))
    return tables


def _test_table(metrics: dict[str, Any]) -> Table:
    """Every test: each model's share, and the first model's lead over each other one."""
    first, *others = metrics["models"]
    tests = {name: model["tests"] for name, model in metrics["models"].items()}
    rows = []
    doubts = []
    for test, *cells, size in estimate_rows(tests, metrics["differences"], bound_places=0):
        doubt = doubt_about_test(test, metrics)
        marked = [mark(cell, doubt) for cell in cells]
        rows.append([test, *marked, size])
        doubts.append(doubt)
    means = [model["mean_of_sections"] for model in metrics["models"].values()]
    if means[0] is not None:
        empty = [""] * (len(others) + 1)
        rows.append(["mean of the sections", *map(format_percent, means), *empty])
    differences = [f"{first} less {other}" for other in others]
    by = f"by {metrics['truth']}; {format_confidence(metrics['confidence'])} intervals"
    title = f"Reward models: share of right preferences, per cent ({by})"
    note = explain_mark(doubts)
    if note:
        title += f"; {note}"
    return Table(
        title,
        ["test", *metrics["models"], *differences, "prompts"],
        rows,
    )


def _principle_table(metrics: dict[str, Any]) -> Table:
    """Every principle: each model's share under it and under its opposite."""
    models = list(metrics["models"].values())
    doubt = metrics["doubts"]["cells"]
    rows = []
    for principle, estimates in models[0]["principles"].items():
        name = principle
        if principle in metrics["held_out"]:
            name += " (held out)"
        row = [name]
        for model in models:
            cell = _plain_and_negated(model["principles"][principle])
            row.append(mark(cell, doubt))
        row.append(str(estimates["plain"]["n"]))
        rows.append(row)
    title = "Under each principle / under its opposite, per cent"
    return Table(title, ["principle", *metrics["models"], "prompts"], rows)


def _plain_and_negated(estimates: dict[str, Any]) -> str:
    texts = []
    for estimate in (estimates["plain"], estimates["negated"]):
        texts.append(format_percent(estimate and estimate["value"], 0, NO_VALUE))
    return " / ".join(texts)
