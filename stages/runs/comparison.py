"""Two runs side by side: what their configs differ in, which steps they share, their numbers.

The numbers are those that the runs recorded, each with its own interval. Paired effects, with
intervals of the difference and power, are `python -m stages.compare`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stages.runs.headline import numbers
from stages.runs.records import RunRecord
from stages.statistics.formatting import NO_VALUE, PER_CENT

MACHINE = ("runs_dir", "store", "plan", "until", "budget", "budget_tokens", "machine", "launcher")
"""Sections of the config that say how a run was made, and not what."""
WORDS = " words"
"""How the names of numbers end that are no shares."""


@dataclass(frozen=True)
class RunComparison:
    """How two runs differ."""

    config: list[tuple[str, str, str]]
    """(key, first, second) of every key with two values; `-` where a run lacks it."""
    shared: list[str]
    """Steps with the same artifact in both."""
    steps: int
    """Steps of either."""
    numbers: list[tuple[str, str, str]]
    """(name, first, second)."""


def compare_runs(
    first: RunRecord,
    second: RunRecord,
) -> RunComparison:
    """Compare two runs by what they recorded."""
    before, after = flatten(first.config), flatten(second.config)
    config = []
    for key in sorted({*before, *after}):
        if key.partition(".")[0] not in MACHINE and before.get(key) != after.get(key):
            old, new = (side.get(key, NO_VALUE) for side in (before, after))
            config.append((key, old, new))
    every = {*first.steps, *second.steps}
    shared = []
    for name in first.steps:
        if name in second.steps and first.steps[name].name == second.steps[name].name:
            shared.append(name)
    old_numbers, new_numbers = numbers(first), numbers(second)
    rows = []
    for name in [*old_numbers, *(name for name in new_numbers if name not in old_numbers)]:
        sides = (old_numbers.get(name), new_numbers.get(name))
        rows.append((name, *(format_number_of(name, side) for side in sides)))
    return RunComparison(
        config,
        shared,
        len(every),
        [(a, b, c) for a, b, c in rows],
    )


def format_number_of(
    name: str,
    estimate: Mapping[str, Any] | None,
) -> str:
    """An estimate for the terminal: shares in per cent, with the interval if there is one."""
    if estimate is None or estimate["value"] is None:
        return NO_VALUE
    factor, places = (1.0, 1) if name.endswith(WORDS) else (PER_CENT, 1)
    low, high = estimate.get("low"), estimate.get("high")
    text = f"{factor * estimate['value']:.{places}f}"
    if low is None or high is None:
        return text
    return f"{text} [{factor * low:.{places}f},{factor * high:.{places}f}]"


def flatten(value: Any) -> dict[str, str]:
    """Return a config as dotted keys and values in a line; a pipeline's steps by their names."""
    return dict(_walk(value, ""))


def _walk(
    value: Any,
    path: str,
) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _walk(inner, f"{path}.{key}" if path else str(key))
    elif path:
        yield path, "null" if value is None else str(value)
