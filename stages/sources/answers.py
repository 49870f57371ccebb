"""Answers with or without scores, from files that list them by request, by record or as a tree.

In: records and their form. Out: one `Answer` for each text, or the reason why there is none.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stages.guards.errors import UserError
from stages.runtime.context import Drop
from stages.runtime.rows import Message
from stages.sources.cells import NotStructured, is_empty, parse_structured, plain_text
from stages.sources.conversations import (
    ROLES,
    UNREADABLE,
    Style,
    check_text,
    find_style,
    printable,
)
from stages.sources.forms import Form
from stages.sources.records import Record, missing_column
from stages.sources.sides import (
    Side,
    Sides,
    decide_cut,
    is_text_side,
    read_beside,
    read_request,
    read_whole,
)
from stages.sources.verdicts import read_label


@dataclass(frozen=True)
class Answer:
    """One answer to a request; without a score, one that was only written."""

    location: str
    record: Record
    prompt: list[Message]
    text: str
    score: float | None


@dataclass(frozen=True)
class Missing:
    """A record, or one of its answers, that cannot be used."""

    location: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Cell:
    """An answer as it stands in a record."""

    record: Record
    prompt: Any
    system: Any
    value: Any
    score: Any


def prompt_cell(record: Record, columns: Sequence[str]) -> Any:
    """Return a cell, or several joined by a blank line."""
    values = [record.value(column) for column in columns]
    values = [
        value.get("full_text", value) if isinstance(value, Mapping) else value for value in values
    ]
    if len(values) == 1:
        return values[0]
    return "\n\n".join(plain_text(value) for value in values if not is_empty(value))


def read_answers(
    records: Sequence[Record], form: Form, sides: Sides, where: str
) -> tuple[list[Answer | Missing], str]:
    """Return every answer, in the order of the records.

    Returns:
        The answers, and a note on prompts that were cut from them.

    Raises:
        UserError: most answers repeat their prompt and some do not.
    """
    if form.tree:
        return list(_read_tree(records)), ""
    form = _choose_score(records, form)
    cells: list[Cell | Missing] = []
    for record in records:
        needed = [name for name in (*form.prompt, form.answers) if name]
        fault = missing_column(record, needed if form.answers else [*needed, form.answer])
        if fault:
            cells.append(Missing(record.location, fault))
        elif form.answers:
            cells += _list_cells(record, form)
        else:
            cells.append(_row_cell(record, form))
    if form.label:
        _check_labels(cells)
    of_requests = [
        cell.prompt if form.prompt else cell.value for cell in cells if isinstance(cell, Cell)
    ]
    style = find_style(of_requests)
    cut, note = _decide(cells, style, sides, where)
    words = not _has_scale(cells)
    return [_read(cell, form, style, cut, words) for cell in cells], note


def _row_cell(record: Record, form: Form) -> Cell:
    score = next((record.cells[name] for name in form.score if name in record.cells), None)
    system = record.value(form.system) if form.system in record.cells else ""
    prompt = prompt_cell(record, form.prompt) if form.prompt else None
    value = record.value(form.answer)
    if form.reasoning and not is_empty(value):
        value = prompt_cell(record, (form.reasoning, form.answer))
    return Cell(record, prompt, system, value, score)


def _list_cells(record: Record, form: Form) -> list[Cell | Missing]:
    """Return the answers that a record lists: objects, or texts beside a list of scores."""
    prompt = prompt_cell(record, form.prompt)
    system = record.value(form.system) if form.system in record.cells else ""
    items = _as_list(record.value(form.answers))
    if items is None:
        return [Missing(record.location, "the answers are not a list")]
    scores = None
    for name in form.score:
        scores = scores or _as_list(record.cells.get(name, ""))
    cells: list[Cell | Missing] = []
    for place, item in enumerate(items):
        if isinstance(item, Mapping):
            score = _score_of(item, form.score)
            cells.append(Cell(record, prompt, system, item.get(form.answer, ""), score))
        elif scores and len(scores) == len(items):
            cells.append(Cell(record, prompt, system, item, scores[place]))
        else:
            cells.append(Missing(record.location, "an answer in the list has no score"))
    return cells


def _has_score(item: Any, name: str) -> bool:
    """Whether an item of a list of answers has a score of this name."""
    if not isinstance(item, Mapping):
        return False
    return _score_of(item, (name,)) is not None


def has_score(records: Iterable[Record], form: Form, name: str) -> bool:
    """Whether any record, or any answer in its list, has a score of this name."""
    if not form.answers:
        return any(name in record.cells for record in records)
    for record in records:
        if any(_has_score(item, name) for item in _as_list(record.value(form.answers)) or []):
            return True
    return False


def _choose_score(records: Sequence[Record], form: Form) -> Form:
    """Return the form with one score for the whole file: scores of two names do not compare.

    It is the first name that every answer has, else the one that most of them have.
    """
    if not form.answers or len(form.score) < 2:
        return form
    items = []
    for record in records:
        items += _as_list(record.value(form.answers)) or []
    counts = {}
    for name in form.score:
        counts[name] = sum(_has_score(item, name) for item in items)
    best = max(form.score, key=lambda name: counts[name])
    return replace(form, score=(best,)) if counts[best] else form


def _as_list(value: Any) -> list[Any] | None:
    if isinstance(value, str):
        try:
            value, _ = parse_structured(value)
        except (NotStructured, Drop):
            return None
    if isinstance(value, Mapping) and any(isinstance(inner, list) for inner in value.values()):
        columns = {key: inner for key, inner in value.items() if isinstance(inner, list)}
        rows = zip(*columns.values(), strict=False)
        return [dict(zip(columns, row, strict=True)) for row in rows]
    return value if isinstance(value, list) else None


def _score_of(item: Mapping[str, Any], names: Sequence[str]) -> Any:
    """Return the first score that an answer has.

    Of UltraFeedback's annotations it is their mean, or the rating of the one that is named.
    """
    for name in names:
        value = item.get(name)
        if value is None:
            value = _annotation(item, name)
        if isinstance(value, Mapping):
            ratings = [
                inner.get("Rating") for inner in value.values() if isinstance(inner, Mapping)
            ]
            numbers = [_as_number(rating) for rating in ratings]
            present = [number for number in numbers if number is not None]
            if present:
                return sum(present) / len(present)
        elif not is_empty(value):
            return value
    return None


def _annotation(item: Mapping[str, Any], name: str) -> Any:
    """Return an answer's rating in one of its annotations."""
    annotations = item.get("annotations")
    if not isinstance(annotations, Mapping):
        return None
    annotation = annotations.get(name)
    if isinstance(annotation, Mapping):
        return annotation.get("Rating")
    return annotation


