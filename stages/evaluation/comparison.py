"""Several models on the same items, by group: estimates, paired differences, and a table of both.

Arithmetic only. In: a value for each model, group and item. Out: a nested dict,

    confidence   of every interval
    models       {model: {group: {value, low, high, n}}}
    differences  {model: {group: difference against the first model}}

A group that holds shares (values in [0, 1]) gets Wilson's interval and the paired difference of
`statistics`, with McNemar's p where they are plain yes and no. Other values get bootstrap
intervals. Groups overlap: `ALL` holds every item.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.runtime.artifacts import Table
from stages.statistics.formatting import PER_CENT, format_confidence, format_estimate
from stages.statistics.intervals import by_prompt, mean_interval, paired_difference, share

ALL = "all"
Groups = dict[str, dict[str, float]]
"""Values by group and item."""


@dataclass(frozen=True)
class Intervals:
    """How intervals are computed."""

    resamples: int
    confidence: float
    seed: int

    def estimate(self, values: Mapping[str, float], are_shares: bool) -> dict[str, Any] | None:
        """The mean of one group; None without values."""
        if are_shares:
            estimate = share(values, self.confidence)
        else:
            estimate = mean_interval(
                list(values.values()),
                self.resamples,
                self.confidence,
                self.seed,
            )
        return estimate.plain() if estimate else None

    def difference(
        self, before: Mapping[str, float], after: Mapping[str, float], are_shares: bool
    ) -> dict[str, Any] | None:
        """The mean of `after` less `before` over common items; None without one."""
        if are_shares:
            return paired_difference(
                before,
                after,
                self.resamples,
                self.confidence,
                self.seed,
            )
        changes = {item: after[item] - before[item] for item in before if item in after}
        return self.estimate(changes, are_shares=False)


def grouped(values: Iterable[tuple[str, str, float | None]]) -> Groups:
    """The values by group, `ALL` first; several values of an item are averaged.

    Args:
        values: (group, item, value); an item without a group is in `ALL` only.
    """
    everything: list[tuple[str, float | None]] = []
    by_group: dict[str, list[tuple[str, float | None]]] = {}
    for group, item, value in values:
        everything.append((item, value))
        if group:
            by_group.setdefault(group, []).append((item, value))
    groups = {ALL: by_prompt(everything)}
    for group in sorted(by_group):
        groups[group] = by_prompt(by_group[group])
    return groups


def compare(
    values: Mapping[str, Groups], resamples: int, confidence: float, seed: int
) -> dict[str, Any]:
    """All the metrics above; the first model is what the others are compared with."""
    intervals = Intervals(resamples, confidence, seed)
    baseline = next(iter(values.values()))
    groups = _group_names(list(values.values()))
    are_shares = {}
    for group in groups:
        are_shares[group] = all(_hold_shares(model.get(group, {})) for model in values.values())
    models: dict[str, Any] = {}
    differences: dict[str, Any] = {}
    for index, (name, model) in enumerate(values.items()):
        models[name] = {}
        for group in groups:
            estimate = intervals.estimate(model.get(group, {}), are_shares[group])
            models[name][group] = estimate
        if index == 0:
            continue
        differences[name] = {}
        for group in groups:
            differences[name][group] = intervals.difference(
                baseline.get(group, {}),
                model.get(group, {}),
                are_shares[group],
            )
    return {
        "confidence": confidence,
        "models": models,
        "differences": differences,
    }


def _group_names(models: Sequence[Groups]) -> list[str]:
    names = list(dict.fromkeys(group for model in models for group in model))
    if len(names) == 2 and ALL in names:  # the other group would repeat it
        return [ALL]
    return names


def _hold_shares(values: Mapping[str, float]) -> bool:
    return all(0 <= value <= 1 for value in values.values())


def comparison_table(title: str, metrics: Mapping[str, Any], column: str = "group") -> Table:
    """A row for each group: every model, and every later model less the first."""
    models = metrics["models"]
    names = list(models)
    rows = []
    for group in models[names[0]]:
        estimates = [models[name][group] for name in names]
        changes = [metrics["differences"][name][group] for name in names[1:]]
        factor, places = (PER_CENT, 1) if all(map(_is_share, estimates)) else (1, 3)
        row = [group]
        for estimate in estimates:
            row.append(format_estimate(estimate, factor, places))
        for change in changes:
            row.append(format_estimate(change, factor, places, sign="+"))
        sizes = dict.fromkeys(_size(estimate) for estimate in estimates)
        row.append("/".join(sizes))
        rows.append(row)
    differences = [f"{name} less {names[0]}" for name in names[1:]]
    confidence = format_confidence(metrics["confidence"])
    return Table(
        f"{title}; shares in per cent, {confidence} intervals",
        [column, *names, *differences, "n"],
        rows,
    )


def _is_share(estimate: Mapping[str, Any] | None) -> bool:
    return estimate is None or (estimate["low"] >= 0 and estimate["high"] <= 1)


def _size(estimate: Mapping[str, Any] | None) -> str:
    return str(estimate["n"]) if estimate else "0"
