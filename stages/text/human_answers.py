"""Stage `human_answers`: answers from a file or a Hub dataset, rated or only written.

In: nothing. Out: where there is a score, Rating rows, from which `kto` (with `threshold`: 0.5 for
good or bad), `rated_pairs`, `best_of` and `ranking` learn; without one, Response rows, from which
`sft` learns. `prompt_id` is the id that `prompts` gives to the same request.

Unpaired answers with a label (KTO, Ethayarajh et al. 2024, arXiv 2402.01306: prompt, completion,
label) get the score 1 or 0. docs/data.md shows the forms that are recognised by their columns:
these, HelpSteer, UltraFeedback, rankings, Alpaca, conversations, and prompt with response; others
are read by naming `prompt`, `answer` and `score`.

Dropped and counted: empty answers, answers without a request or a score, repeated ones, turns of
tools, images. Left out: every answer of a conversation but its last.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from stages.guards.errors import UserError
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context, Drop
from stages.runtime.rows import Dropped, Rating, Response
from stages.runtime.stage import Stage
from stages.runtime.typed_config import SomeNames, Text, as_names, machine
from stages.sources.answers import Answer, Missing, read_answers
from stages.sources.conversations import check_text, content_id
from stages.sources.forms import (
    LIST_FORMS,
    PLAIN_FORMS,
    ROW_FORMS,
    Form,
    find_system,
    recognise,
    unread_columns,
)
from stages.sources.reading import Reading, name_drops, shorten
from stages.sources.records import Record, column_names, require_columns
from stages.sources.sides import Sides
from stages.sources.source import (
    PartialSource,
    read_source,
    source_identity,
    take_part,
    without_folder,
)

Row = Rating | Response

RATER = "people"
"""What stands in `model` where no model rated or answered."""


@dataclass(frozen=True, kw_only=True)
class Config(PartialSource):
    kind: Text = "helpful"
    """A word for what the answers are about: `helpful`, `red_team` or any other."""
    kind_column: Text | None = None
    """The column with each answer's own kind; null: all are of one kind."""
    prompt: SomeNames | None = None
    """The column of the request, or several, joined by a blank line; null: as the form says."""
    system: Text | None = None
    """A column with a system turn to put before the request."""
    answers: Text | None = None
    """A column that lists the answers to a request; null: every record holds one answer."""
    answer: Text | None = None
    """The column of the answer, or with `answers` its key in the list; null: as the form says."""
    reasoning: Text | None = machine(None)
    """A column with the steps that lead to the answer: they are put before it, and learnt."""
    score: SomeNames | None = None
    """The column, or the key, of the score: a number, or true and false; the first that is there
    counts. Null: as the form says.
    """
    rank: bool = False
    """In `score` the lowest is the best; the row's score is then its negative."""
    sides: Sides = "auto"
    """Whether texts beside a prompt are bare `answers` or hold the `whole` conversation; auto looks
    whether all of them begin with their prompt.
    """


