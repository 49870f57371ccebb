"""Multiple-choice questions from files with any columns and any notation of the right option.

In: a file or Hub dataset and the names of its columns. Out: `Question`s, and the dropped rows.

    one column of options   a list, also in JSON or as Python prints it (GlobalOpinionQA), or a
                            mapping by letter
    no column               the same `options` for all questions (ETHICS, SCRUPLES)
    several columns         one option each (BBQ: ans0, ans1, ans2); an empty cell is not an option
    people                  a mapping from groups to the fraction of their people for each option,
                            or votes for each option, and no `gold` (GlobalOpinionQA, SCRUPLES)
    correct, incorrect      a text or a list of texts each, and no `gold`
    transcripts             `question: null`: two columns of hh-rlhf transcripts that share all but
                            the last turn, the question being the conversation and the options its
                            last turns (Anthropic's HHH evaluations)

`gold` is the option's number (from `first`), its letter, its own label or its text; which of these
is decided once for the whole column (`choice_gold.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from string import ascii_uppercase
from typing import Any

from stages.evaluation.benchmarks.choice_cells import (
    people_shares,
    read_gold_file,
    read_options,
)
from stages.evaluation.benchmarks.choice_gold import EMPTY, Gold, GoldForm, Options, read_gold
from stages.guards.errors import UserError
from stages.runtime.context import Drop
from stages.runtime.rows import Dropped, request_text
from stages.runtime.typed_config import Names, SomeNames, Text, machine
from stages.sources.cells import is_empty, plain_text
from stages.sources.conversations import (
    Style,
    check_text,
    content_id,
    find_style,
    read_messages,
    read_prompts,
    refuse_unreadable,
)
from stages.sources.reading import Reading
from stages.sources.records import Record, missing_column, require_columns
from stages.sources.sides import is_list
from stages.sources.source import Source, read_source, without_folder


@dataclass(frozen=True, kw_only=True)
class Columns(Source):
    """A source of questions, and the columns that hold them."""

    split: Text = "test"
    """The split of a Hub dataset to read."""
    question: SomeNames | None = ("question",)
    """The column of the question, or several, joined by line breaks (BBQ: context, question).

    Null: `correct` and `incorrect` are transcripts.
    """
    choices: SomeNames = ("choices",)
    """A column that lists the options, or a column for each."""
    options: Names = machine(())  # `identity` adds it, if set
    """The options of every question, where no column has them (ETHICS: wrong or not)."""
    gold: Text | None = "answer"
    """The column of the right option: its number, letter or text.

    Null: there is no gold label, and only positions are reported.
    """
    first: int | None = None
    """The number of the first option; null: 0, or 1 where no column of numbers from 0 would fit."""
    gold_is: GoldForm = "auto"
    """What all cells of `gold` hold; auto: the one reading that fits all of them."""
    correct: Text | None = None
    """A column of right options, in place of `choices` and `gold`."""
    incorrect: Text | None = None
    """A column of wrong options; it goes with `correct`."""
    group: Text | None = None
    """A column to split results by, such as a category."""
    people: Text | None = None
    """A column of how people answered, {group: [share, one an option]}; in place of `gold`."""
    answers: Text | None = None
    """A JSON file of right answers by `key`, in place of the column `gold`.

    An answer may be an object whose field `gold` names.
    """
    key: Text = "id"
    """The column that names a question in `answers`."""


@dataclass(frozen=True)
class Question:
    """One question and its options."""

    id: str
    text: str
    options: list[str]
    gold: list[int]
    """The places of the right options; empty: there is no gold label."""
    group: str
    people: dict[str, list[float]] = field(default_factory=dict)
    """The fraction of people for each option, by group."""


def check_columns(columns: Columns, where: str) -> None:
    """Check that the options of a source fit together.

    Raises:
        UserError: they do not.
    """
    if (columns.correct is None) != (columns.incorrect is None):
        raise UserError(
            "`correct` and `incorrect` must be set together",
            where=where,
            fix="set both, or neither",
        )
    if columns.options and columns.correct:
        raise UserError(
            "`options` are those of every question, and `correct` is a column of them",
            where=where,
            fix="leave one of the two out",
        )
    if columns.question is None and columns.correct is None:
        raise UserError(
            "without a question column the options must be transcripts",
            where=where,
            fix="set `question` to a column, or `correct` and `incorrect` to columns of "
            "transcripts",
        )


def read_questions(columns: Columns) -> tuple[list[Question], list[Dropped]]:
    """Each question once, in the file's order.

    Raises:
        UserError: the file cannot be read, a column is missing, a cell has the wrong form, or the
            right answers cannot all be read in one way.
    """
    questions, dropped, _ = read_rows(columns)
    return questions, dropped


def read_rows(
    columns: Columns, most: int | None = None
) -> tuple[list[Question], list[Dropped], Reading]:
    """As `read_questions`, of the first `most` records, and how they were read."""
    records = list(read_source(columns, most))
    reading = Reading(form="questions with options", records=len(records))
    require_columns(records, _names(columns))
    answers = read_gold_file(columns.answers) if columns.answers else {}
    style = find_style([record.value(columns.correct or "") for record in records])
    drafts = []
    dropped = []
    for record in records:
        try:
            fault = missing_column(record, _names(columns))
            if fault:
                raise Drop(fault)
            drafts.append(_read_draft(record, columns, answers, style))
        except Drop as drop:
            location = without_folder(record.location, columns)
            dropped.append(Dropped(id=location, reason=drop.reason, detail=drop.detail))
    golds = [draft.answer for draft in drafts if draft.answer is not None]
    name = columns.gold or columns.answers or ""
    places, note = read_gold(golds, columns.gold_is, columns.first, name)
    reading.note(note)
    questions = _finish(drafts, places, columns, dropped)
    if questions:
        reading.example = _example(questions[0])
    return questions, dropped, reading


@dataclass(frozen=True)
class _Draft:
    """A question whose right option may still have to be read with those of the others."""

    where: str
    question: Question
    answer: Gold | None = None


def _finish(
    drafts: Sequence[_Draft], places: Sequence[int], columns: Columns, dropped: list[Dropped]
) -> list[Question]:
    """Give every question its right option, and leave out those that are repeated."""
    remaining = iter(places)
    questions: dict[str, Question] = {}
    for draft in drafts:
        question = draft.question
        if draft.answer is not None:
            question = replace(question, gold=[next(remaining)])
        reason = ""
        if EMPTY in question.gold:
            reason = "the right option is empty"
        elif question.id in questions:
            reason = "duplicate question"
            if questions[question.id].gold != question.gold:
                reason = "duplicate question with another right option"
        if reason:
            location = without_folder(draft.where, columns)
            dropped.append(Dropped(id=location, reason=reason))
        else:
            questions[question.id] = question
    return list(questions.values())


def _example(question: Question) -> list[dict[str, str]]:
    lines = [{"role": "question", "content": question.text}]
    for place, option in enumerate(question.options):
        role = "right option" if place in question.gold else "option"
        lines.append({"role": role, "content": option})
    return lines


def _names(columns: Columns) -> list[str]:
    """The columns that the options name."""
    names: list[str | None] = list(columns.question or ())
    if columns.correct:
        names += [columns.correct, columns.incorrect]
    elif not columns.options:
        names += columns.choices
    if columns.answers:
        names.append(columns.key)
    elif not columns.correct:
        names.append(columns.people or columns.gold)
    names.append(columns.group)
    return [name for name in names if name]


def _read_draft(
    record: Record, columns: Columns, answers: Mapping[str, Any], style: Style
) -> _Draft:
    """The question that a record holds.

    Raises:
        Drop: it holds no question that can be asked.
    """
    where = record.location
    text, options, gold = _read_parts(record, columns, style)
    if len(options.texts) < 2:
        raise Drop("fewer than two options")
    if len(options.texts) > len(ascii_uppercase):
        raise Drop("more than 26 options")
    answer = None
    if not columns.correct and not columns.people:
        answer = _read_answer(record, columns, answers, options)
    group = plain_text(record.value(columns.group)) if columns.group else ""
    check_text("".join([text, group, *options.texts]))
    people = {}
    if columns.people:
        people = people_shares(record.value(columns.people), options, where)
    question = Question(
        id=content_id([text, options.texts], where),
        text=text,
        options=options.texts,
        gold=gold,
        group=group,
        people=people,
    )
    return _Draft(where, question, answer)


def _read_answer(
    record: Record, columns: Columns, answers: Mapping[str, Any], options: Options
) -> Gold | None:
    """The right answer as it stands in the column, or in the file of answers.

    Raises:
        Drop: there is none.
    """
    if columns.answers:
        key = str(record.value(columns.key))
        if key not in answers:
            raise Drop("no answer in the file of answers")
        answer = answers[key]
        if isinstance(answer, Mapping):
            answer = answer.get(columns.gold)
    elif columns.gold is None:
        return None
    else:
        answer = record.value(columns.gold)
    if is_empty(answer):
        raise Drop("no right answer")
    return Gold(record.location, answer, options)


def _read_parts(record: Record, columns: Columns, style: Style) -> tuple[str, Options, list[int]]:
    """The question's text, its options, and the places of the right ones where they are known."""
    where = record.location
    if columns.question is None:
        right, wrong = record.value(columns.correct or ""), record.value(columns.incorrect or "")
        return _read_transcripts(right, wrong, style)
    parts = [_question_text(record.value(name)) for name in columns.question]
    text = "\n".join(parts)
    if not text.strip():
        raise Drop("empty question")
    if columns.correct and columns.incorrect:
        correct = read_options(record.value(columns.correct), where).texts
        incorrect = read_options(record.value(columns.incorrect), where).texts
        if not correct or not incorrect:
            raise Drop("no right answer" if incorrect else "no wrong answer")
        return text, Options(correct + incorrect, [], False), list(range(len(correct)))
    if columns.options:
        return text, Options(list(columns.options), [], False), []
    if len(columns.choices) == 1:
        return text, read_options(record.value(columns.choices[0]), where), []
    return text, _options_of_columns(record, columns.choices), []


