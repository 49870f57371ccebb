"""A check of a published policy: what was checked, whether it agrees, and why not."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["agrees", "differs", "not checked"]
AGREES: State = "agrees"
DIFFERS: State = "differs"
NOT_CHECKED: State = "not checked"
NEAR = 1e-9
"""How far numbers may lie apart, relative to them, that another machine computed."""
MOST_SHOWN = 3
"""Differences that a line names."""
LONGEST = 160


@dataclass(frozen=True)
class Check:
    """A line of the verification."""

    what: str
    state: State
    why: str = ""
    """What differs, why it was not checked, or how much was."""


def agrees(what: str, why: str = "") -> Check:
    return Check(what, AGREES, why)


def differs(what: str, why: str) -> Check:
    return Check(what, DIFFERS, why)


def not_checked(what: str, why: str) -> Check:
    return Check(what, NOT_CHECKED, why)


def check_faults(
    what: str,
    faults: Iterable[str],
    why: str = "",
) -> Check:
    """Return that it differs where there are faults, and names the first ones; else it agrees."""
    every = list(faults)
    if not every:
        return agrees(what, why)
    shown = "; ".join(every[:MOST_SHOWN])
    more = len(every) - MOST_SHOWN
    return differs(what, f"{shown}; and {more} more" if more > 0 else shown)


def compare(
    recorded: Any,
    again: Any,
    path: str = "",
    near: float = NEAR,
) -> list[str]:
    """Name what differs between two pieces of plain data, as dotted paths with both values.

    Args:
        near: numbers that lie so near to each other, relative to them, are equal.
    """
    if isinstance(recorded, Mapping) and isinstance(again, Mapping):
        lines = []
        for key in dict.fromkeys([*recorded, *again]):
            inner = f"{path}.{key}" if path else str(key)
            if key not in recorded:
                lines.append(f"{inner} is new")
            elif key not in again:
                lines.append(f"{inner} is gone")
            else:
                lines += compare(recorded[key], again[key], inner, near)
        return lines
    if isinstance(recorded, list) and isinstance(again, list) and len(recorded) == len(again):
        lines = []
        for place, (before, after) in enumerate(zip(recorded, again, strict=True)):
            lines += compare(before, after, f"{path}[{place}]", near)
        return lines
    if _is_number(recorded) and _is_number(again) and _are_near(recorded, again, near):
        return []
    if type(recorded) is type(again) and recorded == again:
        return []
    return [f"{path}: {_short(recorded)} recorded, {_short(again)} here"]


def as_plain(value: Any) -> Any:
    """Return data as a JSON file holds it."""
    return json.loads(json.dumps(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are_near(recorded: float, again: float, near: float) -> bool:
    if math.isnan(recorded) or math.isnan(again):
        return math.isnan(recorded) and math.isnan(again)
    return math.isclose(
        recorded,
        again,
        rel_tol=near,
        abs_tol=near,
    )


def _short(value: Any) -> str:
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
