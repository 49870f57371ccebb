"""Cells that state which of two sides is preferred, or that an answer is good.

In: a column of cells. Out: for each, the preferred side. The scale is decided once for the column.
"""

import re
from collections.abc import Sequence
from typing import Any, Literal

from stages.runtime.errors import UserError
from stages.sources.cells import is_empty, plain_text

Verdict = Literal["first", "second", "tie", "none"]
"""`none`: the cell states nothing."""

FIRST = ("a", "first", "left", "chosen")
SECOND = ("b", "second", "right", "rejected")
TIES = ("tie", "ties", "both", "equal", "same", "draw", "both_good", "bothbad", "tie (bothbad)")
NONE = ("", "none", "null", "nan", "n/a", "neither", "unknown")
PREFIX = re.compile(
    r"^(?:model|response|text|answer|output|completion|assistant|option|side|candidate|human_ref)"
    r"[ _-]?(?=[ab0-9]$)"
)
TRUE = ("true", "yes", "good", "desirable", "thumbs_up", "safe", "1", "1.0")
FALSE = ("false", "no", "bad", "undesirable", "thumbs_down", "unsafe", "0", "0.0", "-1", "-1.0")


def read_verdicts(
    values: Sequence[Any],
    locations: Sequence[str],
    option: str,
    sides: tuple[str, str],
    one_is_first: bool = False,
) -> tuple[list[Verdict], str]:
    """Return the preferred side of every record, and the scale of the column.

    Of numbers, 0 is the first side and 1 the second; with 0.5, a tie. Where the column holds a 2
    and no 0, they count from 1. Where it holds a negative number, the sign states the side,
    negative the first, and 0 is a tie.

    Args:
        option: the option that names the column, for messages.
        sides: the columns of the two sides, which a cell may name.
        one_is_first: 1 states the first side and 0 the second, as in SHP.

    Raises:
        UserError: a cell that states none of this; it names the record.
    """
    texts = [_normalise(value) for value in values]
    numbers = [number for number in map(_number, texts) if number is not None]
    scale = _find_scale(numbers, one_is_first)
    names = (sides[0].lower(), sides[1].lower())
    verdicts: list[Verdict] = []
    for text, value, location in zip(texts, values, locations, strict=True):
        verdict = _read_one(text, scale, names)
        if verdict is None:
            raise UserError(
                f"{value!r} where 0 or 1, true or false, A or B, or a tie is expected"
                + (f" (the column's numbers are read as {scale})" if numbers else ""),
                where=location,
                fix=f"name another column as `{option}`, or correct the cell",
            )
        verdicts.append(verdict)
    return verdicts, scale if numbers else "names of sides"


def read_label(value: Any) -> bool | None:
    """Return whether a cell says yes; None where it says neither yes nor no."""
    text = plain_text(value).lower()
    if text in TRUE:
        return True
    return False if text in FALSE else None


def _normalise(value: Any) -> str:
    if is_empty(value):
        return ""
    if isinstance(value, bool):
        return str(int(value))
    return plain_text(value).lower()


def _number(text: str) -> float | None:
    bare = PREFIX.sub("", text)
    if bare in ("true", "false"):
        return float(bare == "true")
    try:
        return float(bare)
    except ValueError:
        return None


def _find_scale(numbers: Sequence[float], one_is_first: bool) -> str:
    if any(number < 0 for number in numbers):
        return "signs"
    if one_is_first:
        return "1 for the first, 0 for the second"
    if any(number > 1 for number in numbers) and 0 not in numbers:
        return "1 for the first, 2 for the second"
    return "0 for the first, 1 for the second"


def _read_one(text: str, scale: str, names: tuple[str, str]) -> Verdict | None:
    if text in names:
        return "first" if text == names[0] else "second"
    bare = PREFIX.sub("", text)
    if bare in FIRST:
        return "first"
    if bare in SECOND:
        return "second"
    if text in TIES:
        return "tie"
    if text in NONE:
        return "none"
    number = _number(text)
    if number is None or number != number:
        return None if number is None else "none"
    if scale == "signs":
        return "tie" if number == 0 else "first" if number < 0 else "second"
    places: dict[str, dict[float, Verdict]] = {
        "0 for the first, 1 for the second": {0: "first", 0.5: "tie", 1: "second"},
        "1 for the first, 2 for the second": {1: "first", 1.5: "tie", 2: "second"},
        "1 for the first, 0 for the second": {1: "first", 0.5: "tie", 0: "second"},
    }
    return places[scale].get(number)
