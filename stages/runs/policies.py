"""The policies that a run trained: models that write, the last one first.

Reward models and evaluators of values are models too, and do not write: their folder says so.
"""

from pathlib import Path

from stages.guards.errors import UserError
from stages.guards.files import read_json
from stages.runs.records import RunRecord
from stages.runtime.artifacts import MODEL

WRITES = ("CausalLM", "ConditionalGeneration", "LMHeadModel")
"""How the architectures of models that write end."""


def policies_of(record: RunRecord) -> dict[str, Path]:
    """Return by step the folders of the policies of a run, the last trained one first."""
    policies = {}
    for name, artifact in reversed(record.artifacts().items()):
        folder = artifact.directory / MODEL
        if writes(folder):
            policies[name] = folder
    return policies


def writes(folder: Path) -> bool:
    """Whether a folder holds a model that writes."""
    file = folder / "config.json"
    if not file.is_file() or (folder / "credo_reward.json").is_file():
        return False
    try:
        architectures = read_json(file).get("architectures") or []
    except (UserError, AttributeError):
        return False
    return any(str(name).endswith(WRITES) for name in architectures)
