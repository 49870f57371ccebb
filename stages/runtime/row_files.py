"""Rows on disk: one parquet file of one row type, which the file's metadata names."""

import types
import typing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from stages.guards.errors import UserError
from stages.guards.text import replace_surrogates
from stages.runtime.rows import ROW_TYPES, Message

R = TypeVar("R")

_MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string())])
_ARROW_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


def write_rows(path: Path, rows: Sequence[Any], row_type: type) -> None:
    """Write `rows` as parquet. Equal rows give equal bytes."""
    plain = [asdict(row) for row in rows]
    schema = _schema_of(row_type)
    try:
        table = pa.Table.from_pylist(plain, schema=schema)
    except UnicodeEncodeError:  # half of a character
        table = pa.Table.from_pylist(replace_surrogates(plain), schema=schema)
    pq.write_table(table, path, compression="zstd")


def read_rows(path: Path, *allowed: type[R]) -> list[R]:
    """Read rows of one of the `allowed` types; of any, if none is given.

    Raises:
        UserError: the file is damaged, or holds another type of row.
    """
    row_type = row_type_of(path)
    if allowed and row_type not in allowed:
        names = " or ".join(cls.__name__ for cls in allowed)
        raise UserError(
            f"holds {row_type.__name__} rows where {names} rows are needed",
            where=path.parent.name,
            fix="wire the step's `inputs` to a step that makes them",
        )
    with _report_damage(path):
        return [row_type(**row) for row in pq.read_table(path).to_pylist()]


def row_type_of(path: Path) -> type:
    """Return the row type that a file was written with.

    Raises:
        UserError: the file is damaged, or holds rows of an unknown type.
    """
    with _report_damage(path):
        metadata = pq.read_schema(path).metadata or {}
        name = metadata.get(b"row_type", b"").decode()
    if name not in ROW_TYPES:
        raise UserError(
            f"rows of an unknown type {name!r}",
            where=str(path),
            fix="delete the artifact's folder and run again",
        )
    return ROW_TYPES[name]


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
    except (OSError, ValueError, TypeError, pa.ArrowException) as error:
        raise UserError(
            f"{path.name} is damaged: {str(error).partition(chr(10))[0]}",
            where=str(path.parent),
            fix=f"delete {path.parent} and run again; calls answered before are kept",
        ) from error
