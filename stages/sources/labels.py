"""Labels of principles that people gave an answer: whether it speaks for a value, or against it.

In: a record, the columns of its labels, and the names of the principles. Out: a number from -1
(opposed) over 0 (no connection) to 1 (important) for each principle that was labelled, and a tally
of what was odd. A list holds only what is not 0 (Value FULCRA, Yao et al. 2024, arXiv 2311.10766):
names that it lacks are 0. Elsewhere an empty cell is no label. A label that cannot be read, or that
another one contradicts, is left out: it is not 0.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stages.principles.faults import slug
from stages.runtime.context import Drop
from stages.sources.cells import NotStructured, is_empty, parse_structured, plain_text
from stages.sources.records import Record

NUMBER = re.compile(r"(?:=\s*)?([+\-\u2212]?)\s*(\d+(?:\.\d+)?|\.\d+)\s*([+\-\u2212]?)")
"""A label as people type it: `+1`, `1`, `=1`, `1+`."""
SPELLINGS = ("+1", "-1", "1", "0")
RESPELLED = "read in another spelling"
"""What the tally calls a label that is used all the same."""


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
        value = read_label(cell)
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


def read_label(cell: Any) -> float | None:
    """Return a label as a number in [-1, 1]; None for anything else."""
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
