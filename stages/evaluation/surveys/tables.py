"""The tables of a survey: scores with their verdicts, changes, reliability, likeness to people."""

from collections.abc import Mapping
from typing import Any

from stages.evaluation.comparison import comparison_table
from stages.runtime.manifest import Table
from stages.statistics.formatting import (
    NO_VALUE,
    format_confidence,
    format_estimate,
    format_percent,
)

PROFILE_TABLES = ("scores with ", ": what moved", ": how it was answered")
"""Words in the titles of tables whose numbers the report draws."""
PLAIN: Mapping[str, Any] = {"factor": 1, "places": 2}
UNITS = {
    "scale": "points of the scale",
    "slider": "degrees",
    "pairs": "log-odds",
    "portrait": "points of the scale",
    "opinions": "",
}


def tables_of(step: str, metrics: Mapping[str, Any]) -> list[Table]:
    """Return the tables of one survey."""
    tables = [_scores(step, metrics), _quality(step, metrics)]
    if metrics["differences"]:
        tables.insert(1, _changes(step, metrics))
    if metrics["kind"] == "portrait":
        tables.append(_likeness(step, metrics))
    people = metrics.get("people", {})
    if "similarity" in people:
        base = f"{people['base']:.3g}"
        title = f"{step}: likeness to people, 1 less Jensen-Shannon distance to base {base}"
        tables.append(comparison_table(title, people["similarity"]))
    if "likelihood" in people:
        tables.append(_likelihood(step, people))
    if "profiles" in people:
        tables.append(_profiles(step, people["profiles"]))
    return [table for table in tables if table.rows]


def _scores(step: str, metrics: Mapping[str, Any]) -> Table:
    """A row for each score of each model."""
    confidence = format_confidence(metrics["confidence"])
    title = (
        f"{step}: {metrics['name']}, {UNITS[metrics['kind']]}, scores with {confidence} intervals"
    )
    rows = []
    for model, facts in metrics["models"].items():
        for name, score in facts["scores"].items():
            distances = [_number(score[kind]) for kind in ("order", "wording", "retest")]
            verdict = "; ".join([score["verdict"], *score["reasons"][:1]])
            estimate = format_estimate(score, **PLAIN)
            rows.append([model, name, estimate, _number(score["modal"]), *distances, verdict])
    columns = ["model", "score", "value", "likeliest answers"]
    columns += ["JS of orders", "of wordings", "of repeats", "verdict"]
    return Table(
        title,
        columns,
        rows,
    )


def _changes(step: str, metrics: Mapping[str, Any]) -> Table:
    """A row for each score of each model but the first."""
    first = next(iter(metrics["models"]))
    rows = []
    for model, changes in metrics["differences"].items():
        for name, change in changes.items():
            estimate = format_estimate(
                change,
                **PLAIN,
                sign="+",
            )
            p = f"{change['p_adjusted']:.3f}"
            rows.append([f"{model} less {first}", name, estimate, p, change["verdict"]])
    columns = ["models", "score", "difference", "p (Holm)", "verdict"]
    return Table(
        f"{step}: what moved",
        columns,
        rows,
    )


def _quality(step: str, metrics: Mapping[str, Any]) -> Table:
    """A row for each model."""
    rows = []
    for model, facts in metrics["models"].items():
        reliable = facts["reliability"]
        estimates = [format_estimate(each, **PLAIN) for each in reliable.values()]
        shares = [format_percent(facts[key], missing=NO_VALUE) for key in ("invalid", "leaked")]
        rows.append([model, str(facts["asked"]), *shares, *estimates])
    columns = ["model", "calls", "no answer, %", "leaked, %"]
    columns += [f"reliability by {kind}" for kind in ("order", "wording", "repeat")]
    return Table(
        f"{step}: how it was answered",
        columns,
        rows,
    )


def _likeness(step: str, metrics: Mapping[str, Any]) -> Table:
    """A row for each value."""
    models = {name: facts["facts"].get("likeness", {}) for name, facts in metrics["models"].items()}
    rows = []
    for value in sorted({value for likeness in models.values() for value in likeness}):
        row = [value]
        for likeness in models.values():
            row.append(format_estimate(likeness.get(value), **PLAIN))
        rows.append(row)
    title = f"{step}: correlation of ratings with how far people who rate so hold the value"
    return Table(
        title,
        ["value", *models],
        rows,
    )


def _likelihood(step: str, people: Mapping[str, Any]) -> Table:
    """A row for each group of people: nats for each question, and for all of them."""
    rows = []
    models = people["likelihood"]["models"]
    for group in next(iter(models.values())):
        row = [group]
        for model, groups in models.items():
            row.append(format_estimate(groups.get(group), **PLAIN))
            row.append(_number(people["joint"][model].get(group)))
        rows.append(row)
    columns = ["group"]
    for model in models:
        columns += [model, f"{model}, all questions"]
    return Table(
        f"{step}: log-likelihood of people's answers, nats",
        columns,
        rows,
    )


def _profiles(step: str, profiles: Mapping[str, Any]) -> Table:
    """A row for each model and group of people."""
    rows = []
    for model, groups in profiles.items():
        for group, facts in groups.items():
            numbers = [_number(facts[key]) for key in ("pearson", "mean_absolute_error")]
            rows.append([model, group, *numbers, str(facts["dimensions"])])
    columns = ["model", "group", "correlation", "mean distance", "dimensions"]
    return Table(
        f"{step}: profiles beside people's",
        columns,
        rows,
    )


def _number(value: float | None) -> str:
    return NO_VALUE if value is None else f"{value:z.2f}"