def _as_number(value: Any) -> float | None:
    """Return a score as a number, yes as 1 and no as 0; None for anything else."""
    if is_empty(value) or "_" in str(value):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        label = read_label(value)
        return None if label is None else float(label)
    return number if math.isfinite(number) else None


def _as_label(value: Any) -> float | None:
    """Return 1 for good and 0 for bad; None for anything else."""
    label = read_label(value)
    return None if label is None else float(label)


def _has_scale(cells: Sequence[Cell | Missing]) -> bool:
    """Whether a column of scores has other numbers than 1 and 0, beside which yes is not 1."""
    scores = [cell.score for cell in cells if isinstance(cell, Cell)]
    numbers = [_as_number(score) for score in scores]
    return any(number not in (None, 0, 1, -1) for number in numbers)


def _is_word(value: Any) -> bool:
    """Whether a score says yes or no in another way than by a number."""
    try:
        float(value)
    except (TypeError, ValueError):
        return True
    return isinstance(value, bool)


def _check_labels(cells: Sequence[Cell | Missing]) -> None:
    """Refuse a column of labels that holds other numbers, such as 1 and 2.

    Raises:
        UserError: there is one.
    """
    for cell in cells:
        if isinstance(cell, Missing):
            continue
        number = _as_number(cell.score)
        if number is not None and abs(number) > 1:
            raise UserError(
                f"{cell.score!r} where 0 or 1, true or false is expected as the label",
                where=cell.record.location,
                fix="set `prompt`, `answer` and `score` to read the label as a score",
            )


