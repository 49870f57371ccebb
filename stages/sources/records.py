"""Records of files and Hub datasets: jsonl, json, csv, tsv and parquet, plain or compressed.

In: a path or a dataset's name. Out: `Record`s, one after another, with all their cells. Those of
JSON lines, parquet files and datasets are parsed whenever they are iterated: they are never all in
memory.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

from stages.guards.decoding import COMPRESSED, TextLines, decode, decompress
from stages.guards.errors import UserError, did_you_mean
from stages.guards.files import open_file, read_bytes
from stages.guards.text import is_visible, replace_surrogates
from stages.sources.json_records import Numbered, no_record, read_lines, read_whole
from stages.sources.parquet_records import PARQUET, read_parquet
from stages.sources.table_records import SEPARATORS, Row, read_table

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
ALIASES = {".ndjson": ".jsonl", ".pq": ".parquet", ".tab": ".tsv"}
BARE = "\0"
"""The column of a record that is a text alone."""
SHOWN_COLUMNS = 30
SHOWN_CHARACTERS = 400


class Record(NamedTuple):
    """One record of a file or a dataset."""

    location: str
    """`file:line`, or `dataset[number]`."""
    cells: dict[str, Any]
    """The value of each column; "" where a cell is empty."""
    fault: str = ""
    """Why its cells cannot be trusted; "" if they can."""

    def value(self, column: str) -> Any:
        """Return the cell in a column, "" where the record lacks it, and a bare text in any."""
        if BARE in self.cells and column not in self.cells:
            return self.cells[BARE]
        # The column of pandas' index has no name, and nobody means it.
        return self.cells.get(column, "") if column else ""


class Records:
    """The records of a source. Their number and their columns are counted once.

    Args:
        read: begins to read them from the first one, with the same records each time.
    """

    def __init__(self, read: Callable[[], Iterable[Record]]):
        self._read = read

    def __iter__(self) -> Iterator[Record]:
        return iter(self._read())

    def __len__(self) -> int:
        return self._facts[0]

    @property
    def columns(self) -> list[str]:
        """The names of all columns, in the order in which records bring them."""
        return list(self._facts[1])

    @cached_property
    def _facts(self) -> tuple[int, dict[str, None]]:
        count = 0
        names: dict[str, None] = {}
        for record in self:
            count += 1
            for name in record.cells:
                names.setdefault(name)
        return count, names


def file_hash(name: str) -> str:
    """Return the first 16 hex digits of the SHA-256 of a file's bytes.

    Raises:
        UserError: it cannot be read.
    """
    with open_file(name) as (stream, _):
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


def read_file(path: Path) -> Iterator[Record]:
    """Yield every record of a file.

    Raises:
        UserError: as `open_records`.
    """
    yield from open_records(path)()


def open_records(path: Path) -> Callable[[], Iterator[Record]]:
    """Read a file once; return what yields its records, as often as it is called.

    Raises:
        UserError: it cannot be opened, a broken line, no record in it, text of an unknown encoding,
            an unknown kind of file.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    suffixes = [suffix for suffix in suffixes if suffix not in COMPRESSED]
    kind = suffixes[-1] if suffixes else ""
    kind = ALIASES.get(kind, kind)
    if kind not in SUFFIXES:
        raise UserError(
            f"records cannot be read from a {kind or 'suffixless'} file",
            where=str(path),
            fix=f"give {', '.join(SUFFIXES)}, plain or {', '.join(COMPRESSED)}",
        )
    place = replace_surrogates(str(path))
    data = decompress(read_bytes(path), place)
    if kind == ".parquet" or data.startswith(PARQUET):
        return partial(_parquet_records, data, place)
    if kind in SEPARATORS:
        return partial(_table_records, read_table(decode(data, place), kind, place), place)
    if kind == ".jsonl":
        return partial(_json_records, read_lines(TextLines(data, place)), place)
    return partial(_json_records, read_whole(decode(data, place), place), place)


def open_hub(
    name: str, subset: str | None, folder: str | None, split: str
) -> Callable[[], Iterator[Record]]:
    """Load a Hub dataset (`owner/name`); return what yields its records, as often as it is called.

    Raises:
        UserError: it cannot be loaded, or a record of it cannot be decoded.
    """
    from datasets import load_dataset

    with _report_hub(name):
        return partial(_hub_records, load_dataset(name, subset, data_dir=folder, split=split), name)


def _hub_records(dataset: Iterable[Any], name: str) -> Iterator[Record]:
    with _report_hub(name):
        for number, record in enumerate(dataset):
            yield Record(f"{name}[{number}]", _fill(record))


@contextmanager
def _report_hub(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the library raises a dozen types; each means the same to a user
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(
            f"the dataset cannot be loaded: {reason[:300]}",
            where=name,
            fix="check the name, the split and the network, or give a local file",
        ) from None


def column_names(records: Records | Sequence[Record]) -> list[str]:
    """Return the names of all columns, in the order in which records bring them."""
    if isinstance(records, Records):
        return records.columns
    return Records(lambda: records).columns


def require_columns(records: Records | Sequence[Record], columns: Sequence[str]) -> None:
    """Check that at least one record has each column; a lone column may be a bare text.

    Raises:
        UserError: no record has it; the message names the most similar column.
    """
    if not records:
        return
    names = column_names(records)
    available = [name for name in names if name != BARE]
    for column in columns:
        if column in names or (BARE in names and len(columns) == 1):
            continue
        raise UserError(
            f"there is no column {column!r}{did_you_mean(column, available)}",
            where=next(iter(records)).location,
            fix=f"choose from: {list_columns(available)}",
        )


def list_columns(names: Sequence[str]) -> str:
    """Return the names of columns for a message, the first of many."""
    shown = ", ".join(names[:SHOWN_COLUMNS])
    if len(shown) > SHOWN_CHARACTERS:
        shown = f"{shown[:SHOWN_CHARACTERS]}..."
    if len(names) > SHOWN_COLUMNS:
        shown += f" and {len(names) - SHOWN_COLUMNS} more"
    return shown or "nothing"


def missing_column(record: Record, columns: Sequence[str]) -> str:
    """Return why a record lacks one of the columns that others have; "" if it has them all."""
    if record.fault:
        return record.fault
    for column in columns:
        if column not in record.cells and BARE not in record.cells:
            return f"no column {column!r} in the record"
    return ""


def _parquet_records(data: bytes, place: str) -> Iterator[Record]:
    for number, cells in enumerate(read_parquet(data, place), start=1):
        yield Record(f"{place}:{number}", _fill(cells))


def _table_records(rows: Iterable[Row], place: str) -> Iterator[Record]:
    for row in rows:
        yield Record(f"{place}:{row.line}", _fill(row.cells), row.fault)


def _json_records(values: Iterable[Numbered], place: str) -> Iterator[Record]:
    """Yield every record with its line, or its number where the file is one value."""
    for number, value in values:
        kind = no_record(value)
        fault = f"{kind} where an object is expected" if kind else ""
        yield Record(f"{place}:{number}", {} if kind else _fill(value), fault)


def _fill(record: Any) -> dict[str, Any]:
    """Return a record's cells, with "" for empty ones: an empty prompt is dropped and counted."""
    if isinstance(record, str):
        return {BARE: record}
    cells = {}
    for name, value in record.items():
        is_empty = value is None or (isinstance(value, float) and value != value)
        if isinstance(value, str):
            is_empty = bool(value.strip()) and not is_visible(value)
        cells[str(name)] = "" if is_empty else value
    return cells
