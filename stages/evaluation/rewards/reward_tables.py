"""The tables of `reward_accuracy`: every test, and every principle under itself and under its
opposite.

In: its metrics. Out: tables of per cents and points.
"""

from typing import Any

from stages.runtime.artifacts import Table


def reward_tables(metrics: dict[str, Any]) -> list[Table]:
    """The tests, every model beside the first, and below them the principles."""
    names = list(metrics["models"])
    first = names[0]
    rows = []
    for test, estimate in metrics["models"][first]["tests"].items():
        shown = [_percent(metrics["models"][name]["tests"][test]) for name in names]
        changes = [_points(metrics["differences"][other][test]) for other in names[1:]]
        rows.append([test, *shown, *changes, str(estimate["n"])])
    means = [metrics["models"][name]["mean_of_sections"] for name in names]
    if means[0] is not None:
        rows.append(
            [
                "mean of the sections",
                *(f"{100 * m:.1f}" for m in means),
                *("" for _ in names[1:]),
                "",
            ]
        )
    versus = [f"{first} less {other}" for other in names[1:]]
    told = f"by {metrics['truth']}; {100 * metrics['confidence']:.0f} % intervals"
    tables = [
        Table(
            f"Reward models: share of right preferences, per cent ({told})",
            ["test", *names, *versus, "prompts"],
            rows,
        )
    ]
    principles = metrics["models"][first]["principles"]
    if principles:
        by_principle = []
        for principle, found in principles.items():
            mark = " (held out)" if principle in metrics["held_out"] else ""
            shown = [
                f"{_short(metrics['models'][name]['principles'][principle]['plain'])} / "
                f"{_short(metrics['models'][name]['principles'][principle]['negated'])}"
                for name in names
            ]
            by_principle.append([principle + mark, *shown, str(found["plain"]["n"])])
        tables.append(
            Table(
                "Under each principle / under its opposite, per cent",
                ["principle", *names, "prompts"],
                by_principle,
            )
        )
    return tables


def _short(estimate: dict[str, Any] | None) -> str:
    return "-" if estimate is None else f"{100 * estimate['value']:.0f}"


def _percent(estimate: dict[str, Any] | None) -> str:
    if estimate is None:
        return "-"
    return (
        f"{100 * estimate['value']:.1f} [{100 * estimate['low']:.0f},{100 * estimate['high']:.0f}]"
    )


def _points(difference: dict[str, Any] | None) -> str:
    if difference is None:
        return "-"
    return f"{100 * difference['value']:+.1f} [{100 * difference['low']:+.0f},{100 * difference['high']:+.0f}]"
