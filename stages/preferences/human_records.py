"""Pairs from records of human preferences: conversations or answers, and which is preferred.

In: a file or a Hub dataset, and the names of its columns, or a form that `sources/forms.py` lists.
Out: for every record its pairs, or the reason why it makes none.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

from stages.guards.errors import UserError
from stages.runtime.context import Drop
from stages.runtime.rows import Pair
from stages.runtime.typed_config import Names, SomeNames, Text, as_names
from stages.sources.answers import Answer, Missing, read_answers
from stages.sources.comparisons import Comparison, read_comparisons
from stages.sources.conversations import check_text, content_id, find_style, read_messages
from stages.sources.forms import (
    LIST_FORMS,
    PAIR_FORMS,
    REQUESTS,
    ROW_FORMS,
    Form,
    find_system,
    recognise,
    unread_columns,
)
from stages.sources.reading import Reading
from stages.sources.records import BARE, Record, column_names, require_columns
from stages.sources.sides import Sides
from stages.sources.source import PartialSource

EXAMINED = 1000
"""How many records decide whether sides are answers alone."""


@dataclass(frozen=True, kw_only=True)
class PairSource(PartialSource):
    """A source of pairs, and the columns that hold them.

    A file without the columns `chosen` and `rejected` is recognised by its columns, if it has one
    of the forms in docs/data.md.
    """

    kind: Text = "helpful"
    """A word for what the pairs are about: `helpful`, `red_team` or any other."""
    kind_column: Text | None = None
    """The column with each pair's own kind, such as RewardBench's `subset`; null: all are of one
    kind.
    """
    principles: Names = ()
    """Under what people judged: ids of principles of a constitution, which a reward model that
    reads principles then shows beside the answers; none: not stated.
    """
    chosen: Text = "chosen"
    """The column with one side, the preferred one unless `better` is given."""
    rejected: Text = "rejected"
    """The column with the other side."""
    prompt: SomeNames | None = None
    """The column with the request, or several, joined by a blank line; null: the sides are whole
    conversations, or, where they are not, a column called prompt, question or instruction.
    """
    system: Text | None = None
    """A column with a system turn to put before the request."""
    better: Text | None = None
    """A column that states which side is preferred, 0 for `chosen` and 1 for `rejected`, or by
    name (A, B, tie), or by sign; null: `chosen` is.
    """
    chosen_safe: Text | None = None
    """A column that states whether the side in `chosen` is safe, for cost models; null: not
    measured.
    """
    rejected_safe: Text | None = None
    """The same for the side in `rejected`."""
    sides: Sides = "auto"
    """Whether texts beside a `prompt` are bare `answers` or hold the `whole` conversation; auto
    looks whether all of them begin with their prompt.
    """
    answers: Text | None = None
    """A column that lists the answers to the request, in place of `chosen` and `rejected`."""
    answer: Text | None = None
    """With `answers`, the key of an answer's text in the list; without, the column of an answer,
    where every record holds one answer.
    """
    score: SomeNames | None = None
    """The key, or the column, of an answer's score; the first that is there counts."""
    rank: bool = False
    """In `score` the lowest is the best."""
    pairing: Literal["extremes", "all"] = "extremes"
    """Of several answers to a request: the best with the worst, or every two of different score."""


@dataclass(frozen=True)
class Outcome:
    """The pair of a record, or the reason why it makes none."""

    location: str
    pair: Pair | None
    reason: str = ""
    detail: str = ""


def read_pairs(
    source: PairSource, records: Sequence[Record], reading: Reading
) -> Iterator[Outcome]:
    """Yield every record's pairs, and the reasons of those without one.

    Raises:
        UserError: the source lacks a column, fits several forms, or states preferences that cannot
            be read.
    """
    reading.records = len(records)
    if not records:
        return
    form = _find_form(source, records, reading)
    reading.form = form.name
    reading.note(unread_columns(form, column_names(records)))
    if form.answer or form.tree:
        answers, note = read_answers(records, form, source.sides, source.source)
        reading.note(note)
        yield from _pair_answers(answers, source)
        return
    for comparison in read_comparisons(records, form, source.sides, reading, source.source):
        if isinstance(comparison, Missing):
            yield Outcome(comparison.location, None, comparison.reason, comparison.detail)
        else:
            yield _make_pair(comparison, source)


