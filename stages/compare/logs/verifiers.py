"""Results of verifiers' evaluations: `results.jsonl`, with `metadata.json` beside it.

In: a folder, or the file. Out: one log, with the reward and each metric of the rubric. An item is
an example; its rollouts are averaged.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.compare.logs.log import (
    Log,
    require,
)
from stages.guards.files import read_json
from stages.sources.records import read_file

TOOL = "verifiers"
REWARD = "reward"
NOT_METRICS = (
    "example_id",
    "id",
    "rollout_id",
    "generation_ms",
    "scoring_ms",
    "total_ms",
    "answer",
)
"""Cells with numbers that measure no answer."""


def read_verifiers(
    path: Path,
    name: str,
) -> Log:
    """Read one evaluation.

    Raises:
        UserError: the file is broken, or holds no reward.
    """
    log = Log(name, TOOL, path)
    for record in read_file(path):
        row = record.cells
        example = row.get("example_id", row.get("id"))
        log.add(str(example), row.get("prompt"), row.get("completion"), _values(row))
    metadata = path.with_name("metadata.json")
    if not metadata.is_file():
        log.notes.append("metadata.json is not beside the results: nothing checks their means")
        return require(log)
    facts = read_json(metadata)
    if isinstance(facts.get("avg_reward"), int | float):
        log.reported[REWARD] = float(facts["avg_reward"])
    for metric, number in (facts.get("avg_metrics") or {}).items():
        log.reported[metric] = float(number)
    return require(log)


def _values(row: Mapping[str, Any]) -> dict[str, Any]:
    """The reward first; metrics are cells of their own, or lie in one cell."""
    values = {REWARD: row.get(REWARD)}
    for key, value in row.items():
        if key not in NOT_METRICS:
            values[key] = value
    nested = row.get("metrics")
    if isinstance(nested, Mapping):
        values |= nested
    return values
