"""Dilemmas from files: a situation, two options, and the values that each of them serves.

In: a file. Out: `Dilemma`s, the dropped rows, and how the file was read. Which form it has is
recognised by its columns:

    columns         yours: `question`, two `choices`, and two columns of `values`, each a list
    moralchoice     MoralChoice (Scherrer et al. 2023, arXiv 2307.14324), with Gert's ten rules by
                    action: an option serves the rules that only the other one breaks
    daily_dilemmas  DailyDilemmas (Chiu et al. 2024, arXiv 2410.02683), its file by action: a row
                    for each action (`to_do`, `not_to_do`) with its values
    conflictscope   ConflictScope (Liu et al. 2025, arXiv 2509.25369): requests by a name that ends
                    in two values and a number; the options are the values themselves, so that an
                    answer says what a model would put first, and not what it then does

A value that both options serve is no matter of choice and is left out of both.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from stages.guards.errors import UserError
from stages.guards.files import as_path
from stages.runtime.context import Drop
from stages.runtime.rows import Dropped
from stages.runtime.typed_config import SomeNames, Text, machine
from stages.sources.cells import NotStructured, is_empty, parse_structured, plain_text
from stages.sources.conversations import check_text, content_id
from stages.sources.reading import Reading
from stages.sources.records import Record, missing_column, read_file, require_columns
from stages.sources.source import Source, read_source, without_folder

Form = Literal["auto", "columns", "moralchoice", "daily_dilemmas", "conflictscope"]
RULES = {
    "death": "life",
    "pain": "pain",
    "disable": "ability",
    "freedom": "freedom",
    "pleasure": "pleasure",
    "deceive": "truth",
    "cheat": "fair-play",
    "break_promise": "promises",
    "break_law": "law",
    "duty": "duty",
}
"""MoralChoice's columns, after `a1_` and `a2_`, and the dimensions of `constitutions/gert.yaml`."""
MORALCHOICE = ("context", "action1", "action2", *(f"a{i}_{name}" for i in (1, 2) for name in RULES))
BY_ACTION = ("dilemma_situation", "action_type", "action")
VALUES_OF_ACTION = ("values_aggregated", "values_names")
NEITHER = "neither option serves a value that the other does not"


@dataclass(frozen=True, kw_only=True)
class DilemmaColumns(Source):
    """A source of dilemmas, and the columns that hold them."""

    form: Form = "auto"
    """What kind of file it is; auto: by its columns."""
    question: SomeNames = ("question",)
    """Of the form `columns`: the situation, in one column or several."""
    choices: tuple[Text, Text] = ("option_a", "option_b")
    """Of the form `columns`: the two options."""
    values: tuple[Text, Text] = ("values_a", "values_b")
    """Of the form `columns`: what each option serves, as a list or as names between commas."""
    value_map: Text | None = machine(None)  # `identity` adds it, if set
    """A file of coarser values, such as DailyDilemmas' values.csv; a value without one is left out.
    """
    map_from: Text = "value"
    """The column of values in `value_map`."""
    map_to: Text = "MFT"
    """The column of coarser values there: WVS, MFT, Virtue, Emotion or Maslow in that file."""
    wordings: dict[str, str] = field(default_factory=dict)
    """Of the form `conflictscope`: what each value means, in words; else its name is shown."""


@dataclass(frozen=True)
class Dilemma:
    """One question with two options."""

    id: str
    """Of its content."""
    text: str
    options: tuple[str, str]
    values: tuple[tuple[str, ...], tuple[str, ...]]
    """What each option serves and the other does not."""
    group: str = ""
    """Where the file has one: its ambiguity, or its topic."""


@dataclass(frozen=True)
class _Draft:
    where: str
    text: str
    options: tuple[str, str]
    values: tuple[Iterable[str], Iterable[str]]
    group: str = ""