def _find_form(source: PairSource, records: Sequence[Record], reading: Reading) -> Form:
    """Return the form of a source: by its options, else by the columns.

    Raises:
        UserError: a column is missing, or the form is not clear.
    """
    columns = column_names(records)
    if source.answers or source.answer or source.score:
        return _explicit_answers(source, records)
    default = (source.chosen, source.rejected) == ("chosen", "rejected")
    if default and not {"chosen", "rejected", BARE} & set(columns):
        form = recognise(
            columns,
            (*PAIR_FORMS, *LIST_FORMS, *ROW_FORMS),
            records[0].location,
            "`chosen` and `rejected`, or `answers`",
            "chosen, rejected",
        )
        form = _with_options(form, source, columns)
    else:
        _refuse_second_form(source, columns, records[0].location)
        form = Form(
            name="chosen and rejected", columns=(), first=source.chosen, second=source.rejected
        )
        form = _with_options(form, source, columns)
        require_columns(records, [source.chosen, source.rejected])
        if source.prompt is None and _are_bare(records, form):
            form = _with_request(form, columns, records[0].location, reading)
    named = [*form.prompt, *form.better, form.first_safe, form.second_safe, form.system]
    named.append(source.kind_column or "")
    require_columns(records, [name for name in named if name])
    return form


def _refuse_second_form(source: PairSource, columns: Sequence[str], where: str) -> None:
    """Refuse a file with `chosen`, `rejected` and the two sides of another form.

    Raises:
        UserError: it is one, and no option says what to read.
    """
    if source.prompt or not {source.chosen, source.rejected} <= set(columns):
        return
    if (source.chosen, source.rejected) != ("chosen", "rejected"):
        return
    for form in PAIR_FORMS:
        if set(form.columns) <= set(columns):
            raise UserError(
                f"the columns fit several forms: chosen, rejected; {form.name} "
                f"({', '.join(form.columns)})",
                where=where,
                fix="set `prompt` to read chosen and rejected, or set `chosen`, `rejected` and "
                "`better` to the columns of the other form",
            )


def _explicit_answers(source: PairSource, records: Sequence[Record]) -> Form:
    if not source.answer or not source.score:
        raise UserError(
            "`answer` and `score` must be set together",
            where=source.source,
            fix="name the text of an answer and its score",
        )
    prompt = as_names(source.prompt) or ("prompt",)
    form = Form(
        name="answers with scores",
        columns=(),
        prompt=prompt,
        system=source.system or "",
        answers=source.answers or "",
        answer=source.answer,
        score=as_names(source.score),
        rank=source.rank,
    )
    named = [source.answers] if source.answers else [source.answer, *as_names(source.score)]
    require_columns(records, [*prompt, *named])
    return form


def _with_options(form: Form, source: PairSource, columns: Sequence[str]) -> Form:
    """Return a form with what the options say in place of what its columns say.

    Raises:
        UserError: several columns state which side is preferred, or none does.
    """
    better = tuple(name for name in form.better if name in columns)
    if source.better:
        better = (source.better,)
    elif len(better) > 1:
        raise UserError(
            f"{len(better)} columns state which side is preferred: {', '.join(better)}",
            where=source.source,
            fix=f"set `better` to one of them (form: {form.name})",
        )
    elif form.better and not better:
        raise UserError(
            f"no column states which side is preferred (form: {form.name})",
            where=source.source,
            fix="set `better`",
        )
    first_safe = form.first_safe if form.first_safe in columns else ""
    second_safe = form.second_safe if form.second_safe in columns else ""
    return replace(
        form,
        better=better,
        prompt=as_names(source.prompt) or form.prompt,
        system=find_system(form, columns if form.prompt else (), source.system),
        first_safe=source.chosen_safe or first_safe,
        second_safe=source.rejected_safe or second_safe,
    )


