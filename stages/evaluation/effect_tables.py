"""The two tables a run ends with, out of the metrics of `measures`. Shares in per cent, changes in
points.
"""

from typing import Any

from stages.evaluation.measures import before, foremost
from stages.runtime.artifacts import Table

COLUMNS = {
    "any_violation": "violations",
    "well_formed": "well-formed",
    "on_topic": "on-topic",
    "evasive": "evasive",
    "helpful_benign": "helpful",
}


def percent(estimate: dict[str, Any] | None, n: int | None = None) -> str:
    """`58.2`, with `(60)` where it rests on another number of prompts than `n`; a dash where nobody
    looked.
    """
    if estimate is None:
        return "-"
    return f"{100 * estimate['value']:.1f}" + (
        "" if n in (None, estimate["n"]) else f" ({estimate['n']})"
    )


def points(difference: dict[str, Any] | None) -> str:
    """`-32 [-37,-28]`: the change and its interval in percentage points; below one point with a
    decimal.
    """
    if difference is None:
        return "-"
    value, low, high = (_whole(100 * difference[key]) for key in ("value", "low", "high"))
    return f"{value} [{low},{high}]"


def _whole(points: float) -> str:
    return f"{points:+.0f}" if abs(points) >= 1 else f"{points:+.1f}"


def effect_table(metrics: dict[str, Any]) -> Table:
    """A row for each policy, and under it the change against the policy before."""
    names = list(metrics["policies"])
    rows = []
    for index, name in enumerate(names):
        facts = metrics["policies"][name]
        rows.append(
            [
                name,
                *(percent(facts["measures"][m], facts["prompts"]) for m in COLUMNS),
                str(facts["prompts"]),
            ]
        )
        if index:
            change = metrics["differences"][name][before(metrics, name)]["measures"]
            rows.append(["  change", *(points(change[m]) for m in COLUMNS), ""])
    by = (
        ""
        if metrics["measured_by"] == "truth"
        else " (violations as the judge sees them; no ground truth)"
    )
    title = f"Effect, per cent{by}; changes in points with {100 * metrics['confidence']:.0f} % intervals"
    return Table(title, ["policy", *COLUMNS.values(), "n"], rows)


def principle_table(metrics: dict[str, Any]) -> Table:
    """Violations of each principle: by truth / by the judge for each policy, and the last against
    the first.
    """
    names = list(metrics["policies"])
    last = foremost(metrics)
    rows = []
    for principle in metrics["policies"][names[0]]["principles"]:
        cells = [metrics["policies"][name]["principles"][principle] for name in names]
        shown = [
            " / ".join(percent(cell[w]) for w in ("truth", "judge") if cell[w]) or "-"
            for cell in cells
        ]
        change = (
            [points(metrics["differences"][last][names[0]]["principles"][principle])]
            if len(names) > 1
            else []
        )
        rows.append([principle, *shown, *change])
    views = {
        w
        for name in names
        for p in metrics["policies"][name]["principles"].values()
        for w in p
        if p[w]
    }
    sizes = {
        w: max(
            p[w]["n"] for name in names for p in metrics["policies"][name]["principles"].values()
        )
        for w in views
    }
    by = (
        " / ".join(f"{view}, n = {sizes[view]}" for view in ("truth", "judge") if view in views)
        or "nobody looked"
    )
    title = f"Violations of each principle, per cent ({by})"
    return Table(
        title, ["principle", *names, *([f"{names[0]} to {last}"] if len(names) > 1 else [])], rows
    )
