"""Records of JSON text: one a line, a list, a stream of objects, or an object around a list.

In: the text of a file, or its lines. Out: records with the line, or the number, of each.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stages.guards.decoding import TextLines
from stages.guards.errors import UserError
from stages.guards.files import single_keys

Numbered = tuple[int, Any]
WRAPPERS = (
    "data",
    "rows",
    "records",
    "examples",
    "instances",
    "items",
    "samples",
    "dataset",
    "questions",
    "prompts",
    "pairs",
    "results",
)
"""Keys under which a single object holds the list of its records."""


@dataclass(frozen=True)
class JsonLines:
    """The records of JSON lines without a fault, parsed whenever they are iterated."""

    lines: TextLines

    def __iter__(self) -> Iterator[Numbered]:
        return _parse_lines(self.lines)


def read_lines(lines: TextLines) -> Iterable[Numbered]:
    """Return the records of a .jsonl file; one that holds a single JSON list is read as .json.

    Every line is parsed here, and again when the records are iterated: they need not fit in memory.

    Raises:
        UserError: a broken line, or none that is an object or a text.
    """
    first: list[Numbered] = []
    single = True
    try:
        for numbered in _parse_lines(lines):
            single = not first
            if not first or (no_record(first[0][1]) and not no_record(numbered[1])):
                first = [numbered]
    except UserError as broken:
        return _read_otherwise(lines.text(), lines.where, broken)
    if first and single and isinstance(first[0][1], list):
        value = first[0][1]
        if all(isinstance(item, (dict, str)) for item in value):
            return _check(_unfold(value, lines.where), lines.where)
    _check(first, lines.where)
    return JsonLines(lines)


def read_whole(text: str, where: str) -> list[Numbered]:
    """Return the records of a .json file: a list, an object, or JSON lines under that name.

    Raises:
        UserError: broken JSON, or a value that holds no records.
    """
    if not text.strip():
        return []
    try:
        value = json.loads(text, object_pairs_hook=single_keys)
    except json.JSONDecodeError as error:
        if error.msg.startswith("Extra data"):
            return _check(list(_parse_stream(text, where)), where)
        raise _broken(error, text, where) from None
    except (RecursionError, ValueError) as error:
        raise _unreadable(error, where) from None
    if isinstance(value, list):
        return _check(list(enumerate(value, start=1)), where)
    return _check(_unfold(value, where), where)


def _parse_lines(lines: TextLines) -> Iterator[Numbered]:
    where = lines.where
    for number, line in enumerate(lines, start=1):
        line = line.removeprefix("\ufeff")  # files that were joined
        if not line.strip():
            continue
        try:
            yield number, json.loads(line, object_pairs_hook=single_keys)
        except json.JSONDecodeError as error:
            raise _broken(error, line, f"{where}:{number}") from None
        except (RecursionError, ValueError) as error:
            raise _unreadable(error, f"{where}:{number}") from None


def _parse_stream(text: str, where: str) -> Iterator[Numbered]:
    """Yield values that follow one another, each over one line or several."""
    decoder = json.JSONDecoder(object_pairs_hook=single_keys)
    place = 0
    line = 1
    while True:
        start = place
        while place < len(text) and text[place].isspace():
            place += 1
        line += text.count("\n", start, place)
        if place == len(text):
            return
        try:
            value, end = decoder.raw_decode(text, place)
        except json.JSONDecodeError as error:
            raise _broken(error, text, f"{where}:{line}") from None
        except (RecursionError, ValueError) as error:
            raise _unreadable(error, f"{where}:{line}") from None
        yield line, value
        line += text.count("\n", place, end)
        place = end


def _read_otherwise(text: str, where: str, broken: UserError) -> list[Numbered]:
    """Read text whose lines are no records: one value, or objects over several lines.

    Raises:
        UserError: it is neither; the error of the broken line.
    """
    whole = _parse_or_none(text)
    if whole is not None:
        return _check(_unfold(whole, where), where)
    try:
        return _check(list(_parse_stream(text, where)), where)
    except UserError:
        raise broken from None


def _parse_or_none(text: str) -> Any:
    try:
        value = json.loads(text, object_pairs_hook=single_keys)
    except (RecursionError, ValueError):
        return None
    return value if isinstance(value, (list, dict)) else None


def _unfold(value: Any, where: str) -> list[Numbered]:
    """Return the records that one JSON value holds."""
    if isinstance(value, list):
        return list(enumerate(value, start=1))
    if not isinstance(value, dict):
        return [(1, value)]
    lists = [name for name, inner in value.items() if _is_list_of_records(inner)]
    if len(lists) > 1 and len(lists) == len(value):
        raise UserError(
            f"one object with {len(lists)} lists of records: {', '.join(lists)}",
            where=where,
            fix="write the list that you mean into a file of its own",
        )
    wrapped = [name for name in lists if name in WRAPPERS or len(value) == 1]
    if len(wrapped) == 1:
        return _unwrap_rows(value[wrapped[0]])
    if isinstance(value.get("columns"), list) and isinstance(value.get("data"), list):
        names = map(str, value["columns"])
        return list(enumerate(_under_names(list(names), value["data"]), start=1))
    columns = _as_columns(value)
    return _from_columns(columns) if columns else [(1, value)]


def _under_names(names: list[str], rows: list[Any]) -> list[Any]:
    """Return rows as records; what is no row stays as it is, and is dropped."""
    records = []
    for row in rows:
        is_row = isinstance(row, list)
        records.append(dict(zip(names, row, strict=False)) if is_row else row)
    return records


def _is_list_of_records(value: Any) -> bool:
    """Whether a value is a list of objects that are not the turns of a conversation."""
    if not isinstance(value, list) or not value:
        return False
    if not all(isinstance(item, dict) for item in value):
        return False
    return not any({"role", "from", "speaker"} & item.keys() for item in value)


def _unwrap_rows(items: list[dict[str, Any]]) -> list[Numbered]:
    """Take the records out of the answer of the Hub's dataset viewer, {"row_idx", "row"}."""
    if all(isinstance(item.get("row"), dict) for item in items):
        items = [item["row"] for item in items]
    return list(enumerate(items, start=1))