def identity(config: Config) -> dict[str, Any]:
    """The file's content, and the reasoning's column, if one is named."""
    reasoning = {"reasoning": config.reasoning} if config.reasoning else {}
    return {**source_identity(config), **reasoning}


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Read, check, deduplicate, order and cut.

    Raises:
        UserError: the source cannot be read, lacks a column, or holds no usable answer.
    """
    rows, dropped, reading = read_rows(config)
    selected = take_part(rows, config, context.seed)
    if not selected:
        raise UserError(
            "the source gave no answer" + name_drops(dropped),
            where=config.source,
            fix="name `prompt`, `answer` and `score`; see `offset`, `limit` and docs/data.md",
        )
    metrics = {
        "prompts": len({row.prompt_id for row in selected}),
        "reading": reading.as_metrics(config.source),
    }
    row_type = type(selected[0])
    return Result(rows=selected, row_type=row_type, dropped=dropped, metrics=metrics)


def read_rows(config: Config, most: int | None = None) -> tuple[list[Row], list[Dropped], Reading]:
    """Return the answers of the source's records, or of the first `most`, before `limit` cuts them.

    Raises:
        UserError: as `run`, but for a source without an answer.
    """
    reading = Reading()
    records = read_source(config, most)
    reading.records = len(records)
    if not records:
        return [], [], reading
    form = _find_form(config, records)
    reading.form = form.name
    reading.note(unread_columns(form, column_names(records)))
    answers, note = read_answers(records, form, config.sides, config.source)
    reading.note(note)
    reading.note(f"system turns: {form.system}" if form.system else "")
    rows: dict[str, Row] = {}
    dropped = []
    samples: Counter[str] = Counter()
    for answer in answers:
        location = without_folder(answer.location, config)
        try:
            row = _make_row(answer, config, samples)
            if row.id in rows:
                raise Drop("duplicate")
        except Drop as drop:
            dropped.append(Dropped(id=location, reason=drop.reason, detail=drop.detail))
            continue
        rows[row.id] = row
        reading.count_turns(row.prompt)
        if not reading.example:
            score = f"answer, score {row.score:g}" if isinstance(row, Rating) else "answer"
            reading.example = shorten([*row.prompt, {"role": score, "content": row.response}])
    return list(rows.values()), dropped, reading


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    gives=Row,
    identity=identity,
    read=read_rows,
)


def _find_form(config: Config, records: Sequence[Record]) -> Form:
    """Return the columns to read: those of the options, or those of a form that the file has.

    Raises:
        UserError: a column is missing, or the columns fit several forms.
    """
    if config.answer is None:
        form = recognise(
            column_names(records),
            (*ROW_FORMS, *LIST_FORMS, *PLAIN_FORMS),
            records[0].location,
            "`prompt` and `answer`, and `score` where there is one",
            "prompt, response",
        )
        if config.score or config.prompt or config.answers or config.rank:
            raise UserError(
                "`prompt`, `answers`, `score` and `rank` go with `answer`",
                where=config.source,
                fix=f"set `answer` too (the columns are those of {form.name})",
            )
        extra = [name for name in (config.system, config.kind_column, config.reasoning) if name]
        require_columns(records, extra)
        system = find_system(form, column_names(records), config.system)
        return replace(form, system=system, reasoning=config.reasoning or form.reasoning)
    form = Form(
        name="answers",
        columns=(),
        prompt=as_names(config.prompt) or (),
        system=config.system or "",
        answers=config.answers or "",
        answer=config.answer,
        reasoning=config.reasoning or "",
        score=as_names(config.score) or (),
        rank=config.rank,
    )
    named = [config.answers] if config.answers else [config.answer, *form.score]
    extra = [name for name in (config.system, config.kind_column, config.reasoning) if name]
    require_columns(records, [*form.prompt, *named, *extra])
    return form


def _make_row(answer: Answer | Missing, config: Config, samples: Counter[str]) -> Row:
    """Return the row of an answer.

    Raises:
        Drop: there is none.
    """
    if isinstance(answer, Missing):
        raise Drop(answer.reason, answer.detail)
    kind = config.kind
    if config.kind_column:
        kind = str(answer.record.value(config.kind_column)).strip() or config.kind
    check_text(kind)
    prompt_id = content_id(answer.prompt, answer.location)
    row_id = content_id([answer.prompt, answer.text, answer.score], answer.location)
    if answer.score is not None:
        return Rating(
            id=row_id,
            response_id="",
            prompt_id=prompt_id,
            kind=kind,
            prompt=answer.prompt,
            response=answer.text,
            score=answer.score,
            principles=[],
            negated=[],
            scores=[],
            model=RATER,
        )
    samples[prompt_id] += 1
    return Response(
        id=row_id,
        prompt_id=prompt_id,
        kind=kind,
        prompt=answer.prompt,
        response=answer.text,
        sample=samples[prompt_id] - 1,
        context=[],
        model=RATER,
        seed=0,
    )