def read_dilemmas(
    columns: DilemmaColumns,
    most: int | None = None,
) -> tuple[list[Dilemma], list[Dropped], Reading]:
    """Return the dilemmas of a file, the rows that hold none, and how it was read.

    Raises:
        UserError: it has no form that is known here, or lacks a column.
    """
    records = list(read_source(columns, most))
    form = _form_of(columns, records)
    reading = Reading(form=form, records=len(records))
    dropped: list[Dropped] = []
    coarser = _read_map(columns)
    dilemmas: dict[str, Dilemma] = {}
    for where, draft in _drafts(
        form,
        records,
        columns,
    ):
        try:
            if isinstance(draft, Drop):
                raise draft
            dilemma = _finish(draft, coarser)
            if dilemma.id in dilemmas:
                raise Drop("duplicate dilemma")
            dilemmas[dilemma.id] = dilemma
        except Drop as drop:
            place = without_folder(where, columns)
            dropped.append(
                Dropped(
                    id=place,
                    reason=drop.reason,
                    detail=drop.detail,
                )
            )
    for dilemma in list(dilemmas.values())[:1]:
        reading.example = [{"role": "dilemma", "content": dilemma.text}]
        for option, values in zip(
            dilemma.options,
            dilemma.values,
            strict=True,
        ):
            role = f"serves {', '.join(values) or 'nothing of its own'}"
            reading.example.append({"role": role, "content": option})
    return list(dilemmas.values()), dropped, reading


def _form_of(
    columns: DilemmaColumns,
    records: Sequence[Record],
) -> str:
    if columns.form != "auto":
        return columns.form
    cells = records[0].cells if records else {}
    if all(name in cells for name in MORALCHOICE):
        return "moralchoice"
    if all(name in cells for name in BY_ACTION):
        return "daily_dilemmas"
    if len(records) == 1 and all(_values_of_name(name) for name in cells):
        return "conflictscope"
    if "dilemma_situation" in cells:
        raise UserError(
            "these dilemmas have no actions, and no values of them",
            where=columns.source,
            fix="give DailyDilemmas' file by action, dilemmas_with_detail_by_action.csv of its "
            "repository or dilemma_to_action_to_values_aggregated.csv of its dataset",
        )
    return "columns"


def _drafts(
    form: str,
    records: Sequence[Record],
    columns: DilemmaColumns,
) -> Iterator[tuple[str, _Draft | Drop]]:
    if form == "daily_dilemmas":
        yield from _by_action(records)
    elif form == "conflictscope":
        for name, text in records[0].cells.items():
            yield (
                name,
                _between_values(
                    name,
                    plain_text(text),
                    columns.wordings,
                ),
            )
    else:
        names = MORALCHOICE
        if form == "columns":
            names = (*columns.question, *columns.choices, *columns.values)
        require_columns(records, names)
        for record in records:
            fault = missing_column(record, names)
            if fault:
                yield record.location, Drop(fault)
            elif form == "columns":
                yield record.location, _of_columns(record, columns)
            else:
                yield record.location, _of_rules(record)


def _of_columns(
    record: Record,
    columns: DilemmaColumns,
) -> _Draft | Drop:
    first, second = (plain_text(record.value(name)) for name in columns.choices)
    try:
        serves = [list(_names_in(record.value(name))) for name in columns.values]
    except Drop as drop:
        return drop
    text = "\n".join(plain_text(record.value(name)) for name in columns.question)
    return _Draft(
        record.location,
        text,
        (first, second),
        (serves[0], serves[1]),
    )


def _of_rules(record: Record) -> _Draft:
    """Return a dilemma of MoralChoice; `No Agreement` of raters counts for neither."""

    def spares(
        own: int,
        other: int,
    ) -> Iterator[str]:
        for column, rule in RULES.items():
            labels = [plain_text(record.value(f"a{i}_{column}")).lower() for i in (own, other)]
            if labels == ["no", "yes"]:
                yield rule

    actions = [plain_text(record.value(f"action{i}")) for i in (1, 2)]
    return _Draft(
        record.location,
        plain_text(record.value("context")),
        (actions[0], actions[1]),
        (list(spares(1, 2)), list(spares(2, 1))),
        plain_text(record.value("ambiguity")),
    )


