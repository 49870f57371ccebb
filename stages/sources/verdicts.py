"""Cells that state which of two sides is preferred, that an answer is good, or for which values it
speaks.

In: a column of cells. Out: for each, the preferred side; the scale is decided once for the column.
Or a record with labels of principles from -1 (opposed) over 0 (no connection) to 1 (important), and
out a number for each principle that was labelled. A list holds only what is not 0 (Value FULCRA,
Yao et al. 2024, arXiv 2311.10766): names that it lacks are 0. Elsewhere an empty cell is no label.
A label that cannot be read, or that another one contradicts, is left out: it is not 0.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from stages.guards.errors import UserError
from stages.principles.faults import slug
from stages.runtime.context import Drop
from stages.sources.cells import NotStructured, is_empty, parse_structured, plain_text
from stages.sources.records import Record

Verdict = Literal["first", "second", "tie", "none"]
"""`none`: the cell states nothing."""

Scale = Literal["auto", "from_zero", "from_one", "one_or_zero", "signs"]
"""What numbers mean: the place of the preferred side, counted from 0 or from 1; 1 for the first
and 0 for the second; or a sign, negative for the first.
"""
SAID = {
    "from_zero": "0 for the first, 1 for the second",
    "from_one": "1 for the first, 2 for the second",
    "one_or_zero": "1 for the first, 0 for the second",
    "signs": "negative for the first, positive for the second",
}
MEANT: dict[str, dict[float, Verdict]] = {
    "from_zero": {0: "first", 0.5: "tie", 1: "second"},
    "from_one": {1: "first", 1.5: "tie", 2: "second"},
    "one_or_zero": {1: "first", 0.5: "tie", 0: "second"},
}

FIRST = ("a", "first", "left", "chosen")
SECOND = ("b", "second", "right", "rejected")
TIES = (
    "tie",
    "ties",
    "both",
    "equal",
    "same",
    "draw",
    "neutral",
    "both good",
    "both bad",
    "both_good",
    "both_bad",
    "bothgood",
    "bothbad",
    "tie (bothgood)",
    "tie (bothbad)",
)
NONE = ("", "none", "null", "nan", "n/a", "neither", "unknown")
PREFIX = re.compile(
    r"^(?:model|response|text|answer|output|completion|assistant|option|side|candidate|human_ref)"
    r"[ _-]?(?=[ab0-9]$)"
)
TRUE = ("true", "yes", "good", "desirable", "thumbs_up", "safe", "1", "1.0")
FALSE = ("false", "no", "bad", "undesirable", "thumbs_down", "unsafe", "0", "0.0", "-1", "-1.0")
NUMBER = re.compile(r"(?:=\s*)?([+\-\u2212]?)\s*(\d+(?:\.\d+)?|\.\d+)\s*([+\-\u2212]?)")
"""A label as people type it: `+1`, `1`, `=1`, `1+`."""
SPELLINGS = ("+1", "-1", "1", "0")
RESPELLED = "read in another spelling"
"""What the tally calls a label that is used all the same."""


def read_verdicts(
    values: Sequence[Any],
    locations: Sequence[str],
    option: str,
    sides: tuple[str, str],
    scale: Scale = "auto",
) -> tuple[list[Verdict], str]:
    """Return the preferred side of every record, and the scale of the column.

    Of numbers, 0 is the first side and 1 the second; with 0.5, a tie. Where the column holds a 2
    and no 0, they count from 1. Where it holds a negative number, the sign states the side,
    negative the first, and 0 is a tie.

    Args:
        option: the option that names the column, for messages.
        sides: the columns of the two sides, which a cell may name.
        scale: what the numbers mean, where it is known.

    Raises:
        UserError: a cell that states none of this; it names the record.
    """
    texts = [_normalise(value) for value in values]
    numbers = [number for number in map(_number, texts) if number is not None]
    if scale == "auto":
        scale = _find_scale(numbers, sides)
        if scale == "auto":
            raise UserError(
                "every number is 1, which is the first side of 1 and 2, or the second of 0 and 1",
                where=locations[texts.index("1")] if "1" in texts else locations[0],
                fix=f"write A and B in the column of `{option}`",
            )
    names = (sides[0].lower(), sides[1].lower())
    _refuse_mixture(texts, locations, option, names)
    verdicts: list[Verdict] = []
    for text, value, location in zip(texts, values, locations, strict=True):
        verdict = _read_one(text, scale, names)
        if verdict is None:
            raise UserError(
                f"{value!r} where 0 or 1, true or false, A or B, or a tie is expected"
                + (f" (numbers are read as {SAID[scale]})" if numbers else ""),
                where=location,
                fix=f"name another column as `{option}`, or correct the cell",
            )
        verdicts.append(verdict)
    return verdicts, SAID[scale] if numbers else "names of sides"


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
        return None if "_" in bare else float(bare)
    except ValueError:
        return None


def _refuse_mixture(
    texts: Sequence[str], locations: Sequence[str], option: str, names: tuple[str, str]
) -> None:
    """Refuse a column of numbers and of names: what is 1 beside A and B?

    Raises:
        UserError: it is one.
    """
    first: dict[bool, int] = {}
    for place, text in enumerate(texts):
        if text in names or PREFIX.sub("", text) in (*FIRST, *SECOND):
            first.setdefault(False, place)
        elif _number(text) is not None and text not in NONE:
            first.setdefault(True, place)
    if len(first) == 2:
        name, number = first[False], first[True]
        raise UserError(
            f"numbers and names in the column of `{option}`: {texts[number]!r} here, and "
            f"{texts[name]!r} at {locations[name]}",
            where=locations[number],
            fix="write all cells in one way",
        )


def _find_scale(numbers: Sequence[float], sides: tuple[str, str]) -> Scale:
    """Return what the numbers mean; auto where that is not clear."""
    ends = sides[0][-1:] + sides[1][-1:]
    if ends == "12" and numbers and set(numbers) <= {1, 1.5, 2}:
        return "from_one"
    if ends != "01" and len(numbers) > 1 and set(numbers) == {1}:
        return "auto"
    if any(number < 0 for number in numbers):
        return "signs"
    return "from_one" if any(number > 1 for number in numbers) and 0 not in numbers else "from_zero"


def _read_one(text: str, scale: Scale, names: tuple[str, str]) -> Verdict | None:
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
    return MEANT[scale].get(number)


def read_labels(
    record: Record, columns: Sequence[str], names: Mapping[str, str], tally: Counter[str]
) -> dict[str, float]:
    """Return the label of each principle that has one, in the order of `names`.

    Args:
        columns: one that lists or maps the labels, or a column for each principle.
        names: by the slug of a name, the id of its principle.
        tally: gets the number of labels that were left out, by reason, or respelled.
    """
    labels: dict[str, float] = {}
    if any(isinstance(_structure(record.value(column)), list) for column in columns):
        labels = dict.fromkeys(names.values(), 0.0)
    seen: dict[str, set[float]] = {}
    for name, cell in _entries(record, columns, tally):
        identifier = names.get(slug(name))
        if identifier is None:
            tally[f"no principle is called {name.lower()[:60]!r}"] += 1
            continue
        value = read_degree(cell)
        labels.pop(identifier, None)
        if value is None:
            tally[f"{plain_text(cell)[:60]!r} is no label from -1 to 1"] += 1
            seen.setdefault(identifier, set())
            continue
        if isinstance(cell, str) and cell.strip() not in SPELLINGS:
            tally[RESPELLED] += 1
        seen.setdefault(identifier, set()).add(value)
    for identifier, values in seen.items():
        if len(values) == 1:
            labels[identifier] = values.pop()
        elif values:
            tally["two labels of an answer contradict each other"] += 1
    return {name: labels[name] for name in names.values() if name in labels}


def read_degree(cell: Any) -> float | None:
    """Return a label of a principle as a number in [-1, 1]; None for anything else."""
    match = NUMBER.fullmatch(plain_text(float(cell) if isinstance(cell, bool) else cell))
    if match is None or (match[1] and match[3]):
        return None
    number = float(match[2])
    if number > 1:
        return None
    return 0.0 - number if (match[1] or match[3]) not in ("", "+") else number


def _structure(cell: Any) -> Any:
    """Return the list or the mapping that a cell holds, or the cell itself."""
    if isinstance(cell, str):
        try:
            return parse_structured(cell)[0]
        except (NotStructured, Drop):
            return cell
    return cell


def _entries(
    record: Record, columns: Sequence[str], tally: Counter[str]
) -> Iterator[tuple[str, Any]]:
    """Yield the name and the cell of each label."""
    for column in columns:
        cell = _structure(record.value(column))
        if isinstance(cell, Mapping):
            yield from ((str(name), value) for name, value in cell.items() if not is_empty(value))
        elif isinstance(cell, list):
            for item in cell:
                name, colon, value = str(item).rpartition(":")
                if colon:
                    yield name.strip(), value
                else:
                    tally["an item of a list that is not `name: label`"] += 1
        elif not is_empty(cell):
            yield column, cell
