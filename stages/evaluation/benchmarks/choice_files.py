"""Multiple-choice questions out of files: any columns, any way of telling which option is right.

In: a file or Hub dataset and the names of its columns. Out: `Question`s, and what was dropped.

    one column of options   a list, as such, in JSON or as Python prints it (GlobalOpinionQA), or a
    mapping by letter several columns         one option each (BBQ: ans0, ans1, ans2); an empty cell
    is no option people                  a mapping from groups to the options' shares among them,
    and no `gold` (GlobalOpinionQA) correct, incorrect      a text or a list of texts each, and no
    `gold`
    transcripts             `question: null`: two columns of hh-rlhf transcripts that share all but
    the last turn, the question
                            being the conversation and the options its last turns (Anthropic's HHH
                            evaluations)

`gold` is the option's number (from `first`), its letter or its text; the option itself goes before
its letter or number.
"""

import ast
import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import ascii_uppercase
from typing import Any

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
    """`gold` holds the places of the right options; empty: nobody says. `people`: the options'
    shares, by group.
    """

    id: str
    text: str
    options: list[str]
    gold: list[int]
    group: str
    people: dict[str, list[float]] = field(default_factory=dict)


def check_columns(columns: Columns, where: str) -> None:
    """Raises:
    UserError: the options cannot be meant together.
    """
    pair = columns.correct, columns.incorrect
    if (None in pair) != (pair == (None, None)):
        raise UserError(
            "`correct` and `incorrect` come together", where=where, fix="set both, or neither"
        )
    if columns.question is None and None in pair:
        fix = "set `question` to a column, or `correct` and `incorrect` to columns of transcripts"
        raise UserError(
            "without a question column the options must be transcripts", where=where, fix=fix
        )


def read_questions(columns: Columns) -> tuple[list[Question], list[Dropped]]:
    """Each question once, in the file's order.

    Raises:
        UserError: the file cannot be read, a column is missing, or a cell is not what it should be.
    """
    found: dict[str, Question] = {}
    dropped = []
    known = _answers(columns.answers) if columns.answers else {}
    for where, cells in _records(columns):
        text, options, gold, fault = _read(cells, columns, known, where)
        name = content_id([text, options], where)
        fault = fault or ("" if len(options) > 1 else "fewer than two options")
        fault = fault or ("more than 26 options" if len(options) > len(ascii_uppercase) else "")
        fault = fault or ("duplicate question" if name in found else "")
        if fault:
            dropped.append(Dropped(id=without_folder(where, columns), reason=fault))
        else:
            people = _people(cells[columns.people], len(options), where) if columns.people else {}
            found[name] = Question(
                name, text, options, gold, str(cells.get(columns.group or "", "")).strip(), people
            )
    return list(found.values()), dropped


def _records(columns: Columns) -> Iterator[Record]:
    """Yield the records, with the columns that the options name."""
    pair = [name for name in (columns.correct, columns.incorrect) if name]
    key = [columns.key] if columns.answers else []
    gold = [] if pair or columns.answers else [columns.people or columns.gold]
    names = [*(columns.question or ()), *(pair or columns.choices), *gold, columns.group, *key]
    return read_source(columns, *(name for name in names if name))


def _read(
    cells: dict[str, Any], columns: Columns, known: Mapping[str, Any], where: str
) -> tuple[str, list[str], list[int], str]:
    """(question, options, gold, why it is dropped)."""
    question = "\n".join(_text(cells[name]) for name in columns.question or ())
    if columns.correct and columns.incorrect:
        right, wrong = cells[columns.correct], cells[columns.incorrect]
        if columns.question is None:
            return _transcripts(right, wrong, where)
        correct, incorrect = _texts(right, where), _texts(wrong, where)
        return question, correct + incorrect, list(range(len(correct))), ""
    if len(columns.choices) == 1:
        options = _texts(cells[columns.choices[0]], where)
    else:
        options = [text for name in columns.choices if (text := _text(cells[name]))]
    if columns.answers:
        key = str(cells[columns.key])
        if key not in known:
            return question, options, [], "no answer in the file of answers"
        value = known[key]
        told = value.get(columns.gold) if isinstance(value, Mapping) else value
    elif columns.gold is None or columns.people:
        return question, options, [], ""
    else:
        told = cells[columns.gold]
    return question, options, [_place(told, options, columns.first, where)], ""


