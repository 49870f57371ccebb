"""Stage `prompts`: where requests come from.

In: nothing. Out: Prompt rows; duplicates, empty prompts, and conversations that Credo cannot read
(turns of tools, images) are dropped and counted. docs/data.md shows which files are read, and how.

Besides a file or a Hub dataset, `source` may be a Python function (`package.module:function`,
called with `arguments`, returning {"id", "messages", "kind"} mappings). A run that mixes red-team
and helpful requests has one `prompts` step for each.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from stages.guards.errors import UserError
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context, Drop
from stages.runtime.functions import call, find_function, function_identity, is_function
from stages.runtime.rows import Dropped, Message, Prompt
from stages.runtime.stage import Stage
from stages.runtime.typed_config import Part, SomeNames, Text, as_names, show_value
from stages.sources.answers import prompt_cell
from stages.sources.conversations import (
    Turns,
    check_text,
    content_id,
    find_style,
    read_messages,
    read_prompts,
)
from stages.sources.forms import PROMPT_FORMS, Form, find_system, recognise
from stages.sources.reading import Reading, name_drops, shorten, unread_columns
from stages.sources.records import (
    BARE,
    Records,
    column_names,
    missing_column,
    require_columns,
)
from stages.sources.sides import with_system
from stages.sources.source import (
    OTHER_SHARE,
    PartialSource,
    in_share,
    read_source,
    source_identity,
    take_part,
    without_folder,
)

MOST_PROMPTS = 2**20
"""Of a function: one that gives more may never end."""
TURN = {"role", "content"}
ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, kw_only=True)
class Config(PartialSource):
    kind: Text = "red_team"
    """What the prompts are for: `red_team`, `helpful` or any other word."""
    kind_column: Text | None = None
    """The column that holds the kind, such as a benchmark's category; `kind` is for records without
    one.
    """
    column: SomeNames = ("prompt",)
    """The column that holds the prompt (`chosen` for hh-rlhf), or several, joined by a blank line
    (`[instruction, input]`). A file without a column `prompt` is recognised by its columns, if it
    has one of the forms in docs/data.md.
    """
    system: Text | None = None
    """A column with a system turn to put before the prompt."""
    turns: Turns = "last"
    """Which user turns of a conversation become prompts."""
    share: Part = (0.0, 1.0)
    """Half-open part [from, to) of the conversations, as in `human_pairs`: with disjoint shares,
    the two have no dialogue in common.
    """
    arguments: dict[str, Any] = field(default_factory=dict)
    """The function's arguments, if `source` is a function."""


