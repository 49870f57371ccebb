"""The ground truth that a user names as `module:function`: facts about a response.

In: an import path. Out: the function, (request text, response text) -> `Truth`.
"""

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any, Protocol

from stages.guards.errors import UserError
from stages.runtime.provenance import module_identity


class Truth(Protocol):
    """What a ground-truth function returns. A value is None where it cannot be known."""

    violations: dict[str, bool]
    """By dimension."""
    well_formed: bool | None
    on_topic: bool | None
    evasive: bool | None
    helpful: bool | None


GroundTruth = Callable[[str, str], Truth]

_FIX = "give the import path of a function (request, response) -> truth, such as stages.world:check"


def truth_identity(path: str | None, where: str) -> dict[str, Any] | None:
    """What identifies a ground truth: its module's version and content; None without one.

    Raises:
        UserError: the module cannot be imported, or has no such function.
    """
    return module_identity(_module(path, where)) if path else None


def load_truth(path: str | None, where: str) -> GroundTruth | None:
    """The function; None without one.

    Raises:
        UserError: the module cannot be imported, or has no such function.
    """
    if not path:
        return None
    module = _module(path, where)
    function = getattr(module, path.partition(":")[2], None)
    if not callable(function):
        what = f"the module of the ground truth {path!r} has no such function"
        raise UserError(what, where=where, fix=_FIX)
    return function


def _module(path: str, where: str) -> ModuleType:
    module, _, name = path.partition(":")
    if not module or not name:
        what = f"the ground truth {path!r} is not of the form module:function"
        raise UserError(what, where=where, fix=_FIX)
    try:
        return importlib.import_module(module)
    except (ImportError, ValueError) as error:
        what = f"the ground truth {path!r} cannot be imported: {error}"
        raise UserError(what, where=where, fix=_FIX) from None
