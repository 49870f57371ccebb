"""Two sides a record, and which of them is preferred.

In: records and their form. Out: prompt, chosen and rejected answer of each record, or the reason
why it makes no pair.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat
from math import isfinite
from typing import Any

from stages.guards.errors import UserError
from stages.runtime.context import Drop
from stages.runtime.rows import Message
from stages.sources.answers import Missing, prompt_cell
from stages.sources.cells import NotStructured, is_empty, parse_structured
from stages.sources.conversations import ASSISTANTS, PLAIN, Style, find_style, read_messages
from stages.sources.forms import Form
from stages.sources.reading import Reading
from stages.sources.records import Record, Records, missing_column
from stages.sources.sides import (
    Side,
    Sides,
    decide_cut,
    is_text_side,
    read_beside,
    read_request,
    read_whole,
)
from stages.sources.verdicts import TIES, Verdict, read_label, read_verdicts

MODEL_COLUMNS = (("model_a", "model_b"), ("model_1", "model_2"))
"""Columns of the models behind two sides."""


@dataclass(frozen=True)
class Comparison:
    """A preference between two answers to one request."""

    record: Record
    prompt: list[Message]
    chosen: str
    rejected: str
    chosen_safe: bool | None
    rejected_safe: bool | None


@dataclass(frozen=True)
class Columns:
    """What was decided for the columns of a file."""

    prompt: Style = PLAIN
    sides: Style = PLAIN
    cut: bool = False
    """Sides repeat their prompts."""


def read_comparisons(
    records: Records, form: Form, sides: Sides, reading: Reading, where: str
) -> Iterator[Comparison | Missing]:
    """Yield the comparison of every record, in their order.

    Raises:
        UserError: a cell that states the preferred side or whether a side is safe has another
            meaning, or most sides repeat their prompt and some do not.
    """
    needed = [*form.prompt, form.first, form.second, form.first_safe, form.second_safe]
    needed += [*form.better, *(form.scores or ())]
    needed = [name for name in needed if name]
    usable = Records(lambda: (one for one in records if not missing_column(one, needed)))
    verdicts = iter(_verdicts(usable, form, reading))
    columns = _examine(usable, form, sides, reading, where)
    for record in records:
        fault = missing_column(record, needed)
        if fault:
            yield Missing(record.location, fault)
            continue
        verdict = next(verdicts)
        try:
            comparison = _read(record, form, columns, verdict)
        except Drop as drop:
            yield Missing(record.location, drop.reason, drop.detail)
            continue
        reading.cells[_cell_form(record, form, columns)] += 1
        yield comparison


def _examine(records: Records, form: Form, option: Sides, reading: Reading, where: str) -> Columns:
    """Decide once for each column how its cells are read."""
    sides = (record.value(name) for record in records for name in (form.first, form.second))
    side_style = find_style(sides) if not form.prompt else PLAIN
    if not form.prompt:
        return Columns(sides=side_style)
    prompt_style = find_style(prompt_cell(record, form.prompt) for record in records)

    def texts() -> Iterator[tuple[str, Any, list[Message], str]]:
        for record in records:
            prompt = prompt_cell(record, form.prompt)
            try:
                request = read_request(prompt, prompt_style)
            except Drop:
                continue
            for name in (form.first, form.second):
                if is_text_side(record.value(name)):
                    yield record.value(name), prompt, request, record.location

    cut, note = decide_cut(texts(), option, where)
    reading.note(note)
    return Columns(prompt_style, side_style, cut)


def _cell_form(record: Record, form: Form, columns: Columns) -> str:
    """Return the form of the first side's cell."""
    value = record.value(form.first)
    if form.prompt and is_text_side(value):
        return "text after its prompt" if columns.cut else "text"
    return read_messages(value, columns.sides)[1]


def _verdicts(records: Records, form: Form, reading: Reading) -> Iterable[Verdict]:
    if form.scores:
        return [_compare_scores(record, form.scores) for record in records]
    if form.one_hot:
        return [_read_one_hot(record, form.one_hot) for record in records]
    if not form.better:
        return repeat("first")
    (column,) = form.better
    named = _by_content(records, form, column)
    if named is not None:
        reading.note(f"{column}: the text of the preferred side, or the name of its model")
        return named
    verdicts, scale = read_verdicts(
        [record.value(column) for record in records],
        [record.location for record in records],
        "better",
        (form.first, form.second),
        form.scale,
    )
    reading.note(f"{column}: {scale} ({form.first}, {form.second})")
    return verdicts


def _by_content(records: Records, form: Form, column: str) -> list[Verdict] | None:
    """Return the preferred sides where all cells repeat a side's text, or name a side's model.

    Returns:
        None where the column is of another kind.
    """
    for first, second in ((form.first, form.second), *MODEL_COLUMNS):
        verdicts: list[Verdict] = []
        odd = 0
        first_odd: Record | None = None
        for record in records:
            verdict = _named_side(record.value(column), record.value(first), record.value(second))
            verdicts.append(verdict or "none")
            if verdict is None:
                odd += 1
                first_odd = first_odd or record
        decided = sum(verdict in ("first", "second") for verdict in verdicts)
        if decided and not odd:
            return verdicts
        if decided > len(verdicts) / 2 and first_odd:
            raise UserError(
                f"{first_odd.value(column)!r} in `{column}` is neither `{first}` nor `{second}`, "
                "one of which the other records name",
                where=first_odd.location,
                fix=f"name another column as `better`, or correct the cell ({odd} such)",
            )
    return None


