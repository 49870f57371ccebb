"""Stage `human_answers`: answers from a file or a Hub dataset, rated or only written.

In: nothing. Out: where there is a score, Rating rows, from which `kto` (with `threshold`: 0.5 for
good or bad), `rated_pairs`, `best_of` and `ranking` learn; without one, Response rows, from which
`sft` learns. `prompt_id` is the id that `prompts` gives to the same request.

Unpaired answers with a label (KTO, Ethayarajh et al. 2024, arXiv 2402.01306: prompt, completion,
label) get the score 1 or 0. docs/data.md shows the forms that are recognised by their columns:
these, HelpSteer, UltraFeedback, rankings, Alpaca, conversations, and prompt with response; others
are read by naming `prompt`, `answer` and `score`.

With `flags` (BeaverTails, Ji et al. 2023, arXiv 2307.04657) people say of each category of harm
whether an answer falls into it: a row's `scores` are 1 for each category that it stays out of,
under the category's name as a principle's id, and its `score` is the least of them, so that an
answer is harmless only if no category is flagged. `rule_model` learns from such rows.

With `constitution` people say of each principle whether an answer speaks for it (1), against it
(-1) or does neither (0), as in Value FULCRA (Yao et al. 2024, arXiv 2311.10766) and Touche's
arguments (Mirzakhmedova et al. 2023, arXiv 2301.13771): a row has a score for each principle that
was labelled, and their mean as its own. Odd labels are read or left out, and counted.

`source` may be a function `package.module:function` that returns such records.

Dropped and counted: empty answers, answers without a request or a score, repeated ones, a score
that contradicts the flags, turns of tools, images. Left out: every answer of a conversation but its
last.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from stages.guards.errors import UserError
from stages.principles.faults import slug
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context, Drop
from stages.runtime.functions import find_function, function_identity, is_function
from stages.runtime.rows import Dropped, Rating, Response
from stages.runtime.stage import Stage
from stages.runtime.typed_config import SomeNames, Text, as_names, machine
from stages.sources.answers import Answer, Missing, read_answers
from stages.sources.cells import NotStructured, parse_structured
from stages.sources.conversations import check_text, content_id
from stages.sources.forms import (
    LIST_FORMS,
    PLAIN_FORMS,
    ROW_FORMS,
    Form,
    find_system,
    recognise,
)
from stages.sources.reading import Reading, name_drops, shorten, unread_columns
from stages.sources.records import Record, column_names, list_columns, require_columns
from stages.sources.sides import Sides
from stages.sources.source import (
    PartialSource,
    read_records,
    source_identity,
    take_part,
    without_folder,
)
from stages.sources.verdicts import read_label, read_labels

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
    flags: SomeNames | None = machine(None)
    """The column that maps each category to true or false, or a column for each; null: as the form
    says.
    """
    constitution: Selection | None = machine(None)
    """The principles that people labelled from -1 to 1; null: the file has no such labels."""
    labels: SomeNames | None = machine(None)
    """The column that lists (`security: -1`) or maps them, or a column for each; null: as the form
    says, or the columns that are called as a principle or its dimension.
    """
    arguments: dict[str, Any] | None = machine(None)
    """Of `source`, where it is a function."""
    rank: bool = False
    """In `score` the lowest is the best; the row's score is then its negative."""
    sides: Sides = "auto"
    """Whether texts beside a prompt are bare `answers` or hold the `whole` conversation; auto looks
    whether all of them begin with their prompt.
    """