def _as_columns(value: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the columns of a table that was written by column, as pandas does; {} if it is none.

    Either {"prompt": ["a", "b"], ...} or {"prompt": {"0": "a", "1": "b"}, ...}.
    """
    columns = {}
    for name, inner in value.items():
        if isinstance(inner, dict) and inner and all(key.isdecimal() for key in inner):
            inner = list(inner.values())
        if not isinstance(inner, list) or any(isinstance(item, dict) for item in inner):
            return {}
        columns[name] = inner
    lengths = {len(column) for column in columns.values()}
    return columns if len(lengths) == 1 and lengths != {0} else {}


def _from_columns(columns: Mapping[str, list[Any]]) -> list[Numbered]:
    records = []
    for number, values in enumerate(zip(*columns.values(), strict=True), start=1):
        records.append((number, dict(zip(columns, values, strict=True))))
    return records


def _check(values: list[Numbered], where: str) -> list[Numbered]:
    """Refuse a file without any record; single values of another kind become faults of their rows.

    Raises:
        UserError: there is no object and no text in it.
    """
    if not values or any(isinstance(value, (dict, str)) for _, value in values):
        return values
    number, value = values[0]
    raise UserError(
        f"{no_record(value)} where an object is expected",
        where=f"{where}:{number}",
        fix="give one JSON object a line (.jsonl) or one list of objects (.json)",
    )


def no_record(value: Any) -> str:
    """Return what a value is that is no record: "a list"; "" for a record."""
    if isinstance(value, (dict, str)):
        return ""
    name = "null" if value is None else type(value).__name__
    return f"{'an' if name == 'int' else 'a'} {name}"


def _broken(error: json.JSONDecodeError, text: str, where: str) -> UserError:
    line = f", line {error.lineno}" if "\n" in text else ""
    return UserError(
        f"broken JSON: {error.msg} (column {error.colno}{line})",
        where=where,
        fix="fix or delete the line",
    )


def _unreadable(error: Exception, where: str) -> UserError:
    """The error for JSON nested too deep, or for a number of more than 4300 digits."""
    reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
    return UserError(
        f"JSON that cannot be read: {reason}", where=where, fix="fix or delete the line"
    )
