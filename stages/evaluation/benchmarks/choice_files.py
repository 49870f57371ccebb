"""Multiple-choice questions out of files: any columns, any way of giving the right option.

In: a file or Hub dataset and the names of its columns. Out: `Question`s, and what was dropped.

    one column of options   a list, as such, in JSON or as Python prints it (GlobalOpinionQA), or a
                            mapping by letter
    several columns         one option each (BBQ: ans0, ans1, ans2); an empty cell is not an option
    people                  a mapping from groups to the options' shares among them, and no `gold`
                            (GlobalOpinionQA)
    correct, incorrect      a text or a list of texts each, and no `gold`
    transcripts             `question: null`: two columns of hh-rlhf transcripts that share all but
                            the last turn, the question being the conversation and the options its
                            last turns (Anthropic's HHH evaluations)

`gold` is the option's number (from `first`), its letter or its text; the option itself goes before
its letter or number.
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
from stages.runtime.errors import UserError
from stages.runtime.rows import Dropped, request_text
from stages.runtime.settings import Names
from stages.text.messages import content_id, read_messages
from stages.text.records import Record
from stages.text.source import Source, read_source, without_folder


@dataclass(frozen=True, kw_only=True)
class Columns(Source):
    """A source of questions, and the columns that hold them."""

    split: str = "test"
    """Of a Hub dataset: which split to read."""
    question: Names | None = ("question",)
    """The column of the question, or several, joined by line breaks (BBQ: context, question); null:
    `correct` and `incorrect` are transcripts.
    """
    choices: Names = ("choices",)
    """A column that lists the options, or a column for each."""
    gold: str | None = "answer"
    """The column of the right option: its number, letter or text; null: there is no gold label, and
    only positions are reported.
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
    """A JSON file of answers by `key`, in place of the column `gold`, or holding one of that name.
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
    """The options' shares among people, by group."""


@dataclass(frozen=True)
class Parts:
    """What the cells of a record hold."""

    question: str
    options: list[str]
    gold: list[int]
    fault: str = ""
    """Why the question is dropped."""

    def first_fault(self) -> str:
        """Why the question is dropped, or an empty text."""
        if self.fault:
            return self.fault
        if len(self.options) < 2:
            return "fewer than two options"
        if len(self.options) > len(ascii_uppercase):
            return "more than 26 options"
        return ""


def check_columns(columns: Columns, where: str) -> None:
    """Check that the options fit together.

    Raises:
        UserError: they do not.
    """
    pair = (columns.correct, columns.incorrect)
    is_incomplete = pair.count(None) == 1
    if is_incomplete:
        raise UserError(
            "`correct` and `incorrect` come together",
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
        UserError: the file cannot be read, a column is missing, or a cell is not what it should be.
    """
    questions: dict[str, Question] = {}
    dropped = []
    answers = read_gold_file(columns.answers) if columns.answers else {}
    for where, cells in _records(columns):
        parts = _read(cells, columns, answers, where)
        name = content_id([parts.question, parts.options], where)
        fault = parts.first_fault()
        if not fault and name in questions:
            fault = "duplicate question"
        if fault:
            dropped.append(Dropped(id=without_folder(where, columns), reason=fault))
        else:
            people = {}
            if columns.people:
                people = people_shares(cells[columns.people], len(parts.options), where)
            questions[name] = Question(
                id=name,
                text=parts.question,
                options=parts.options,
                gold=parts.gold,
                group=plain_text(cells.get(columns.group or "", "")),
                people=people,
            )
    return list(questions.values()), dropped


def _records(columns: Columns) -> Iterator[Record]:
    """Yield the records, with the columns that the options name."""
    pair = [name for name in (columns.correct, columns.incorrect) if name]
    key = [columns.key] if columns.answers else []
    gold = [] if pair or columns.answers else [columns.people or columns.gold]
    names = [*(columns.question or ()), *(pair or columns.choices), *gold, columns.group, *key]
    return read_source(columns, *(name for name in names if name))


def _read(
    cells: Mapping[str, Any], columns: Columns, answers: Mapping[str, Any], where: str
) -> Parts:
    if columns.question is None:
        right, wrong = cells[columns.correct or ""], cells[columns.incorrect or ""]
        return _read_transcripts(right, wrong, where)
    question = "\n".join(plain_text(cells[name]) for name in columns.question)
    if columns.correct and columns.incorrect:
        correct = option_texts(cells[columns.correct], where)
        incorrect = option_texts(cells[columns.incorrect], where)
        return Parts(question, correct + incorrect, list(range(len(correct))))
    options = _read_options(cells, columns, where)
    if columns.answers:
        key = str(cells[columns.key])
        if key not in answers:
            return Parts(question, options, [], "no answer in the file of answers")
        answer = answers[key]
        if isinstance(answer, Mapping):
            answer = answer.get(columns.gold)
    elif columns.gold is None or columns.people:
        return Parts(question, options, [])
    else:
        answer = cells[columns.gold]
    return Parts(question, options, [gold_index(answer, options, columns.first, where)])


def _read_options(cells: Mapping[str, Any], columns: Columns, where: str) -> list[str]:
    if len(columns.choices) == 1:
        return option_texts(cells[columns.choices[0]], where)
    texts = [plain_text(cells[name]) for name in columns.choices]
    return [text for text in texts if text]


def _read_transcripts(right: Any, wrong: Any, where: str) -> Parts:
    right_messages = read_messages(right, where)
    wrong_messages = read_messages(wrong, where)
    for messages in (right_messages, wrong_messages):
        if len(messages) < 2 or messages[-1]["role"] != "assistant":
            return Parts("", [], [], "no answer at the end of a transcript")
    if right_messages[:-1] != wrong_messages[:-1]:
        return Parts("", [], [], "the transcripts do not share a conversation")
    options = [right_messages[-1]["content"], wrong_messages[-1]["content"]]
    return Parts(request_text(right_messages[:-1]), options, [0])
