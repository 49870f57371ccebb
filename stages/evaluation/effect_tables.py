"""The two tables a run ends with, out of the metrics of `measures`. Shares in per cent, changes in points."""

from typing import Any

from stages.runtime.artifacts import Table

COLUMNS = {
    "any_violation": "violations",
    "well_formed": "well-formed",
    "on_topic": "on-topic",
    "evasive": "evasive",
    "helpful_benign": "helpful",
}


def percent(estimate: dict[str, Any] | None) -> str:
    """`58.2`, or a dash where nobody looked."""
    return "-" if estimate is None else f"{100 * estimate['value']:.1f}"


def points(difference: dict[str, Any] | None) -> str:
    """`-32 [-37,-28]`: the change and its interval in percentage points."""
    if difference is None:
        return "-"
    value, low, high = (round(100 * difference[key]) for key in ("value", "low", "high"))
    return f"{value:+d} [{low:+d},{high:+d}]"


def effect_table(metrics: dict[str, Any]) -> Table:
    """A row for each policy, and under it the change against the policy before."""
    names = list(metrics["policies"])
    rows = []
    for index, name in enumerate(names):
        facts = metrics["policies"][name]
        rows.append([name, *(percent(facts["measures"][m]) for m in COLUMNS), str(facts["prompts"])])
        if index:
            change = metrics["differences"][name][names[index - 1]]["measures"]
            rows.append(["  change", *(points(change[m]) for m in COLUMNS), ""])
    by = "" if metrics["measured_by"] == "truth" else " (violations as the judge sees them; no ground truth)"
    title = f"Effect, per cent{by}; changes in points with {100 * metrics['confidence']:.0f} % intervals"
    return Table(title, ["policy", *COLUMNS.values(), "n"], rows)


def principle_table(metrics: dict[str, Any]) -> Table:
    """Violations of each principle: by truth / by the judge for each policy, and last against first."""
    names = list(metrics["policies"])
    rows = []
    for principle in metrics["policies"][names[0]]["principles"]:
        cells = [metrics["policies"][name]["principles"][principle] for name in names]
        shown = [" / ".join(percent(cell[w]) for w in ("truth", "judge") if cell[w]) or "-" for cell in cells]
        change = [points(metrics["differences"][names[-1]][names[0]]["principles"][principle])] if len(names) > 1 else []
        rows.append([principle, *shown, *change])
    views = {w for name in names for p in metrics["policies"][name]["principles"].values() for w in p if p[w]}
    by = " / ".join(view for view in ("truth", "judge") if view in views) or "nobody looked"
    title = f"Violations of each principle, per cent ({by})"
    return Table(title, ["principle", *names, *([f"{names[0]} to {names[-1]}"] if len(names) > 1 else [])], rows)