def _decide(
    cells: Sequence[Cell | Missing], style: Style, sides: Sides, where: str
) -> tuple[bool, str]:
    def texts() -> Iterator[tuple[str, Any, list[Message], str]]:
        for cell in cells:
            if isinstance(cell, Missing) or cell.prompt is None or not is_text_side(cell.value):
                continue
            try:
                request = read_request(cell.prompt, style)
            except Drop:
                continue
            yield cell.value, cell.prompt, request, cell.record.location

    return decide_cut(texts(), sides, where)


def _read(
    cell: Cell | Missing, form: Form, style: Style, cut: bool, words: bool
) -> Answer | Missing:
    if isinstance(cell, Missing):
        return cell
    location = cell.record.location
    try:
        side = _read_side(cell, style, cut)
        score = None
        if form.score:
            score = _as_label(cell.score) if form.label else _as_number(cell.score)
            if not words and not form.label and _is_word(cell.score):
                score = None
            if score is None:
                other = "a label that says neither good nor bad"
                other = other if form.label else "a score that is not a number"
                raise Drop(
                    "no score" if is_empty(cell.score) else other,
                    printable(str(cell.score or "")),
                )
            score = 0.0 - score if form.rank else score
    except Drop as drop:
        return Missing(location, drop.reason, drop.detail)
    return Answer(location, cell.record, side.prompt, side.answer, score)


def _read_side(cell: Cell, style: Style, cut: bool) -> Side:
    """Return prompt and answer of a cell.

    Raises:
        Drop: there is no request, or no answer.
    """
    if is_empty(cell.value):
        raise Drop("empty answer")
    if cell.prompt is None:
        side = read_whole(cell.value, style, cell.system)
    else:
        request = read_request(cell.prompt, style, cell.system)
        side = read_beside(cell.value, cell.prompt, request, cut)
    if not side.prompt or side.prompt[-1]["role"] != "user" or not side.prompt[-1]["content"]:
        raise Drop("no user turn before the answer")
    if not side.answer:
        raise Drop("empty answer")
    return side


def _read_tree(records: Sequence[Record]) -> Iterator[Answer | Missing]:
    """Yield the ranked answers of a tree of messages; rank 0 is the best of its siblings."""
    by_id = {str(record.value("message_id")): record for record in records}
    for record in records:
        if record.value("role") != "assistant":
            continue
        rank = _as_number(record.value("rank"))
        turns: list[Message] = []
        parent = str(record.value("parent_id"))
        seen = {str(record.value("message_id"))}
        while parent in by_id and parent not in seen:
            seen.add(parent)
            above = by_id[parent]
            role = ROLES.get(str(above.value("role")).lower(), UNREADABLE)
            turns.insert(0, {"role": role, "content": str(above.value("text"))})
            parent = str(above.value("parent_id"))
        if parent in seen:
            yield Missing(record.location, "its parents form a circle")
        elif any(turn["role"] == UNREADABLE for turn in turns):
            yield Missing(record.location, "a turn of an unknown role")
        elif parent:
            yield Missing(record.location, "its parent is not in the file")
        elif not turns or turns[-1]["role"] != "user":
            yield Missing(record.location, "no user turn before the answer")
        elif rank is None:
            yield Missing(record.location, "no score")
        elif is_empty(record.value("text")):
            yield Missing(record.location, "empty answer")
        else:
            try:
                check_text("".join(turn["content"] for turn in turns) + str(record.value("text")))
            except Drop as drop:
                yield Missing(record.location, drop.reason, drop.detail)
                continue
            yield Answer(
                record.location, record, turns, str(record.value("text")).strip(), 0.0 - rank
            )