def _named_side(value: Any, first: Any, second: Any) -> Verdict | None:
    """Return the side that a cell repeats; none if both sides are alike."""
    if is_empty(value):
        return "none"
    if str(value).strip().lower() in TIES:
        return "tie"
    if value not in (first, second):
        return None
    if first == second:
        return "none"
    return "first" if value == first else "second"


def _compare_scores(record: Record, names: tuple[str, str]) -> Verdict:
    try:
        first, second = (float(record.value(name)) for name in names)
    except (TypeError, ValueError):
        return "none"
    if not (isfinite(first) and isfinite(second)):
        return "none"
    if first == second:
        return "tie"
    return "first" if first > second else "second"


def _read_one_hot(record: Record, names: tuple[str, str, str]) -> Verdict:
    marks = [read_label(record.value(name)) for name in names]
    if sum(mark is True for mark in marks) != 1:
        return "none"
    verdicts: tuple[Verdict, ...] = ("first", "second", "tie")
    return verdicts[marks.index(True)]


def _read(record: Record, form: Form, columns: Columns, verdict: Verdict) -> Comparison:
    """Return the comparison that a record holds.

    Raises:
        Drop: it makes no pair.
    """
    safe = [_read_safety(record, form.first_safe), _read_safety(record, form.second_safe)]
    pair = _read_sides(record, form, columns)
    if verdict == "tie":
        raise Drop("a tie")
    if verdict == "none":
        raise Drop("no preference stated")
    if verdict == "second":
        pair.reverse()
        safe.reverse()
    chosen, rejected = pair
    prompt = chosen.prompt
    if prompt != rejected.prompt:
        raise Drop("the conversations differ before the last answer")
    if not prompt or prompt[-1]["role"] != "user" or not prompt[-1]["content"]:
        raise Drop("no user turn before the answer")
    if not chosen.answer or not rejected.answer:
        raise Drop("empty answer")
    if chosen.answer == rejected.answer:
        raise Drop("equal answers")
    return Comparison(record, prompt, chosen.answer, rejected.answer, *safe)


def _read_sides(record: Record, form: Form, columns: Columns) -> list[Side]:
    cells = [record.value(form.first), record.value(form.second)]
    if form.one_hot:
        return [_interleave(prompt_cell(record, form.prompt), cell) for cell in cells]
    if form.turn and form.turn in record.cells:
        cells = [_until_turn(cell, record.value(form.turn)) for cell in cells]
    system = record.value(form.system) if form.system in record.cells else ""
    if not form.prompt:
        return [read_whole(cell, columns.sides, system) for cell in cells]
    prompt = prompt_cell(record, form.prompt)
    request = read_request(prompt, columns.prompt, system)
    return [read_beside(cell, prompt, request, columns.cut) for cell in cells]


def _until_turn(cell: Any, turn: Any) -> Any:
    """Return a conversation up to the answer that was judged, counted from 1."""
    if isinstance(cell, str):
        try:
            cell, _ = parse_structured(cell)
        except NotStructured:
            return cell
    try:
        remaining = int(float(turn))
    except (TypeError, ValueError):
        return cell
    if not isinstance(cell, list):
        return cell
    for place, item in enumerate(cell):
        if isinstance(item, Mapping):
            remaining -= str(item.get("role", item.get("from"))).lower() in ASSISTANTS
        if not remaining:
            return cell[: place + 1]
    return cell


def _interleave(prompts: Any, answers: Any) -> Side:
    """Return the side that lists of requests and answers hold, each as JSON text.

    Raises:
        Drop: one is not a list, or they differ in length.
    """
    lists = []
    for cell in (prompts, answers):
        value = cell
        if isinstance(cell, str):
            try:
                value, _ = parse_structured(cell)
            except NotStructured:
                value = [cell]
        lists.append(value)
    if not all(isinstance(value, list) for value in lists) or len(lists[0]) != len(lists[1]):
        raise Drop("requests and answers are not lists of one length")
    messages = []
    for request, answer in zip(*lists, strict=True):
        messages.append({"role": "user", "content": "" if is_empty(request) else request})
        messages.append({"role": "assistant", "content": "" if is_empty(answer) else answer})
    return read_whole(messages)


def _read_safety(record: Record, column: str) -> bool | None:
    if not column:
        return None
    value = record.value(column)
    if is_empty(value):
        return None
    label = read_label(value)
    if label is None:
        raise UserError(
            f"{value!r} where 0 or 1, true or false is expected",
            where=record.location,
            fix="name another column as `chosen_safe` and `rejected_safe`",
        )
    return label
