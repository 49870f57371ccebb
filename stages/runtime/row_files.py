"""Rows on disk: one parquet file of one row type, which the file's metadata names."""

import hashlib
import json
import types
import typing
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from stages.guards.disk import errors_of_writing
from stages.guards.errors import UserError
from stages.guards.secrets import mask
from stages.guards.text import replace_surrogates
from stages.runtime.rows import ROW_TYPES, Dropped, Message

R = TypeVar("R")
Columns = Mapping[type, tuple[str, ...]]
"""By type of row, the columns that are read; of other types all."""

DROPPED = "dropped.parquet"
BATCH = 10_000
"""Rows that are in memory as columns, too."""
_MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string())])
_ARROW_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


class DamagedArtifact(UserError):
    """An artifact that does not hold what its step made."""

    def __init__(self, folder: Path, what: str):
        super().__init__(
            what,
            where=str(folder),
            fix=f"delete {folder} and run again; calls answered before are kept",
        )


@dataclass(frozen=True)
class Unread:
    """The value of a column that a stage does not read: any use of it is an error."""

    column: str

    def _refuse(self, *_: Any) -> NoReturn:
        raise TypeError(f"the stage's `reads` lacks the column {self.column!r}")

    __eq__ = __hash__ = __bool__ = __str__ = __len__ = __iter__ = __lt__ = __gt__ = _refuse
    __getattr__ = __getitem__ = __contains__ = __add__ = __radd__ = __float__ = _refuse


@dataclass(frozen=True)
class StoredRows:
    """Rows that are in their file already, and not in memory."""

    path: Path
    count: int

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Any]:
        return each_row(self.path)


def write_rows(path: Path, rows: Iterable[Any], row_type: type) -> StoredRows:
    """Write `rows` as parquet, a batch at a time as they come. Equal rows give equal bytes."""
    schema = _schema_of(row_type)
    count = 0
    remaining = iter(rows)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while batch := list(islice(remaining, BATCH)):
            for part in _as_batches(batch, schema):
                writer.write_batch(part)
            count += len(batch)
    return StoredRows(path, count)


def write_dropped(folder: Path, dropped: Iterable[Dropped]) -> Counter[str]:
    """Write dropped rows beside an artifact's rows; what servers repeat of secrets is masked.

    Returns:
        How often each reason occurs.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    shown = lru_cache(maxsize=1024)(mask)
    counts: Counter[str] = Counter()

    def mask_each() -> Iterator[Dropped]:
        for row in dropped:
            masked = replace(row, reason=shown(row.reason), detail=shown(row.detail))
            counts[masked.reason] += 1
            yield masked

    with errors_of_writing(folder):
        write_rows(folder / DROPPED, mask_each(), Dropped)
    return counts


def _as_batches(rows: Sequence[Any], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield rows as one batch, or in halves where a column holds more than 2 GB of text."""
    columns: Any = [[getattr(row, name) for row in rows] for name in schema.names]
    try:
        arrays = list(map(pa.array, columns, schema.types))
    except UnicodeEncodeError:  # half of a character
        arrays = list(map(pa.array, replace_surrogates(columns), schema.types))
    if len(rows) > 1 and any(isinstance(array, pa.ChunkedArray) for array in arrays):
        middle = len(rows) // 2
        del columns, arrays
        yield from _as_batches(rows[:middle], schema)
        yield from _as_batches(rows[middle:], schema)
    else:
        yield pa.record_batch(arrays, schema=schema)


def read_rows(path: Path, *allowed: type[R], columns: Columns | None = None) -> list[R]:
    """Return what `each_row` yields.

    Raises:
        UserError: the file is damaged, or holds another type of row.
    """
    return list(each_row(path, *allowed, columns=columns))


def each_row(path: Path, *allowed: type[R], columns: Columns | None = None) -> Iterator[R]:
    """Read rows of one of the `allowed` types, a batch at a time; of any, if none is given.

    Args:
        columns: the columns to read; the others hold an `Unread`. None: all.

    Raises:
        UserError: the file is damaged, or holds another type of row.
    """
    row_type: Any = row_type_of(path)
    if allowed and row_type not in allowed:
        names = " or ".join(cls.__name__ for cls in allowed)
        raise UserError(
            f"holds {row_type.__name__} rows where {names} rows are needed",
            where=path.parent.name,
            fix="wire the step's `inputs` to a step that makes them",
        )
    read = (columns or {}).get(row_type)
    unread = {}
    if read is not None:
        unread = {one.name: Unread(one.name) for one in fields(row_type) if one.name not in read}
    with _report_damage(path):
        for batch in _each_batch(path, row_type, read):
            names = batch.schema.names
            values = [column.to_pylist() for column in batch.columns]
            for row in zip(*values, strict=True):
                yield row_type(**unread, **dict(zip(names, row, strict=True)))


