"""The ground truth that a user names as `module:function`: facts about a response.

In: an import path. Out: the function, (request text, response text) -> `Truth`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from stages.guards.errors import UserError
from stages.runtime.functions import call, find_function, function_identity
from stages.runtime.typed_config import show_value


class Truth(Protocol):
    """What a ground-truth function returns. A value is None where it cannot be known."""

    violations: dict[str, bool]
    """By dimension."""
    well_formed: bool | None
    on_topic: bool | None
    evasive: bool | None
    helpful: bool | None


GroundTruth = Callable[[str, str], Truth]

FACTS = ("violations", "well_formed", "on_topic", "evasive", "helpful")
"""What a truth holds."""


def truth_identity(path: str | None, where: str) -> dict[str, Any] | None:
    """What identifies a ground truth: its module's version and content; None without one.

    Raises:
        UserError: as `load_truth`.
    """
    return function_identity(path) if load_truth(path, where) and path else None


def doubt_truth(judged: Sequence[str], named: Sequence[str], has_judge: bool) -> list[str]:
    """Return a warning where a ground truth judges nothing that a constitution asks for.

    Args:
        judged: the dimensions that it judges.
        named: those of them that the principles name.
        has_judge: a judge takes its place.
    """
    if named or not judged:
        return []
    instead = "violations are what the judge sees" if has_judge else "violations are not measured"
    return [
        f"the ground truth judges {', '.join(judged)}, and no principle here names one of these "
        f"dimensions: it measures nothing of this constitution, so {instead}"
    ]


def load_truth(path: str | None, where: str) -> GroundTruth | None:
    """The function; None without one.

    Raises:
        UserError: the module cannot be imported, or has no such function of two texts.
    """
    if path is None:
        return None
    function = find_function(path, where, "request", "response")

    def truth(request: str, response: str) -> Truth:
        facts: Truth = call(function, path, request, response)
        missing = [name for name in FACTS if not hasattr(facts, name)]
        if missing or not isinstance(facts.violations, Mapping):
            raise UserError(
                f"the ground truth gave {show_value(facts)}, which lacks "
                f"{', '.join(missing) or 'a mapping of violations'}",
                where=path,
                fix=f"return an object with {', '.join(FACTS)}",
            )
        return facts

    return truth