def _question_text(value: Any) -> str:
    """Return the question in a cell: a text, or messages as one text.

    Raises:
        Drop: it is neither.
    """
    is_text = not isinstance(value, (list, Mapping))
    if is_text and not (isinstance(value, str) and is_list(value)):
        return plain_text(value)
    prompts = read_prompts(value, "last")
    return request_text(prompts[0]) if prompts else ""


def _options_of_columns(record: Record, names: Sequence[str]) -> Options:
    """Return the options that stand in a column each; their columns are their labels."""
    cells = {}
    empty = []
    for place, name in enumerate(names):
        if plain_text(record.value(name)):
            cells[name] = record.value(name)
        else:
            empty.append(place)
    texts = [plain_text(option) for option in cells.values()]
    are_numbers = all(isinstance(option, (int, float)) for option in cells.values())
    return Options(texts, list(cells), are_numbers, tuple(empty))


def _read_transcripts(right: Any, wrong: Any, style: Style) -> tuple[str, Options, list[int]]:
    transcripts = [read_messages(side, style)[0] for side in (right, wrong)]
    for messages in transcripts:
        refuse_unreadable(messages)
        if len(messages) < 2 or messages[-1]["role"] != "assistant":
            raise Drop("no answer at the end of a transcript")
    shared = transcripts[0][:-1]
    if shared != transcripts[1][:-1]:
        raise Drop("the transcripts do not share a conversation")
    texts = [messages[-1]["content"] for messages in transcripts]
    return request_text(shared), Options(texts, [], False), [0]
