"""The embedded world: a grammar with known effects, a checker, and a tiny model trained on it.

Importing this package costs next to nothing; each name is loaded when it is first used.
"""

import importlib
from pathlib import Path
from typing import Any

VERSION = 2
"""Part of the identity of all that is drawn or checked here.

Raise it when the requests or the checker change.
"""

CHECKPOINT = Path(__file__).resolve().parent / "checkpoint"
"""The folder of the shipped model."""

_MODULES = {
    "check": "checker",
    "breaks": "checker",
    "flatters": "checker",
    "red_team": "prompts",
    "benign": "prompts",
    "mixed": "prompts",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"stages.world.{_MODULES[name]}"), name)
