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
from typing import Annotated, Any

from pydantic import Field

from stages.runtime.manifest import Table
from stages.runtime.typed_config import Inside
from stages.statistics.formatting import PER_CENT, format_confidence, format_estimate
from stages.statistics.intervals import Intervals, by_prompt

ALL = "all"
Estimate = dict[str, Any]
"""{value, low, high, n}, and further keys of a difference."""
Groups = dict[str, dict[str, float]]
"""Values by group and item."""
Estimates = Mapping[str, Mapping[str, Estimate | None]]
"""By model and group."""


@dataclass(frozen=True, kw_only=True)
class IntervalOptions:
    """The options of a stage whose results have intervals."""

    resamples: Annotated[int, Field(ge=100, le=1_000_000)] = 2000
    """Draws of the bootstrap."""
    confidence: Inside = 0.95
    """The confidence of every interval."""

    def intervals(self, seed: int) -> Intervals:
        return Intervals(self.resamples, self.confidence, seed)


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
    values: Mapping[str, Groups], intervals: Intervals, may_be_shares: bool = True
) -> dict[str, Any]:
    """All the metrics above; the first model is the baseline.

    Args:
        may_be_shares: values that all lie in [0, 1] are shares.
    """
    baseline = next(iter(values.values()))
    groups = _group_names(list(values.values()))
    are_shares = {}
    for group in groups:
        are_shares[group] = may_be_shares and all(
            _hold_shares(model.get(group, {})) for model in values.values()
        )
    models: dict[str, Any] = {}
    differences: dict[str, Any] = {}
    for name, model in values.items():
        models[name] = {}
        for group in groups:
            values_of_group = model.get(group, {})
            models[name][group] = intervals.estimate(values_of_group, are_shares[group])
        if model is baseline:
            continue
        differences[name] = {}
        for group in groups:
            differences[name][group] = intervals.difference(
                baseline.get(group, {}),
                model.get(group, {}),
                are_shares[group],
            )
    return {
        "confidence": intervals.confidence,
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


def comparison_table(
    title: str, metrics: Mapping[str, Any], column: str = "group", **style: Any
) -> Table:
    """A row for each group: every model, and every later model minus the first.

    Args:
        style: how `format_estimate` writes all of them; without it, shares in per cent.
    """
    first, *others = metrics["models"]
    columns = [column, *metrics["models"], *(f"{other} less {first}" for other in others), "n"]
    rows = estimate_rows(metrics["models"], metrics["differences"], **style)
    confidence = format_confidence(metrics["confidence"])
    unit = "" if style else "shares in per cent, "
    return Table(
        f"{title}; {unit}{confidence} intervals",
        columns,
        rows,
    )


def estimate_rows(models: Estimates, differences: Estimates, **style: Any) -> list[list[str]]:
    """The rows of a table that compares models, one for each group of the first model.

    A row holds the group's name, each model's estimate, each later model's difference, and `n`:
    one number, or several with slashes where the models differ in it.

    Args:
        models: a model may lack a group that the first one has.
        style: how `format_estimate` writes them; without it, shares in per cent.
    """
    rows = []
    for group in next(iter(models.values())):
        estimates = [model[group] for model in models.values() if group in model]
        options = style or _style(estimates)
        row = [group]
        for model in models.values():
            row.append(format_estimate(model.get(group), **options))
        for changes in differences.values():
            row.append(format_estimate(changes.get(group), **options, sign="+"))
        sizes = dict.fromkeys(str(estimate["n"]) if estimate else "0" for estimate in estimates)
        rows.append([*row, "/".join(sizes)])
    return rows


def _style(estimates: Sequence[Estimate | None]) -> dict[str, Any]:
    """Shares are in per cent, other numbers have three decimals."""
    for estimate in estimates:
        if estimate and not (estimate["low"] >= 0 and estimate["high"] <= 1):
            return {"factor": 1, "places": 3}
    return {"factor": PER_CENT, "places": 1}
