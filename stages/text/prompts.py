"""Stage `prompts`: where requests come from.

In: nothing. Out: Prompt rows, duplicates and empty ones dropped and counted.

`source` is a file (jsonl, json, csv, tsv, parquet; plain or .gz), a Hub dataset id (`owner/name`)
or a Python function (`package.module:function`, called with `arguments`, returning {"id",
"messages", "kind"} mappings). A run that mixes red-team and helpful requests has one `prompts` step
for each.
"""

import importlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Annotated, Any, Literal

from pydantic import Field

from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.errors import UserError
from stages.runtime.provenance import module_identity
from stages.runtime.rows import Dropped, Message, Prompt
from stages.runtime.stage import Stage
from stages.runtime.store import derive_seed
from stages.text.prompt_files import (
    content_id,
    conversations,
    read_source,
    source_identity,
    without_folder,
)


@dataclass(frozen=True)
class Config:
    """Args:
    source: file, Hub id or function; see above.
    kind: what the prompts are for: `red_team`, `helpful` or a word of yours.
    kind_column: the field that holds the kind, such as a benchmark's category; `kind` is for those
        without one.
    column: which field of a record holds the prompt (`chosen` for hh-rlhf).
    turns: which user turns of a conversation become prompts.
    subset, folder, split: of a Hub dataset: a named configuration, or a folder of files (hh-rlhf's
        `harmless-base`).
    limit, offset: how many to take, and how many to pass over first.
    shuffle: take them in a seeded order instead of the source's.
    arguments: for a function.
    """

    source: str
    kind: str = "red_team"
    kind_column: str | None = None
    column: str = "prompt"
    turns: Literal["last", "first", "each"] = "last"
    subset: str | None = None
    folder: str | None = None
    split: str = "train"
    limit: Annotated[int, Field(ge=0)] | None = None
    offset: Annotated[int, Field(ge=0)] = 0
    shuffle: bool = False
    arguments: dict[str, Any] = field(default_factory=dict)


def identity(config: Config) -> dict[str, Any]:
    """A file is known by its content, a function by its module's VERSION and text, a Hub dataset by
    its name.

    Raises:
        UserError: the source is none of these, told before anything runs.
    """
    if _is_function(config.source) and not os.path.isfile(config.source):
        return {"module": module_identity(_module(config.source))}
    return source_identity(config.source, ", or package.module:function")


def _module(source: str) -> ModuleType:
    try:
        return importlib.import_module(source.partition(":")[0])
    except ImportError as error:
        raise UserError(
            f"the module cannot be imported: {error}",
            where=source,
            fix="give `package.module:function`",
        ) from None


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Read, deduplicate by content, order and cut.

    Raises:
        UserError: the source cannot be read or holds no prompt.
    """
    rows: dict[str, Prompt] = {}
    dropped = []
    for where, kind, conversation in _conversations(config):
        name = content_id(conversation, where)
        if not conversation:
            dropped.append(Dropped(id=where, reason="no user turn"))
        elif name in rows:
            dropped.append(Dropped(id=where, reason="duplicate prompt"))
        else:
            rows[name] = Prompt(id=name, messages=conversation, kind=kind, source=where)
    kept = list(rows.values())
    if config.shuffle:
        kept.sort(key=lambda row: derive_seed(context.seed, row.id))
    kept = kept[config.offset :][: config.limit]
    if not kept:
        raise UserError(
            "the source gave no prompt",
            where=config.source,
            fix="check that the file is not empty, and `column`, `offset` and `limit`",
        )
    return Result(rows=kept, row_type=Prompt, dropped=dropped)


STAGE = Stage(
    version=2,
    config=Config,
    run=run,
    identity=identity,
)


def _is_function(source: str) -> bool:
    module, _, function = source.partition(":")
    return function.isidentifier() and all(part.isidentifier() for part in module.split("."))


def _conversations(config: Config) -> Iterator[tuple[str, str, list[Message]]]:
    if _is_function(config.source):
        for made in _call(config):
            yield config.source, made.get("kind", config.kind), made["messages"]
        return
    columns = [config.column, *([config.kind_column] if config.kind_column else [])]
    for where, value, *kinds in read_source(
        config.source, config.subset, config.folder, config.split, *columns
    ):
        kind = " ".join(str(kind).strip() for kind in kinds) or config.kind
        for conversation in conversations(value, config.turns, where) or [[]]:
            yield without_folder(where, config.source), kind, conversation


def _call(config: Config) -> list[dict[str, Any]]:
    function = config.source.partition(":")[2]
    try:
        return getattr(_module(config.source), function)(**config.arguments)
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(
            f"the function cannot be called: {error}",
            where=config.source,
            fix="give a function of that module, and `arguments` it takes",
        ) from None
