"""Multiple-choice questions from files with any columns and any notation of the right option.

In: a file or Hub dataset and the names of its columns. Out: `Question`s, and the dropped rows.

    one column of options   a list, also in JSON or as Python prints it (GlobalOpinionQA), or a
                            mapping by letter
    several columns         one option each (BBQ: ans0, ans1, ans2); an empty cell is not an option
    people                  a mapping from groups to the fraction of their people for each option,
                            and no `gold` (GlobalOpinionQA)
    correct, incorrect      a text or a list of texts each, and no `gold`
    transcripts             `question: null`: two columns of hh-rlhf transcripts that share all but
                            the last turn, the question being the conversation and the options its
                            last turns (Anthropic's HHH evaluations)

`gold` is the option's number (from `first`), its letter or its text. A value that could be several
of these is read as the text.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from string import ascii_uppercase
from typing import Any

from stages.evaluation.benchmarks.choice_cells import (
    gold_index,
    option_texts,
    people_shares,
    plain_text,
    read_gold_file,
)
from stages.runtime.context import Drop
from stages.runtime.errors import UserError
from stages.runtime.rows import Dropped, request_text
from stages.runtime.typed_config import Names
from stages.text.messages import content_id, read_messages
from stages.text.records import Record
from stages.text.source import Source, read_source, without_folder


@dataclass(frozen=True, kw_only=True)
class Columns(Source):
    """A source of questions, and the columns that hold them."""

    split: str = "test"
    """The split of a Hub dataset to read."""
    question: Names | None = ("question",)
    """The column of the question, or several, joined by line breaks (BBQ: context, question).

    Null: `correct` and `incorrect` are transcripts.
    """
    choices: Names = ("choices",)
    """A column that lists the options, or a column for each."""
    gold: str | None = "answer"
    """The column of the right option: its number, letter or text.

    Null: there is no gold label, and only positions are reported.
    """
    first: int = 0
    """The number of the first option."""
    correct: str | None = None
    """A column of right options, in place of `choices` and `gold`."""
    incorrect: str | None = None
    """A column of wrong options; it goes with `correct`."""
    group: str | None = None
    """A column to split results by, such as a category."""
    people: str | None = None
    """A column of how people answered, {group: [share, one an option]}; in place of `gold`."""
    answers: str | None = None
    """A JSON file of right answers by `key`, in place of the column `gold`.

    An answer may be an object whose field `gold` names.
    """
    key: str = "id"
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
        UserError: the file cannot be read, a column is missing, or a cell has the wrong form.
    """
    questions: dict[str, Question] = {}
    dropped = []
    answers = read_gold_file(columns.answers) if columns.answers else {}
    for where, cells in _records(columns):
        try:
            question = _read_question(cells, columns, answers, where)
            if question.id in questions:
                raise Drop("duplicate question")
        except Drop as drop:
            dropped.append(Dropped(id=without_folder(where, columns), reason=str(drop)))
        else:
            questions[question.id] = question
    return list(questions.values()), dropped


def _records(columns: Columns) -> Iterator[Record]:
    """Yield the records, with the columns that the options name."""
    pair = [name for name in (columns.correct, columns.incorrect) if name]
    key = [columns.key] if columns.answers else []
    gold = [] if pair or columns.answers else [columns.people or columns.gold]
    names = [*(columns.question or ()), *(pair or columns.choices), *gold, columns.group, *key]
    return read_source(columns, *(name for name in names if name))


def _read_question(
    cells: Mapping[str, Any], columns: Columns, answers: Mapping[str, Any], where: str
) -> Question:
    """The question that a record holds.

    Raises:
        Drop: it holds no question that can be asked.
    """
    text, options, gold = _read_parts(cells, columns, answers, where)
    if len(options) < 2:
        raise Drop("fewer than two options")
    if len(options) > len(ascii_uppercase):
        raise Drop("more than 26 options")
    people = {}
    if columns.people:
        people = people_shares(cells[columns.people], len(options), where)
    return Question(
        id=content_id([text, options], where),
        text=text,
        options=options,
        gold=gold,
        group=plain_text(cells.get(columns.group or "", "")),
        people=people,
    )


def _read_parts(
    cells: Mapping[str, Any], columns: Columns, answers: Mapping[str, Any], where: str
) -> tuple[str, list[str], list[int]]:
    """The question's text, its options, and the places of the right ones."""
    if columns.question is None:
        right, wrong = cells[columns.correct or ""], cells[columns.incorrect or ""]
        return _read_transcripts(right, wrong, where)
    text = "\n".join(plain_text(cells[name]) for name in columns.question)
    if columns.correct and columns.incorrect:
        correct = option_texts(cells[columns.correct], where)
        incorrect = option_texts(cells[columns.incorrect], where)
        return text, correct + incorrect, list(range(len(correct)))
    if len(columns.choices) == 1:
        options = option_texts(cells[columns.choices[0]], where)
    else:
        texts = [plain_text(cells[name]) for name in columns.choices]
        options = [option for option in texts if option]
    if columns.answers:
        key = str(cells[columns.key])
        if key not in answers:
            raise Drop("no answer in the file of answers")
        answer = answers[key]
        if isinstance(answer, Mapping):
            answer = answer.get(columns.gold)
    elif columns.gold is None or columns.people:
        return text, options, []
    else:
        answer = cells[columns.gold]
    return text, options, [gold_index(answer, options, columns.first, where)]


def _read_transcripts(right: Any, wrong: Any, where: str) -> tuple[str, list[str], list[int]]:
    transcripts = [read_messages(right, where), read_messages(wrong, where)]
    for messages in transcripts:
        if len(messages) < 2 or messages[-1]["role"] != "assistant":
            raise Drop("no answer at the end of a transcript")
    shared = transcripts[0][:-1]
    if shared != transcripts[1][:-1]:
        raise Drop("the transcripts do not share a conversation")
    return request_text(shared), [messages[-1]["content"] for messages in transcripts], [0]