def _are_bare(records: Sequence[Record], form: Form) -> bool:
    """Whether most sides are answers alone, without a conversation before them."""
    values = [record.value(form.first) for record in records[:EXAMINED]]
    style = find_style(values)
    whole = 0
    filled = 0
    for value in values:
        try:
            messages, _ = read_messages(value, style)
        except Drop:
            continue
        filled += 1
        spoken = [message for message in messages if message["role"] != "system"]
        # One that begins with the assistant goes on from a prompt in a column of its own.
        whole += len(spoken) > 1 and spoken[0]["role"] != "assistant"
    return whole <= filled / 2


def _with_request(form: Form, columns: Sequence[str], where: str, reading: Reading) -> Form:
    """Return the form with the column of the request that the file has, if it has one.

    Raises:
        UserError: it has several.
    """
    present = tuple(name for name in REQUESTS if name in columns)
    if "prompt" in present:
        present = ("prompt",)
    if len(present) > 1 and present != ("instruction", "input"):
        raise UserError(
            f"several columns may hold the request: {', '.join(present)}",
            where=where,
            fix="set `prompt` to one of them",
        )
    if not present:
        return form
    system = find_system(form, columns, form.system)
    reading.note(f"the sides are bare answers; the request is in {', '.join(present)}")
    return replace(
        form, name=f"{' + '.join(present)}, chosen, rejected", prompt=present, system=system
    )


def _pair_answers(answers: Sequence[Answer | Missing], source: PairSource) -> Iterator[Outcome]:
    """Yield pairs of the answers to one request, in the order of the requests."""
    groups: dict[str, list[Answer]] = {}
    for answer in answers:
        if isinstance(answer, Missing):
            yield Outcome(answer.location, None, answer.reason, answer.detail)
        else:
            key = content_id(answer.prompt, answer.location)
            groups.setdefault(key, []).append(answer)
    for group in groups.values():
        ranked = sorted(group, key=lambda answer: -(answer.score or 0))
        best, worst = ranked[0], ranked[-1]
        if len(group) == 1:
            yield Outcome(best.location, None, "the only answer to its request")
            continue
        if best.score == worst.score:
            yield Outcome(best.location, None, "a tie")
            continue
        pairs = [(best, worst)]
        if source.pairing == "all":
            pairs = list(combinations(ranked, 2))
        for better, worse in pairs:
            if better.score == worse.score:
                continue
            comparison = Comparison(
                better.record, better.prompt, better.text, worse.text, None, None
            )
            if better.text == worse.text:
                yield Outcome(better.location, None, "equal answers")
            else:
                yield _make_pair(comparison, source)


def _make_pair(comparison: Comparison, source: PairSource) -> Outcome:
    location = comparison.record.location
    kind = source.kind
    if source.kind_column is not None:
        kind = str(comparison.record.value(source.kind_column)) or source.kind
    try:
        check_text(kind)
    except Drop as drop:
        return Outcome(location, None, drop.reason, drop.detail)
    prompt = comparison.prompt
    content: list[Any] = [prompt, comparison.chosen, comparison.rejected]
    if source.principles:
        content.append(list(source.principles))
    pair = Pair(
        id=content_id(content, location),
        prompt_id=content_id(prompt, location),
        chosen_id="",
        rejected_id="",
        kind=kind,
        prompt=prompt,
        chosen=comparison.chosen,
        rejected=comparison.rejected,
        label=1.0,
        margin=0.0,
        principles=list(source.principles),
        chosen_safe=comparison.chosen_safe,
        rejected_safe=comparison.rejected_safe,
    )
    return Outcome(location, pair)
