"""The number that a run is known by, and its other numbers for a comparison.

The last step that measures something decides: of an evaluation the violations of its last policy
beside those of its first, of tests of reward models the first model's accuracy; of any other step
the first row of its first table. A run without any of them made rows or models only.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from stages.guards.errors import UserError
from stages.runs.records import RunRecord
from stages.runtime.artifacts import Artifact
from stages.runtime.progress import FINISHED
from stages.statistics.formatting import NO_VALUE, format_percent

VIOLATIONS = "any_violation"
NO_RESULTS = ("report", "examine_judge")
"""Stages whose tables are about pages, or about the judge."""


def headline(record: RunRecord) -> str:
    """Return the number of a run in a few words; "" where it measured nothing, or did not end."""
    if record.state != FINISHED:
        return ""
    for artifact in reversed(list(record.artifacts().values())):
        try:
            text = _headline_of(artifact)
        except UserError:  # damaged
            continue
        if text:
            return text
    return ""


def _headline_of(artifact: Artifact) -> str:
    policies = artifact.metrics.get("policies")
    if artifact.stage == "evaluate" and policies:
        shares = [_share(facts) for facts in policies.values()]
        text = f"violations {format_percent(shares[-1], missing=NO_VALUE)} %"
        if len(shares) > 1:
            text += f", {next(iter(policies))} {format_percent(shares[0], missing=NO_VALUE)}"
        return text
    if artifact.stage == "reward_accuracy":
        name, facts = next(iter(artifact.metrics["models"].items()))
        for test, estimate in facts["tests"].items():
            if estimate:
                return f"{name}: {test} {format_percent(estimate['value'])} %"
    if artifact.stage in NO_RESULTS:
        return ""
    for table in artifact.manifest.tables:
        if table.rows and len(table.columns) > 1:
            return f"{artifact.step}: {table.columns[1]} {table.rows[0][1]}".strip()
    return ""


def _share(
    policy: Mapping[str, Any],
) -> float | None:
    estimate = policy["measures"].get(VIOLATIONS)
    return estimate["value"] if estimate else None


def numbers(record: RunRecord) -> dict[str, dict[str, Any]]:
    """Return all estimates of a run's evaluations and tests of reward models, by name.

    Returns:
        By `step policy measure` or `step model test`, a mapping with `value`, and where they were
        measured `low`, `high` and `n`.
    """
    every: dict[str, dict[str, Any]] = {}
    for name, artifact in record.artifacts().items():
        try:
            every |= dict(_estimates(name, artifact))
        except UserError:  # damaged
            continue
    return every


def _estimates(
    name: str,
    artifact: Artifact,
) -> Iterator[tuple[str, dict[str, Any]]]:
    if artifact.stage == "evaluate":
        for policy, facts in artifact.metrics["policies"].items():
            for measure, estimate in {"words": facts["words"], **facts["measures"]}.items():
                if estimate:
                    yield f"{name} {policy} {measure}", estimate
    if artifact.stage == "reward_accuracy":
        for model, facts in artifact.metrics["models"].items():
            for test, estimate in facts["tests"].items():
                if estimate:
                    yield f"{name} {model} {test}", estimate
