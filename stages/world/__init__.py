"""The embedded world: a grammar with known effects, a checker, and a tiny model trained on it.

Importing this package costs next to nothing; each name is loaded when it is first used.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stages.world.acts import DIMENSIONS, SAFE_DIMENSIONS, VALUES
    from stages.world.checker import Verdict, check
    from stages.world.hacks import breaks, flatters
    from stages.world.pretraining.wordings import VALUE_ANSWERS
    from stages.world.prompts import benign, mixed, red_team

VERSION = 2
"""Part of the identity of whatever was drawn or checked here: raise it when requests or the checker change."""

CHECKPOINT = Path(__file__).resolve().parent / "checkpoint"
VALUE_TEMPLATE = Path(__file__).resolve().parent / "value.jinja"

_HOMES = {
    "check": "checker",
    "Verdict": "checker",
    "breaks": "hacks",
    "flatters": "hacks",
    "red_team": "prompts",
    "benign": "prompts",
    "mixed": "prompts",
    "DIMENSIONS": "acts",
    "SAFE_DIMENSIONS": "acts",
    "VALUES": "acts",
    "VALUE_ANSWERS": "pretraining.wordings",
}

__all__ = [
    "CHECKPOINT",
    "DIMENSIONS",
    "SAFE_DIMENSIONS",
    "VALUES",
    "VALUE_ANSWERS",
    "VALUE_TEMPLATE",
    "Verdict",
    "benign",
    "breaks",
    "check",
    "flatters",
    "mixed",
    "red_team",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
