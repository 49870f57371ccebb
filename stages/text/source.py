"""Where records come from: the options of every stage that reads a file or a Hub dataset."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import NonNegativeInt

from stages.runtime.errors import UserError
from stages.runtime.rows import Pair, Prompt
from stages.runtime.store import derive_seed
from stages.text.records import SUFFIXES, Record, file_hash, read_file, read_hub

Row = TypeVar("Row", Prompt, Pair)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file or a Hub dataset."""

    source: str
    """A file (jsonl, json, csv, tsv, parquet; plain or .gz) or a Hub dataset `owner/name`."""
    subset: str | None = None
    """Of a Hub dataset: a named configuration."""
    folder: str | None = None
    """Of a Hub dataset: a folder of files, such as hh-rlhf's `harmless-base`."""
    split: str = "train"
    """Of a Hub dataset: which split to read."""


@dataclass(frozen=True, kw_only=True)
class PartialSource(Source):
    """A source, and which part of its rows to take."""

    limit: NonNegativeInt | None = None
    """How many rows to take; null: all."""
    offset: NonNegativeInt = 0
    """How many rows to skip first."""
    shuffle: bool = False
    """Take the rows in a seeded order instead of the source's."""


def source_identity(source: Source, alternatives: str = "") -> dict[str, Any]:
    """Identify a file by its content, and a Hub dataset by its name alone.

    Args:
        alternatives: what else the source may be, for the error message.

    Raises:
        UserError: the source is neither.
    """
    name = source.source
    path = Path(os.path.expanduser(name))
    if os.path.isfile(path):  # unlike Path.is_file, False for what cannot be a path
        return {"source": file_hash(name)}
    if name.count("/") == 1 and not path.suffix and not path.is_absolute():
        return {}
    raise UserError(
        "no such file",
        where=name,
        fix=f"give a file ({', '.join(SUFFIXES)}; also .gz), a Hub id owner/name{alternatives}",
    )


def read_source(source: Source, *columns: str) -> Iterator[Record]:
    """Yield every record of the source.

    Raises:
        UserError: as `read_file` and `read_hub`.
    """
    path = Path(os.path.expanduser(source.source))
    if os.path.isfile(path):
        return read_file(path, *columns)
    return read_hub(source.source, source.subset, source.folder, source.split, *columns)


def without_folder(location: str, source: Source) -> str:
    """Return a record's location for a row: rows do not depend on the folder of their file."""
    return location.removeprefix(f"{Path(os.path.expanduser(source.source)).parent}/")


def take_part(rows: Sequence[Row], source: PartialSource, seed: int) -> list[Row]:
    """Return the rows that `shuffle`, `offset` and `limit` select, in their order."""
    ordered = list(rows)
    if source.shuffle:
        ordered.sort(key=lambda row: derive_seed(seed, row.id))
    return ordered[source.offset :][: source.limit]