def hash_rows(path: Path, columns: Columns | None = None) -> str:
    """Return a hash of the type, the order and the values of rows, as `read_rows` reads them.

    Raises:
        UserError: the file is damaged.
    """
    row_type = row_type_of(path)
    digest = hashlib.sha256(row_type.__name__.encode())
    for batch in _each_batch(path, row_type, (columns or {}).get(row_type)):
        for row in batch.to_pylist():
            digest.update(b"\n" + json.dumps(row, sort_keys=True).encode())
    return digest.hexdigest()


def _each_batch(
    path: Path, row_type: type[Any], read: Sequence[str] | None
) -> Iterator[pa.RecordBatch]:
    """Yield the rows in batches, with the columns that are there and to be read (None: all)."""
    hints = typing.get_type_hints(row_type)
    with _report_damage(path), pq.ParquetFile(path) as file:
        there = file.schema_arrow.names
        names = [name for name in there if read is None or name in read]
        # Each written batch is a group; two together may hold more text than Arrow reads at once.
        for group in range(file.num_row_groups):
            for batch in file.iter_batches(BATCH, row_groups=[group], columns=names):
                for name in names:
                    if batch.column(name).null_count and not _is_optional(hints[name]):
                        raise ValueError(f"the column {name!r} lacks values")
                yield batch


def count_rows(path: Path) -> int:
    """Return how many rows a file holds, from its metadata.

    Raises:
        UserError: the file is damaged, or holds rows of an unknown type.
    """
    row_type_of(path)
    with _report_damage(path):
        count: int = pq.read_metadata(path).num_rows
    return count


def row_type_of(path: Path) -> type:
    """Return the row type that a file was written with.

    Raises:
        UserError: the file is damaged, or holds rows of an unknown type.
    """
    with _report_damage(path):
        if not path.is_file():
            raise ValueError("it is not a file" if path.exists() else "it is missing")
        schema = pq.read_schema(path)
        name = (schema.metadata or {}).get(b"row_type", b"").decode()
        if name not in ROW_TYPES:
            raise ValueError(f"rows of an unknown type {name!r}")
        row_type = ROW_TYPES[name]
        _check_columns(schema, row_type)
    return row_type


def _check_columns(schema: pa.Schema, row_type: type) -> None:
    """Refuse columns that the rows do not have; those with a default may be missing."""
    expected = _schema_of(row_type)
    for column in schema:
        if column.name not in expected.names or column.type != expected.field(column.name).type:
            raise ValueError(f"the column {column.name!r} is not one of {row_type.__name__} rows")
    for column in fields(row_type):
        has_default = column.default is not MISSING or column.default_factory is not MISSING
        if column.name not in schema.names and not has_default:
            raise ValueError(f"the column {column.name!r} is missing")


def _is_optional(hint: Any) -> bool:
    return type(None) in typing.get_args(hint)


def _schema_of(row_type: type) -> pa.Schema:
    hints = typing.get_type_hints(row_type)
    columns = [(column.name, _arrow_type(hints[column.name])) for column in fields(row_type)]
    return pa.schema(columns, metadata={"row_type": row_type.__name__})


def _arrow_type(annotation: Any) -> pa.DataType:
    if annotation in _ARROW_TYPES:
        return _ARROW_TYPES[annotation]
    if annotation == Message:
        return _MESSAGE
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is list:
        return pa.list_(_arrow_type(arguments[0]))
    if origin in (typing.Union, types.UnionType):  # `float | None`: any column can be null
        return _arrow_type(next(part for part in arguments if part is not type(None)))
    raise TypeError(f"rows cannot hold {annotation!r}")


@contextmanager
def _report_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, TypeError, MemoryError, pa.ArrowException) as error:
        reason = str(error).partition("\n")[0]
        raise DamagedArtifact(path.parent, f"{path.name} is damaged: {reason}") from error