def identity(config: Config) -> dict[str, Any]:
    """The file's or the function's content, and the columns and principles, if named."""
    named = {
        "reasoning": config.reasoning,
        "flags": config.flags,
        "arguments": config.arguments,
        "labels": config.labels,
        "principles": _principle_names(config),
    }
    facts = {name: value for name, value in named.items() if value}
    if is_function(config.source):
        find_function(config.source, config.source, **(config.arguments or {}))
        return {"module": function_identity(config.source), **facts}
    return {**source_identity(config, ", or package.module:function"), **facts}


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Read, check, deduplicate, order and cut.

    Raises:
        UserError: the source cannot be read, lacks a column, or holds no usable answer.
    """
    rows, dropped, reading = read_rows(config)
    selected = list(take_part(rows, config, context.seed))
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
    warnings = []
    if config.constitution:
        metrics |= {"labels": _count_labels(selected), "odd_labels": dict(reading.labels)}
        odd = [f"{n} x {reason}" for reason, n in reading.labels.most_common() if n]
        warnings = [f"of the labels: {'; '.join(odd)}"] if odd else []
    row_type = type(selected[0])
    return Result(
        rows=selected, row_type=row_type, dropped=dropped, metrics=metrics, warnings=warnings
    )


def read_rows(config: Config, most: int | None = None) -> tuple[list[Row], list[Dropped], Reading]:
    """Return the answers of the source's records, or of the first `most`, before `limit` cuts them.

    Raises:
        UserError: as `run`, but for a source without an answer.
    """
    reading = Reading()
    records = list(read_records(config, most))
    reading.records = len(records)
    if not records:
        return [], [], reading
    form = _find_form(config, records)
    reading.form = form.name
    reading.note(unread_columns(form, column_names(records)))
    answers, note = read_answers(records, form, config.sides, config.source)
    reading.note(note)
    reading.note(f"system turns: {form.system}" if form.system else "")
    names = _principle_names(config)
    rows: dict[str, Row] = {}
    dropped = []
    samples: Counter[str] = Counter()
    for answer in answers:
        location = without_folder(answer.location, config)
        try:
            row = _make_row(answer, config, form, samples, names, reading.labels)
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
    flags = as_names(config.flags) if config.flags else ()
    labels = as_names(config.labels) if config.labels else ()
    if labels and not config.constitution:
        raise UserError(
            "`labels` are labels of principles, and there are none",
            where=config.source,
            fix="name them: constitution: {name: schwartz}",
        )
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
        require_columns(records, [*extra, *flags, *labels])
        system = find_system(form, column_names(records), config.system)
        reasoning = config.reasoning or form.reasoning
        form = replace(form, system=system, reasoning=reasoning, flags=flags or form.flags)
        return _with_labels(form, config, labels or form.labels, records)
    form = Form(
        name="answers",
        columns=(),
        prompt=as_names(config.prompt) or (),
        system=config.system or "",
        answers=config.answers or "",
        answer=config.answer,
        reasoning=config.reasoning or "",
        score=as_names(config.score) or (),
        flags=flags,
        rank=config.rank,
    )
    named = [config.answers] if config.answers else [config.answer, *form.score]
    extra = [name for name in (config.system, config.kind_column, config.reasoning) if name]
    require_columns(records, [*form.prompt, *named, *extra, *flags, *labels])
    return _with_labels(form, config, labels, records)


def _with_labels(
    form: Form, config: Config, labels: Sequence[str], records: Sequence[Record]
) -> Form:
    """Return the form with the columns of the labels, if any are to be read.

    Raises:
        UserError: there is no such column.
    """
    names = _principle_names(config)
    if not names:
        return replace(form, labels=())
    columns = column_names(records)
    labels = tuple(labels) or tuple(name for name in columns if slug(name) in names)
    if not labels:
        raise UserError(
            "there is no column with labels of the principles",
            where=records[0].location,
            fix=f"set `labels`; the columns are {list_columns(columns)}",
        )
    return replace(form, labels=labels)


def _principle_names(config: Config) -> dict[str, str]:
    """Return the ids of the principles by the slugs of their names, the ids first."""
    if not config.constitution:
        return {}
    principles = select(config.constitution).principles
    names = {principle.id: principle.id for principle in principles}
    for principle in principles:
        names.setdefault(slug(principle.dimension or principle.id), principle.id)
    return names


def _count_labels(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    """Return, for each principle, how often it has each label."""
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        if isinstance(row, Rating):
            for name, score in zip(row.principles, row.scores, strict=True):
                counts.setdefault(name, Counter())[f"{score:g}"] += 1
    return {name: dict(sorted(each.items())) for name, each in counts.items()}


def _make_row(
    answer: Answer | Missing,
    config: Config,
    form: Form,
    samples: Counter[str],
    names: Mapping[str, str],
    odd: Counter[str],
) -> Row:
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
    clear = _clear_categories(answer.record, form.flags) if form.flags else {}
    scores = list(clear.values())
    content = [answer.prompt, answer.text, answer.score, *([clear] if clear else [])]
    row_id = content_id(content, answer.location)
    score = min(scores) if scores else answer.score
    if answer.score not in (None, score):
        raise Drop("its score contradicts its categories")
    if form.labels:
        clear = read_labels(answer.record, form.labels, names, odd)
        if not clear:
            raise Drop("no label of a principle")
        scores = list(clear.values())
        score = fmean(scores) if score is None else score
    if score is not None:
        return Rating(
            id=row_id,
            response_id="",
            prompt_id=prompt_id,
            kind=kind,
            prompt=answer.prompt,
            response=answer.text,
            score=score,
            principles=list(clear),
            negated=[False] * len(clear),
            scores=scores,
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


def _clear_categories(record: Record, columns: Sequence[str]) -> dict[str, float]:
    """Return, by a category's name as an id, 1.0 where the answer stays out of it, else 0.0.

    Raises:
        Drop: there is no category, or one that is neither flagged nor clear.
    """
    cells: Any = {name: record.value(name) for name in columns}
    if len(columns) == 1:
        cells = record.value(columns[0])
        if isinstance(cells, str):
            try:
                cells, _ = parse_structured(cells)
            except NotStructured:
                cells = None
    if not isinstance(cells, Mapping) or not cells:
        raise Drop("no mapping of categories to true or false")
    clear = {}
    for name, cell in cells.items():
        flagged = read_label(cell)
        if flagged is None:
            raise Drop("a category that is neither true nor false", str(name))
        clear[slug(str(name))] = float(not flagged)
    return clear
