"""Pairs from records of human preferences: conversations or answers, and which is preferred.

In: a file or a Hub dataset, and the names of its columns, or a form that `sources/forms.py` lists.
Out: for every record its pairs, or the reason why it makes none.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, islice
from typing import Any

from stages.guards.errors import UserError
from stages.preferences.people.judged_under import list_attributes, principles_of
from stages.preferences.people.pair_source import PairSource
from stages.runtime.context import Drop
from stages.runtime.rows import Pair
from stages.runtime.typed_config import as_names
from stages.sources.answers import Answer, Missing, has_score, read_answers
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
)
from stages.sources.reading import Reading, unread_columns
from stages.sources.records import BARE, Records, column_names, require_columns

EXAMINED = 1000
"""How many records decide whether sides are answers alone."""


@dataclass(frozen=True)
class Outcome:
    """The pair of a record, or the reason why it makes none."""

    location: str
    pair: Pair | None
    reason: str = ""
    detail: str = ""


def read_pairs(source: PairSource, records: Records, reading: Reading) -> Iterator[Outcome]:
    """Yield every record's pairs, and the reasons of those without one.

    Raises:
        UserError: the source lacks a column, fits several forms, or states preferences that cannot
            be read.
    """
    reading.records = len(records)
    if not records:
        return
    attributes = list_attributes(source)
    if not attributes:
        form = _find_form(source, records, reading)
        reading.note(unread_columns(form, column_names(records)))
        yield from _read_form(form, source, records, reading)
        return
    for number, (attribute, names) in enumerate(attributes.items()):
        # Cells are counted once, with the first attribute.
        part = Reading() if number else reading
        one = replace(source, principles=names)
        form = _find_attribute(one, attribute, records, part)
        used = (*form.columns, *attributes)
        part.note(unread_columns(replace(form, columns=used), column_names(records)))
        yield from _read_form(form, one, records, part)
        for note in part.notes:
            reading.note(note)


def _find_attribute(source: PairSource, attribute: str, records: Records, reading: Reading) -> Form:
    """Return the form of a source in which one attribute decides.

    Raises:
        UserError: no record has it, or as `_find_form`.
    """
    named = replace(source, better=attribute)
    if source.answer:
        named = replace(source, score=(attribute,))
    form = _find_form(named, records, reading)
    if form.tree:
        raise UserError(
            "messages of a tree have no attributes",
            where=source.source,
            fix="write `principles` as a list",
        )
    if not form.answer:
        require_columns(records, [attribute])
        return replace(form, scores=None, one_hot=None)
    if not has_score(records, form, attribute):
        raise UserError(
            f"no answer has a score {attribute!r}",
            where=source.source,
            fix="name the keys or columns of scores in `principles`, or write it as a list",
        )
    return replace(form, score=(attribute,), label=False, rank=source.rank)


def _read_form(
    form: Form, source: PairSource, records: Records, reading: Reading
) -> Iterator[Outcome]:
    reading.form = form.name
    if form.answer or form.tree:
        answers, note = read_answers(list(records), form, source.sides, source.source)
        reading.note(note)
        yield from _pair_answers(answers, source)
        return
    for comparison in read_comparisons(records, form, source.sides, reading, source.source):
        if isinstance(comparison, Missing):
            yield Outcome(comparison.location, None, comparison.reason, comparison.detail)
        else:
            yield _make_pair(comparison, source)


def _find_form(source: PairSource, records: Records, reading: Reading) -> Form:
    """Return the form of a source: by its options, else by the columns.

    Raises:
        UserError: a column is missing, or the form is not clear.
    """
    columns = column_names(records)
    where = next(iter(records)).location
    if source.answers or source.answer or source.score:
        return _explicit_answers(source, records)
    default = (source.chosen, source.rejected) == ("chosen", "rejected")
    if default and not {"chosen", "rejected", BARE} & set(columns):
        form = recognise(
            columns,
            (*PAIR_FORMS, *LIST_FORMS, *ROW_FORMS),
            where,
            "`chosen` and `rejected`, or `answers`",
            "chosen, rejected",
        )
        form = _with_options(form, source, columns)
    else:
        _refuse_second_form(source, columns, where)
        form = Form(
            name="chosen and rejected", columns=(), first=source.chosen, second=source.rejected
        )
        form = _with_options(form, source, columns)
        require_columns(records, [source.chosen, source.rejected])
        if source.prompt is None and _are_bare(records, form):
            form = _with_request(form, columns, where, reading)
    # In a list `better` is the key of a score, of which `_find_attribute` makes sure.
    better = () if form.answers else form.better
    named = [*form.prompt, *better, form.first_safe, form.second_safe, form.system]
    named += [source.kind_column or "", source.principles_column or ""]
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


def _explicit_answers(source: PairSource, records: Records) -> Form:
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


def _are_bare(records: Records, form: Form) -> bool:
    """Whether most sides are answers alone, without a conversation before them."""
    values = [record.value(form.first) for record in islice(records, EXAMINED)]
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
        principles = principles_of(comparison.record, source)
    except Drop as drop:
        return Outcome(location, None, drop.reason, drop.detail)
    prompt = comparison.prompt
    content: list[Any] = [prompt, comparison.chosen, comparison.rejected]
    if principles:
        content.append(principles)
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
        principles=principles,
        chosen_safe=comparison.chosen_safe,
        rejected_safe=comparison.rejected_safe,
    )
    return Outcome(location, pair)
