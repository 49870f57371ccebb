"""Records of files and Hub datasets: jsonl, json, csv, tsv and parquet, plain or .gz.

In: a path or a dataset's name, and the columns that are needed. Out: `Record`s, one after another.
"""

import csv
import gzip
import hashlib
import io
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from stages.runtime.errors import UserError, refuse_unknown

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
SEPARATORS = {".csv": ",", ".tsv": "\t"}


class Record(NamedTuple):
    """One record of a file or a dataset."""

    location: str
    """`file:line`, or `dataset[number]`."""
    cells: dict[str, Any]
    """The value of each requested column; "" where a cell is empty."""


def file_hash(name: str) -> str:
    """Return the first 16 hex digits of the SHA-256 of a file's bytes.

    Raises:
        UserError: there is no such file.
    """
    try:
        data = Path(os.path.expanduser(name)).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"the file cannot be read: {reason}", where=name, fix="give the path of a file"
        ) from None
    return hashlib.sha256(data).hexdigest()[:16]


def read_file(path: Path, *columns: str) -> Iterator[Record]:
    """Yield every record of a file.

    A record of a jsonl file may be a bare text, if one column is requested.

    Raises:
        UserError: a broken line, a record that is not an object, a missing column, an unknown kind
            of file.
    """
    suffixes = [suffix for suffix in path.suffixes if suffix != ".gz"]
    kind = suffixes[-1] if suffixes else ""
    if kind not in SUFFIXES:
        raise UserError(
            f"records cannot be read from a {kind or 'suffixless'} file",
            where=str(path),
            fix=f"give {', '.join(SUFFIXES)}, plain or .gz",
        )
    try:
        for number, record in _file_records(path, kind):
            location = f"{path}:{number}"
            yield Record(location, _select_columns(record, columns, location))
    except UnicodeDecodeError as error:
        raise UserError(
            f"not UTF-8 text (byte {error.start})", where=str(path), fix="save the file as UTF-8"
        ) from None
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise UserError(
            f"the file cannot be read: {error}",
            where=str(path),
            fix="check that it is whole and readable",
        ) from None


def read_hub(
    name: str, subset: str | None, folder: str | None, split: str, *columns: str
) -> Iterator[Record]:
    """Yield every record of a Hub dataset (`owner/name`), through the `datasets` library.

    Raises:
        UserError: it cannot be loaded, or lacks a column.
    """
    from datasets import load_dataset

    try:
        dataset = load_dataset(name, subset, data_dir=folder, split=split)
    except Exception as error:  # the library raises a dozen types; each means the same to a user
        raise UserError(
            f"the dataset cannot be loaded: {str(error).splitlines()[0]}",
            where=name,
            fix="check the name, the split and the network, or give a local file",
        ) from None
    for number, record in enumerate(dataset):
        location = f"{name}[{number}]"
        yield Record(location, _select_columns(record, columns, location))


def _file_records(path: Path, kind: str) -> Iterator[tuple[int, Any]]:
    """Yield every record with its line, or its number where a file has no lines."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    if kind == ".parquet":
        return _parquet_records(data)
    text = data.decode("utf-8-sig")
    if kind in SEPARATORS:
        return _table_records(text, SEPARATORS[kind])
    if kind == ".json":
        return enumerate(_parse_json(text, f"{path}", list), start=1)
    return _line_records(text, path)


def _parquet_records(data: bytes) -> Iterator[tuple[int, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        yield from enumerate(pq.read_table(io.BytesIO(data)).to_pylist(), start=1)
    except pa.ArrowInvalid as error:
        raise OSError(str(error)) from None


def _table_records(text: str, separator: str) -> Iterator[tuple[int, Any]]:
    csv.field_size_limit(2**31 - 1)  # a transcript may have more than the module's 128 KB
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
    for record in reader:
        yield reader.line_num, record


def _line_records(text: str, path: Path) -> Iterator[tuple[int, Any]]:
    # JSON texts may hold U+2028, at which splitlines() cuts.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, _parse_json(line, f"{path}:{number}", (dict, str))


def _parse_json(text: str, location: str, types: Any) -> Any:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        line = f", line {error.lineno}" if "\n" in text else ""
        raise UserError(
            f"broken JSON: {error.msg} (column {error.colno}{line})",
            where=location,
            fix="fix or delete the line",
        ) from None
    except (RecursionError, ValueError) as error:  # ValueError: a number of more than 4300 digits
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise UserError(
            f"JSON that cannot be read: {reason}", where=location, fix="fix or delete the line"
        ) from None
    if not isinstance(value, types):
        expected = "a list of records" if types is list else "an object"
        raise UserError(
            f"a {type(value).__name__} where {expected} is expected",
            where=location,
            fix="give one JSON object a line (.jsonl) or one list of objects (.json)",
        )
    return value


def _select_columns(record: Any, columns: tuple[str, ...], location: str) -> dict[str, Any]:
    if isinstance(record, str) and len(columns) == 1:
        return {columns[0]: record}
    available = [str(name) for name in record] if isinstance(record, dict) else []
    refuse_unknown(columns, available, "there is no column", location)
    cells = {}
    for column in columns:
        value = record[column]
        cells[column] = "" if value is None else value  # an empty prompt is dropped and counted
    return cells
