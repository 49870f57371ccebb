"""Where records come from: the options of every stage that reads a file or a Hub dataset."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from stages.guards.errors import UserError
from stages.guards.files import as_path, exists
from stages.guards.text import replace_surrogates
from stages.runtime.functions import call, find_function, is_function
from stages.runtime.rows import Message, Pair, Prompt, Rating, Response
from stages.runtime.store import derive_fraction, derive_seed
from stages.runtime.typed_config import Amount, Count, Part, Text, machine
from stages.sources.records import SUFFIXES, Record, Records, file_hash, open_hub, open_records

OTHER_SHARE = "in another share"
"""Why a row is dropped that another step reads."""
Row = TypeVar("Row", bound=Prompt | Pair | Rating | Response)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file or a Hub dataset."""

    source: Text
    """A file (jsonl, json, csv, tsv, parquet; plain, .gz, .zst, .bz2 or .xz) or a Hub dataset
    `owner/name`.
    """
    subset: Text | None = None
    """Of a Hub dataset: a named configuration."""
    folder: Text | None = None
    """Of a Hub dataset: a folder of files, such as hh-rlhf's `harmless-base`."""
    split: Text = "train"
    """Of a Hub dataset: which split to read."""
    license: Text | None = machine(None)
    """The licence of the texts, such as `cc-by-4.0`, for the card of a model; null: not known."""
    describe: bool = machine(False)
    """Show in every plan and run what was recognised: the form, rows, drops, and an example."""


@dataclass(frozen=True, kw_only=True)
class PartialSource(Source):
    """A source, and which part of its rows to take."""

    limit: Count | None = None
    """How many rows to take; null: all."""
    offset: Amount = 0
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
    if is_file(source):
        return {"source": file_hash(name)}
    path = as_path(name, "source")
    if name.count("/") == 1 and not path.suffix and not path.is_absolute():
        return {}
    raise UserError(
        "no such file",
        where=name,
        fix=f"give a file ({', '.join(SUFFIXES)}; also .gz), a Hub id owner/name{alternatives}",
    )


def is_file(source: Source) -> bool:
    """Whether the source is a path on this machine; what is no file there is then refused."""
    return exists(source.source)


def read_source(source: Source, most: int | None = None) -> Records:
    """Return the records of the source, or those of its first `most`, tasks as their instances.

    Raises:
        UserError: as `open_records` and `open_hub`.
    """
    if is_file(source):
        read = open_records(as_path(source.source))
    else:
        read = open_hub(source.source, source.subset, source.folder, source.split)

    def read_instances() -> Iterator[Record]:
        for record in islice(read(), most):
            yield from list_instances(record)

    return Records(read_instances)


def read_records(source: Any, most: int | None = None) -> Records:
    """Return the records of a file, a Hub dataset or a function with `source.arguments`.

    Raises:
        UserError: as `read_source`, or a function raises or returns something else.
    """
    path = source.source
    if not is_function(path):
        return read_source(source, most)
    arguments = source.arguments or {}
    items = call(find_function(path, path, **arguments), path, **arguments)
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise UserError(
            "the function gave no list of records",
            where=path,
            fix='return a list of mappings such as {"prompt": ..., "chosen": ..., "rejected": ...}',
        )
    records = [Record(f"{path}[{number}]", item) for number, item in enumerate(items[:most])]
    return Records(lambda: records)


def list_instances(record: Record) -> list[Record]:
    """Return a record for each instance of a task, with the cells of both, or the record itself.

    Self-Instruct's files (Wang et al. 2023, arXiv 2212.10560) list the inputs and outputs of an
    instruction so.
    """
    instances = record.cells.get("instances")
    if not isinstance(instances, list) or "instruction" not in record.cells:
        return [record]
    if not instances or not all(isinstance(item, dict) and "output" in item for item in instances):
        return [record]
    task = {name: value for name, value in record.cells.items() if name != "instances"}
    records = []
    for number, instance in enumerate(instances):
        place = f"[{number}]" if len(instances) > 1 else ""
        cells = {**task, "input": "", **instance}
        records.append(record._replace(location=f"{record.location}{place}", cells=cells))
    return records


def without_folder(location: str, source: Source) -> str:
    """Return a record's location for a row: rows do not depend on the folder of their file."""
    folder = Path(os.path.expanduser(replace_surrogates(source.source))).parent
    return location.removeprefix(f"{folder}/")


def in_share(prompt: Sequence[Message], share: Part) -> bool:
    """Return whether a conversation lies in a share, by a hash of its first user turn in [0, 1).

    The place is the same for any source, stage and seed of the run.
    """
    openings = (message["content"] for message in prompt if message["role"] == "user")
    opening = next(openings, "")
    return share[0] <= derive_fraction("human_pairs", opening) < share[1]


def take_part(rows: Iterable[Row], source: PartialSource, seed: int) -> Iterator[Row]:
    """Yield the rows that `shuffle`, `offset` and `limit` select, in their order.

    All rows are read, also those behind the last one that is selected.
    """
    if source.shuffle:
        rows = sorted(rows, key=lambda row: derive_seed(seed, row.id))
    end = None if source.limit is None else source.offset + source.limit
    for number, row in enumerate(rows):
        if source.offset <= number and (end is None or number < end):
            yield row
