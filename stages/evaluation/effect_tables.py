"""The two tables of the `evaluate` stage, from the metrics of `measures`.

Shares are in per cent, changes in percentage points. What rests on a judge that cannot tell is
marked (see `instrument/doubt`).
"""

from collections.abc import Sequence
from typing import Any

from stages.evaluation.instrument.doubt import doubt_about, explain_mark, mark
from stages.evaluation.measures import headline_policy, previous_policy, shown_measures
from stages.evaluation.verdict_values import SOURCES
from stages.runtime.manifest import Table
from stages.statistics.formatting import (
    NO_VALUE,
    format_change,
    format_confidence,
    format_percent,
)

COLUMNS = {
    "any_violation": "violations",
    "probed_violation": "of the probed",
    "violation_probability": "mean P",
    "well_formed": "well-formed",
    "on_topic": "on-topic",
    "evasive": "evasive",
    "refused_benign": "refuses benign",
    "helpful_benign": "helpful",
    "follows_helpful": "helpful (judge)",
}
"""The measures of which those are shown that were measured; `BY_JUDGE` only without a truth."""
BY_JUDGE = "violation_probability"
LISTED = 6
"""Up to this number of principles a caption names."""


def effect_table(metrics: dict[str, Any]) -> Table:
    """A row for each policy, and under it the change from the previous policy."""
    rows = []
    by_truth = metrics["measured_by"] == "truth"
    wanted = [name for name in COLUMNS if name != BY_JUDGE or not by_truth]
    shown = shown_measures(metrics, wanted)
    doubts = {measure: doubt_about(measure, metrics) for measure in shown}
    columns = ["policy", *(COLUMNS[measure] for measure in shown), "words", "n"]
    cut_off = any(facts.get("cut_off") for facts in metrics["policies"].values())
    if cut_off:
        columns.append("cut off")
    for index, (name, facts) in enumerate(metrics["policies"].items()):
        row = [name]
        for measure in shown:
            share = _share(facts["measures"][measure], facts["prompts"])
            row.append(mark(share, doubts[measure]))
        row.append(f"{facts['words']['value']:.0f}")
        row.append(str(facts["prompts"]))
        if cut_off:
            row.append(format_percent(facts["cut_off"] / facts["responses"]))
        rows.append(row)
        if index:
            rival = previous_policy(metrics, name)
            changes = metrics["differences"][name][rival]
            points = []
            for measure in shown:
                point = format_change(changes["measures"][measure])
                points.append(mark(point, doubts[measure]))
            words = changes["words"]
            points.append(f"{words['value']:+z.0f}" if words else NO_VALUE)
            rows.append([f"  vs {rival}", *points, *[""] * (1 + cut_off)])
    by = ""
    if not by_truth:
        by = " (by the judge, for no ground truth speaks of these; mean P: its mean P(violated))"
    confidence = format_confidence(metrics["confidence"])
    title = f"Effect, per cent{by}; changes in points with {confidence} intervals"
    notes = [
        title,
        describe_counted(metrics),
        explain_mark(doubts.values()),
    ]
    return Table("; ".join(filter(None, notes)), columns, rows)


def describe_counted(metrics: dict[str, Any]) -> str:
    """Which principles "violations" means, and why not the others."""
    counted = counted_principles(metrics)
    total = len(next(iter(metrics["policies"].values()))["principles"])
    others = total - len(metrics["counted"])
    unmeasured = []
    for name in metrics["counted"]:
        if name not in counted:
            unmeasured.append(name)
    if not others and not unmeasured:
        return f"violations count all {total} principles"
    text = f"violations count {_list_names(counted)}"
    if others:
        apart = ", ".join(metrics["not_counted"])
        text += f"; not the other {others}, by tag or dimension ({apart})"
    if unmeasured:
        text += f"; not {_list_names(unmeasured)}, of which the ground truth does not speak"
    return text


def counted_principles(metrics: dict[str, Any]) -> list[str]:
    """The principles that "violations" counts.

    Where a ground truth measures, those of which it says something, for any policy: a principle
    without a dimension of its own, in a set where others have one, is measured by nothing there.
    """
    names: list[str] = metrics["counted"]
    if metrics["measured_by"] != "truth":
        return names
    measured = set()
    for facts in metrics["policies"].values():
        for name, by_source in facts["principles"].items():
            if by_source["truth"]:
                measured.add(name)
    return [name for name in names if name in measured]


def _list_names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:LISTED])
    more = len(names) - LISTED
    if more > 0:
        shown += f" and {more} more"
    return shown or "no principle"


def principle_table(metrics: dict[str, Any]) -> Table:
    """Violations of each principle, by truth / by the judge, for each policy.

    The last column is the change from the first policy to the last.
    """
    names = list(metrics["policies"])
    last = headline_policy(metrics)
    changes: dict[str, Any] = {}
    columns = ["principle", *names]
    if len(names) > 1:
        changes = metrics["differences"][last][names[0]]["principles"]
        columns.append(f"{names[0]} to {last}")
    by_judge = doubt_about("any_violation_judge", metrics)
    change = doubt_about("violates ", metrics)
    rows = []
    for principle in metrics["policies"][names[0]]["principles"]:
        row = [principle]
        for facts in metrics["policies"].values():
            row.append(_by_source(facts["principles"][principle], by_judge))
        if changes:
            row.append(mark(format_change(changes[principle]), change))
        rows.append(row)
    by = " / ".join(f"{source}, n = {size}" for source, size in _sizes(metrics).items())
    facts = [f"Violations of each principle, per cent ({by or 'not measured'})"]
    if "judge" in _sizes(metrics):
        facts.append(explain_mark([by_judge]))
    return Table("; ".join(filter(None, facts)), columns, rows)


def _share(estimate: dict[str, Any] | None, n: int) -> str:
    """`58.2`, followed by `(60)` where the number of prompts is 60 and not `n`."""
    if estimate is None:
        return NO_VALUE
    percent = format_percent(estimate["value"])
    return percent if n == estimate["n"] else f"{percent} ({estimate['n']})"


def _by_source(cell: dict[str, Any], doubt: str) -> str:
    """`12.0 / 14.5`, or the only one that was measured.

    Args:
        doubt: about the judge.
    """
    shares = []
    for source in SOURCES:
        if cell[source]:
            share = format_percent(cell[source]["value"])
            shares.append(mark(share, doubt if source == "judge" else ""))
    return " / ".join(shares) or NO_VALUE


def _sizes(metrics: dict[str, Any]) -> dict[str, int]:
    """By source, the largest number of prompts of a share; unmeasured sources are left out."""
    sizes: dict[str, int] = {}
    for source in SOURCES:
        for facts in metrics["policies"].values():
            for cell in facts["principles"].values():
                if cell[source]:
                    sizes[source] = max(sizes.get(source, 0), cell[source]["n"])
    return sizes
