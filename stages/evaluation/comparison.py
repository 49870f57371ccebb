"""Several models on the same items, by group: estimates, paired differences, and a table of both.
Arithmetic only.

In: a value for each model, group and item. Out: a nested dict,

    confidence   of every interval
    models       {model: {group: {value, low, high, n}}}
    differences  {model: {group: difference against the first model}}

A group that holds shares (values in [0, 1]) gets Wilson's interval and the paired difference of
`statistics`, with McNemar's p where they are plain yes and no. Other values get bootstrap
intervals. Groups overlap: `ALL` holds every item.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from stages.runtime.artifacts import Table
from stages.statistics.intervals import by_prompt, mean_interval, paired_difference, share

ALL = "all"
Groups = dict[str, dict[str, float]]  # group, item


def grouped(values: Iterable[tuple[str, str, float | None]]) -> Groups:
    """From (group, item, value) to the values by group, `ALL` first; several values of an item are
    averaged.
    """
    rows = list(values)
    names = sorted({group for group, _, _ in rows if group})
    found = {ALL: by_prompt((item, value) for _, item, value in rows)}
    return found | {
        name: by_prompt((item, value) for group, item, value in rows if group == name)
        for name in names
    }


def compare(
    values: Mapping[str, Groups], resamples: int, confidence: float, seed: int
) -> dict[str, Any]:
    """All the metrics above; the first model is what the others are compared with."""
    names = list(values)
    groups = list(dict.fromkeys(group for name in names for group in values[name]))
    if len(groups) == 2 and ALL in groups:  # the one other group is all there is
        groups = [ALL]
    shares = {
        group: all(0 <= v <= 1 for name in names for v in values[name].get(group, {}).values())
        for group in groups
    }

    def estimate(name: str, group: str) -> dict[str, Any] | None:
        found = values[name].get(group, {})
        known = (
            share(found, confidence)
            if shares[group]
            else mean_interval(list(found.values()), resamples, confidence, seed)
        )
        return known.plain() if known else None

    def difference(name: str, group: str) -> dict[str, Any] | None:
        before, after = values[names[0]].get(group, {}), values[name].get(group, {})
        if shares[group]:
            return paired_difference(before, after, resamples, confidence, seed)
        known = mean_interval(
            [after[i] - before[i] for i in before if i in after], resamples, confidence, seed
        )
        return known.plain() if known else None

    return {
        "confidence": confidence,
        "models": {name: {group: estimate(name, group) for group in groups} for name in names},
        "differences": {
            name: {group: difference(name, group) for group in groups} for name in names[1:]
        },
    }


def comparison_table(title: str, metrics: Mapping[str, Any], column: str = "group") -> Table:
    """A row for each group: every model, and every later model less the first."""
    names = list(metrics["models"])
    first = metrics["models"][names[0]]
    rows = []
    for group in first:
        found = [metrics["models"][name][group] for name in names]
        percent = all(e is None or (e["low"] >= 0 and e["high"] <= 1) for e in found)
        changes = [metrics["differences"][name][group] for name in names[1:]]
        sizes = "/".join(dict.fromkeys(str(e["n"]) if e else "0" for e in found))
        rows.append(
            [
                group,
                *(shown(e, percent) for e in found),
                *(shown(c, percent, "+") for c in changes),
                sizes,
            ]
        )
    versus = [f"{name} less {names[0]}" for name in names[1:]]
    told = f"{title}; shares in per cent, {100 * metrics['confidence']:.0f} % intervals"
    return Table(told, [column, *names, *versus, "n"], rows)


def shown(estimate: Mapping[str, Any] | None, percent: bool = True, sign: str = "") -> str:
    """`58.2 [54.0,62.3]`, a share in per cent; a dash where nobody looked."""
    if estimate is None:
        return "-"
    places, factor = (1, 100) if percent else (3, 1)
    value, low, high = (
        f"{factor * estimate[key]:{sign}.{places}f}" for key in ("value", "low", "high")
    )
    return f"{value} [{low},{high}]"