def _by_action(records: Sequence[Record]) -> Iterator[tuple[str, _Draft | Drop]]:
    """Yield a dilemma for each two actions in the same situation, those of one `dilemma_idx`.

    Raises:
        UserError: no column holds the values of an action.
    """
    cells = records[0].cells
    column = next((name for name in VALUES_OF_ACTION if name in cells), "")
    require_columns(records, [column or VALUES_OF_ACTION[0], *BY_ACTION])
    situations: dict[str, list[Record]] = {}
    for record in records:
        number = record.cells.get("dilemma_idx", "")
        key = f"{number}|{plain_text(record.value('dilemma_situation'))}"
        situations.setdefault(key, []).append(record)
    for rows in situations.values():
        where = rows[0].location
        text = plain_text(rows[0].value("dilemma_situation"))
        actions: dict[str, str] = {}
        serves: dict[str, list[str]] = {}
        try:
            for row in rows:
                kind = plain_text(row.value("action_type"))
                actions.setdefault(kind, plain_text(row.value("action")))
                serves.setdefault(kind, []).extend(_names_in(row.value(column)))
        except Drop as drop:
            yield where, drop
            continue
        if len(actions) != 2:
            yield where, Drop("not two actions in a situation")
            continue
        (first, one), (second, other) = actions.items()
        group = plain_text(rows[0].value("topic_group"))
        yield (
            where,
            _Draft(
                where,
                text,
                (one, other),
                (serves[first], serves[second]),
                group,
            ),
        )


def _between_values(
    name: str,
    text: str,
    wordings: Mapping[str, str],
) -> _Draft | Drop:
    pair = _values_of_name(name)
    if pair is None:
        return Drop("no two values in its name")
    first, second = pair
    options = (wordings.get(first, first), wordings.get(second, second))
    return _Draft(
        name,
        text,
        options,
        ([first], [second]),
    )


def _values_of_name(name: str) -> tuple[str, str] | None:
    """Return the values in `<model>_<value>_<value>_<value>-<value>-...`."""
    parts = name.split("_")
    if len(parts) < 4 or not parts[3].startswith(f"{parts[1]}-{parts[2]}"):
        return None
    return parts[1], parts[2]


def _names_in(cell: Any) -> Iterator[str]:
    """Yield the values in a cell: a list, also in JSON or as Python prints it, or between commas.

    Raises:
        Drop: as `parse_structured`.
    """
    if isinstance(cell, str):
        try:
            cell, _ = parse_structured(cell)
        except NotStructured:
            cell = cell.split(",")
    for name in cell:
        if isinstance(name, (list, tuple)):
            yield from _names_in(name)
        elif not is_empty(name) and plain_text(name):
            yield plain_text(name).lower()


def _read_map(columns: DilemmaColumns) -> dict[str, str] | None:
    if columns.value_map is None:
        return None
    records = list(read_file(as_path(columns.value_map)))
    require_columns(records, [columns.map_from, columns.map_to])
    coarser = {}
    for record in records:
        to = plain_text(record.value(columns.map_to))
        if to:
            coarser[plain_text(record.value(columns.map_from)).lower()] = to.lower()
    return coarser


def _finish(
    draft: _Draft,
    coarser: Mapping[str, str] | None,
) -> Dilemma:
    """Return a dilemma.

    Raises:
        Drop: it has no text, or no options or values that differ.
    """
    sides = []
    for names in draft.values:
        if coarser is not None:
            names = [coarser[name] for name in names if name in coarser]
        sides.append(set(names))
    first, second = sides
    if not draft.text or not all(draft.options) or draft.options[0] == draft.options[1]:
        raise Drop("no situation with two different options")
    if first == second:
        raise Drop(NEITHER)
    check_text(
        "".join(
            [
                draft.text,
                draft.group,
                *draft.options,
            ]
        )
    )
    return Dilemma(
        id=content_id([draft.text, list(draft.options)], draft.where),
        text=draft.text,
        options=draft.options,
        values=(tuple(sorted(first - second)), tuple(sorted(second - first))),
        group=draft.group,
    )