def identity(config: Config) -> dict[str, Any]:
    """A function is identified by its module's VERSION and file, others by `source_identity`.

    Raises:
        UserError: the source is none of these; it is reported before anything runs.
    """
    if is_function(config.source):
        find_function(config.source, config.source, **config.arguments)
        return {"module": function_identity(config.source)}
    return source_identity(config, ", or package.module:function")


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Read, deduplicate by content, order and cut.

    Raises:
        UserError: the source cannot be read or holds no prompt.
    """
    dropped: list[Dropped] = []
    reading = Reading()
    rows = _each_prompt(config, dropped, reading)
    stored = context.store_rows(take_part(rows, config, context.seed), Prompt)
    if not stored:
        raise UserError(
            "the source gave no prompt" + name_drops(dropped),
            where=config.source,
            fix="check that the file is not empty, and `column`, `offset` and `limit`",
        )
    metrics = {"reading": reading.as_metrics(config.source)}
    return Result(rows=stored, row_type=Prompt, dropped=dropped, metrics=metrics)


def read_rows(
    config: Config, most: int | None = None
) -> tuple[list[Prompt], list[Dropped], Reading]:
    """Return the prompts of the source's records, or of the first `most`, before `limit` cuts them.

    Raises:
        UserError: the source cannot be read, or lacks a column.
    """
    dropped: list[Dropped] = []
    reading = Reading()
    rows = list(_each_prompt(config, dropped, reading, most))
    return rows, dropped, reading


STAGE = Stage(
    version=3,
    config=Config,
    run=run,
    gives=Prompt,
    identity=identity,
    read=read_rows,
    meant_to_drop=(OTHER_SHARE,),
)

Located = tuple[str, str, list[Message]]
"""Location, kind and messages."""


def _each_prompt(
    config: Config, dropped: list[Dropped], reading: Reading, most: int | None = None
) -> Iterator[Prompt]:
    """Yield the prompts of the source; drop and count as they pass."""
    seen: set[str] = set()
    for item in _read_prompts(config, reading, most):
        if isinstance(item, Dropped):
            dropped.append(item)
            continue
        location, kind, messages = item
        if not in_share(messages, config.share):
            dropped.append(Dropped(id=location, reason=OTHER_SHARE))
            continue
        row_id = content_id(messages, location)
        if row_id in seen:
            dropped.append(Dropped(id=location, reason="duplicate prompt"))
            continue
        seen.add(row_id)
        reading.count_turns(messages)
        if not reading.example:
            reading.example = shorten(messages)
        yield Prompt(id=row_id, messages=messages, kind=kind, source=location)


def _read_prompts(
    config: Config, reading: Reading, most: int | None
) -> Iterator[Located | Dropped]:
    """Yield the prompts of every record, or why there are none."""
    if is_function(config.source):
        items = _call_function(config)
        reading.form, reading.records = "a function", len(items)
        for item in items:
            yield config.source, item.get("kind", config.kind), item["messages"]
        return
    records = read_source(config, most)
    reading.records = len(records)
    if not records:
        return
    form = _find_form(config, records)
    reading.form = form.name
    reading.note(unread_columns(form, column_names(records)))
    reading.note(f"system turns: {form.system}" if form.system else "")
    style = find_style(prompt_cell(record, form.prompt) for record in records)
    for record in records:
        location = without_folder(record.location, config)
        try:
            kind = str(record.value(config.kind_column)).strip() if config.kind_column else ""
            check_text(kind)
            fault = missing_column(record, form.prompt)
            if fault:
                raise Drop(fault)
            cell = prompt_cell(record, form.prompt)
            prompts = read_prompts(cell, config.turns, style)
            if not prompts:
                raise Drop("no user turn")
            system = record.value(form.system) if form.system else ""
            prompts = [with_system(messages, system) for messages in prompts]
        except Drop as drop:
            yield Dropped(id=location, reason=drop.reason, detail=drop.detail)
            continue
        reading.cells[read_messages(cell, style)[1]] += 1
        for messages in prompts:
            yield location, kind or config.kind, messages


def _find_form(config: Config, records: Records) -> Form:
    """Return the columns to read: those of the options, or those of a form that the file has.

    Raises:
        UserError: a column is missing, or the columns fit several forms.
    """
    columns = column_names(records)
    prompt = as_names(config.column)
    form = Form(name=f"column {' + '.join(prompt)}", columns=(), prompt=prompt)
    if prompt == ("prompt",) and "prompt" not in columns and BARE not in columns:
        form = recognise(columns, PROMPT_FORMS, next(iter(records)).location, "`column`", "prompt")
    own = as_names(config.column) != ("prompt",)
    system = find_system(form, () if own else columns, config.system)
    named = [*form.prompt, *filter(None, [config.kind_column, system])]
    require_columns(records, named)
    return replace(form, system=system)


def _call_function(config: Config) -> list[Mapping[str, Any]]:
    """Return what the function gives, checked.

    Raises:
        UserError: it raises, gives no list of prompts, or never ends.
    """
    path = config.source
    function = find_function(path, path, **config.arguments)

    def collect() -> list[Any]:
        return list(islice(function(**config.arguments), MOST_PROMPTS + 1))

    items = call(collect, path)
    if len(items) > MOST_PROMPTS:
        fault = f"more than {MOST_PROMPTS} prompts, or without end"
    else:
        wrong = [item for item in items if not _is_prompt(item)]
        fault = f"{show_value(wrong[0])}, which is no prompt" if wrong else ""
    if fault:
        raise UserError(
            f"the function gave {fault}",
            where=path,
            fix='return a list of {"messages": [{"role": ..., "content": ...}], "kind": ...}',
        )
    return items


def _is_prompt(item: Any) -> bool:
    """Whether an item of a function is a conversation of texts that the user has begun."""
    if not isinstance(item, Mapping) or not isinstance(item.get("kind", ""), str):
        return False
    messages = item.get("messages")
    if not isinstance(messages, list) or not messages:
        return False
    turns = [turn for turn in messages if isinstance(turn, Mapping) and turn.keys() == TURN]
    texts = [text for turn in turns for text in turn.values() if isinstance(text, str)]
    return len(texts) == 2 * len(messages) and all(turn["role"] in ROLES for turn in turns)
