"""The table of `compare_optimisers`: a row for each policy. In: its metrics."""

from collections.abc import Mapping
from typing import Any

from stages.runtime.artifacts import Table
from stages.statistics.formatting import (
    NO_VALUE,
    PER_CENT,
    format_confidence,
    format_number,
    format_percent,
)

COLUMNS = ("reward", "gain", "violations, %", "change", "KL, nats", "words", "seconds", "prompts")


def optimiser_table(policies: Mapping[str, Mapping[str, Any]], confidence: float) -> Table:
    """What each policy gained and what it cost, beside the first."""
    rows = []
    for name, facts in policies.items():
        row = [
            name,
            _plain_number(facts["reward"], places=2),
            _interval(facts["gain"], factor=1, places=2),
            format_percent(_value(facts["violations"]), missing=NO_VALUE),
            _interval(facts["change"], factor=PER_CENT, places=1),
            _plain_number(_value(facts["kl"]), places=2),
            _plain_number(facts["words"], places=1),
            _plain_number(facts["seconds"], places=0),
            str(facts["n"]),
        ]
        rows.append(row)
    title = f"What each optimiser gained and cost ({format_confidence(confidence)} intervals)"
    return Table(title, ["policy", *COLUMNS], rows)


def _value(estimate: Mapping[str, Any] | None) -> float | None:
    return estimate["value"] if estimate else None


def _plain_number(value: float | None, places: int) -> str:
    return NO_VALUE if value is None else f"{value:.{places}f}"


def _interval(estimate: Mapping[str, Any] | None, factor: float, places: int) -> str:
    """`+0.31 [+0.20, +0.42]`."""
    if estimate is None:
        return NO_VALUE
    value = format_number(factor * estimate["value"], places, "+")
    low = format_number(factor * estimate["low"], places, "+")
    high = format_number(factor * estimate["high"], places, "+")
    return f"{value} [{low}, {high}]"
