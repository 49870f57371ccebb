"""Stage `prompts`: where requests come from.

In: nothing. Out: Prompt rows; duplicates and empty prompts are dropped and counted.

Besides a file or a Hub dataset, `source` may be a Python function (`package.module:function`,
called with `arguments`, returning {"id", "messages", "kind"} mappings). A run that mixes red-team
and helpful requests has one `prompts` step for each.
"""

import importlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.errors import UserError
from stages.runtime.provenance import module_identity
from stages.runtime.rows import Dropped, Message, Prompt
from stages.runtime.stage import Stage
from stages.text.messages import Turns, content_id, read_prompts
from stages.text.source import (
    PartialSource,
    read_source,
    source_identity,
    take_part,
    without_folder,
)


@dataclass(frozen=True, kw_only=True)
class Config(PartialSource):
    kind: str = "red_team"
    """What the prompts are for: `red_team`, `helpful` or any other word."""
    kind_column: str | None = None
    """The column that holds the kind, such as a benchmark's category; `kind` is for records without
    one.
    """
    column: str = "prompt"
    """The column that holds the prompt (`chosen` for hh-rlhf)."""
    turns: Turns = "last"
    """Which user turns of a conversation become prompts."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """The function's arguments, if `source` is a function."""


def identity(config: Config) -> dict[str, Any]:
    """A function is identified by its module's VERSION and file, others by `source_identity`.

    Raises:
        UserError: the source is none of these; it is reported before anything runs.
    """
    if _is_function(config.source):
        return {"module": module_identity(_module(config.source))}
    return source_identity(config, ", or package.module:function")


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Read, deduplicate by content, order and cut.

    Raises:
        UserError: the source cannot be read or holds no prompt.
    """
    rows: dict[str, Prompt] = {}
    dropped = []
    for location, kind, messages in _read_prompts(config):
        row_id = content_id(messages, location)
        if not messages:
            dropped.append(Dropped(id=location, reason="no user turn"))
        elif row_id in rows:
            dropped.append(Dropped(id=location, reason="duplicate prompt"))
        else:
            rows[row_id] = Prompt(id=row_id, messages=messages, kind=kind, source=location)
    selected = take_part(list(rows.values()), config, context.seed)
    if not selected:
        raise UserError(
            "the source gave no prompt",
            where=config.source,
            fix="check that the file is not empty, and `column`, `offset` and `limit`",
        )
    return Result(rows=selected, row_type=Prompt, dropped=dropped)


STAGE = Stage(version=2, config=Config, run=run, identity=identity)


def _read_prompts(config: Config) -> Iterator[tuple[str, str, list[Message]]]:
    """Yield locations, kinds and messages; the messages are [] where there is no user turn."""
    if _is_function(config.source):
        for item in _call_function(config):
            kind = item.get("kind", config.kind)
            yield config.source, kind, item["messages"]
        return
    columns = [config.column]
    if config.kind_column:
        columns.append(config.kind_column)
    for location, cells in read_source(config, *columns):
        kind = ""
        if config.kind_column:
            kind = str(cells[config.kind_column]).strip()
        short = without_folder(location, config)
        prompts = read_prompts(cells[config.column], config.turns, location)
        for messages in prompts or [[]]:
            yield short, kind or config.kind, messages


def _is_function(source: str) -> bool:
    module, _, function = source.partition(":")
    names = [*module.split("."), function]
    return all(name.isidentifier() for name in names) and not os.path.isfile(source)


def _module(source: str) -> ModuleType:
    try:
        return importlib.import_module(source.partition(":")[0])
    except ImportError as error:
        raise UserError(
            f"the module cannot be imported: {error}",
            where=source,
            fix="give `package.module:function`",
        ) from None


def _call_function(config: Config) -> list[dict[str, Any]]:
    name = config.source.partition(":")[2]
    try:
        function = getattr(_module(config.source), name)
        prompts: list[dict[str, Any]] = function(**config.arguments)
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(
            f"the function cannot be called: {error}",
            where=config.source,
            fix="give a function of that module, and `arguments` it takes",
        ) from None
    return prompts
