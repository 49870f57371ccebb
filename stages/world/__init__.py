"""The embedded world: a grammar with known effects, a checker, and a tiny model trained on it.

Importing this package costs next to nothing; each name is loaded when it is first used.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stages.world.checker import Verdict, check
    from stages.world.prompts import benign, mixed, red_team
    from stages.world.rewards import breaks, flatters

VERSION = 2
"""Part of the identity of all that is drawn or checked here.

Raise it when the requests or the checker change.
"""

CHECKPOINT = Path(__file__).resolve().parent / "checkpoint"
"""The folder of the shipped model."""

_MODULES = {
    "check": "checker",
    "Verdict": "checker",
    "breaks": "rewards",
    "flatters": "rewards",
    "red_team": "prompts",
    "benign": "prompts",
    "mixed": "prompts",
}

__all__ = ["CHECKPOINT", "Verdict", "benign", "breaks", "check", "flatters", "mixed", "red_team"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"stages.world.{_MODULES[name]}"), name)