def _transcripts(right: Any, wrong: Any, where: str) -> tuple[str, list[str], list[int], str]:
    conversations = [read_messages(value, where) for value in (right, wrong)]
    if any(len(c) < 2 or c[-1]["role"] != "assistant" for c in conversations):
        return "", [], [], "no answer at the end of a transcript"
    if conversations[0][:-1] != conversations[1][:-1]:
        return "", [], [], "the transcripts do not share a conversation"
    return request_text(conversations[0][:-1]), [c[-1]["content"] for c in conversations], [0], ""


def _text(value: Any) -> str:
    return str(value).strip()


def _texts(value: Any, where: str) -> list[str]:
    """A cell with several options, or one."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            value = json.loads(value)
        except ValueError:
            with contextlib.suppress(ValueError, SyntaxError, MemoryError, RecursionError):
                value = ast.literal_eval(value)
    if isinstance(value, Mapping):  # {"A": ..., "B": ...}; a table's `choices` of labels and texts
        inner = value.get("text")
        value = inner if isinstance(inner, list) else [v for v in value.values() if v is not None]
    if isinstance(value, (list, tuple)):
        if not all(isinstance(item, (str, int, float)) for item in value):
            raise UserError(
                "an option is no text",
                where=where,
                fix="let `choices` name a column that lists texts",
            )
        return [_text(item) for item in value]
    return [_text(value)] if _text(value) else []


def _people(value: Any, count: int, where: str) -> dict[str, list[float]]:
    """Shares by group, those that fit the options; GlobalOpinionQA writes them as Python prints a
    defaultdict.
    """
    if isinstance(value, str):
        text = re.sub(
            r"^defaultdict\(<class 'list'>, (.*)\)$", r"\1", value.strip(), flags=re.DOTALL
        )
        with contextlib.suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            value = ast.literal_eval(text)
    if not isinstance(value, Mapping):
        fix = "let `people` name a column of {group: [share, one an option]}"
        raise UserError("how people answered is no mapping", where=where, fix=fix)
    found = {}
    for name, shares in value.items():
        plain = isinstance(shares, (list, tuple)) and all(
            isinstance(s, (int, float)) and s >= 0 for s in shares
        )
        if plain and len(shares) == count and sum(shares) > 0:
            found[str(name)] = [share / sum(shares) for share in shares]
    return found


def _place(told: Any, options: list[str], first: int, where: str) -> int:
    text = (
        _text(told).removeprefix("(").removesuffix(")")
        if _text(told) not in options
        else _text(told)
    )
    place: int | None = None
    if isinstance(told, str) and text in options:
        place = options.index(text)
    elif len(text) == 1 and text.upper() in ascii_uppercase:
        place = ascii_uppercase.index(text.upper())
    elif text.removeprefix("-").isdecimal() and text.isascii():
        place = int(text) - first
    if place is None or not 0 <= place < len(options):
        raise UserError(
            f"the right answer {told!r} is none of the {len(options)} options",
            where=where,
            fix=f"`gold` holds a number from {first}, a letter from A or an option's text; set `first` to where numbers begin",
        )
    return place


def _answers(path: str) -> Mapping[str, Any]:
    """A file of answers by question: SafetyBench's {id: {category, answer}}."""
    file = Path(path).expanduser()
    try:
        found = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        fix = "give a JSON file: one object, the questions' keys with their answers"
        raise UserError(f"the answers cannot be read: {error}", where=path, fix=fix) from None
    if not isinstance(found, dict):
        raise UserError(
            "the answers are no JSON object", where=path, fix='write {"<key>": <answer>, ...}'
        )
    return found
