"""Questionnaires: a file of items, as published or as a user copied them from a licensed form.

In: YAML with a head, or a list of records (jsonl, json, csv, tsv, parquet). Out: a `Questionnaire`
and the rows that were dropped, each with its reason.

    name: Sixty words about myself            # shown on pages; "stand-in" where it is ours
    instrument: pvq21                          # its key names the dimension of each item; or none
    frames: [How much is this person like you?]  # the question below an item, in several wordings
    options: {not like me at all: 1, ..., very much like me: 6}   # of all items
    items:
    - {id: 1, text: ..., dimension: self-direction, reversed: false, options: {...}}

As records the columns are those of an item; `options` is a mapping, two lists (`options` and
`numbers`), or one list that is numbered from 1. An item needs a dimension unless the instrument's
key has one. Item texts of PVQ, SVS, MFQ and TwIVI are licensed and not shipped: write your copy in
this form, with the published number of each item as its id.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stages.evaluation.surveys.instruments import INSTRUMENTS, Instrument
from stages.guards.errors import UserError, did_you_mean
from stages.guards.files import as_path
from stages.principles.document import display_path, read_yaml
from stages.runtime.context import Drop
from stages.runtime.rows import Dropped
from stages.sources.cells import NotStructured, is_empty, parse_structured, plain_text
from stages.sources.conversations import check_text, content_id
from stages.sources.records import read_file

YAML_SUFFIXES = (".yaml", ".yml")
HEAD = ("name", "instrument", "frames", "options", "items")
FORMAT = "write items: [{id: 1, text: ..., dimension: power}]; docs/values.md shows a file"
MOST_OPTIONS = 26


@dataclass(frozen=True)
class Item:
    """One question of a questionnaire."""

    id: str
    """Its number in the instrument, or a name."""
    text: str
    options: tuple[str, ...]
    numbers: tuple[float, ...] = ()
    """What each option counts; (): options without an order."""
    dimension: str = ""
    reversed: bool = False
    """A high number speaks against the dimension."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """How far people who like this answer hold each value: correlations, of validated items."""
    people: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """The share of people for each option, by group."""

    @property
    def content_id(self) -> str:
        """The id of what is asked, the same in every file that asks it."""
        return content_id([self.text, list(self.options)], self.id)


@dataclass(frozen=True)
class Questionnaire:
    """Items that belong together."""

    name: str
    items: list[Item]
    frames: tuple[str, ...] = ()
    instrument: str = ""
    dropped: list[Dropped] = field(default_factory=list)


def read_questionnaire(name: str, instrument: str | None = None) -> Questionnaire:
    """Return the questionnaire in a file.

    Args:
        instrument: whose key is used, in place of the one that the file names.

    Raises:
        UserError: the file cannot be read, names an unknown instrument, or holds no item.
    """
    path = as_path(name, "source")
    head, entries = _open(path)
    named = instrument or plain_text(head.get("instrument") or "")
    key = find_instrument(named, str(name)) if named else Instrument()
    items: dict[str, Item] = {}
    dropped = []
    for place, (where, cells, fault) in enumerate(entries, 1):
        try:
            if fault:
                raise Drop(fault)
            item = _read_item(cells, head.get("options"), key, str(place))
            if item.id in items:
                raise Drop("an item with the id of an earlier one")
            items[item.id] = item
        except Drop as drop:
            dropped.append(Dropped(id=where, reason=drop.reason, detail=drop.detail))
    if not items:
        reasons = "; ".join(dict.fromkeys(row.reason for row in dropped)) or "the list is empty"
        raise UserError(f"the questionnaire has no item ({reasons})", where=str(name), fix=FORMAT)
    missing = [number for number in key.item_ids() if number not in items]
    if missing:
        shown = ", ".join(missing[:20])
        raise UserError(
            f"{named} has items that this file lacks: {shown}",
            where=str(name),
            fix="give every item its published number as `id`, or leave `instrument` out",
        )
    title = plain_text(head.get("name") or path.stem)
    frames = head.get("frames") or ()
    frames = (frames,) if isinstance(frames, str) else tuple(map(plain_text, frames))
    return Questionnaire(title, list(items.values()), frames, named, dropped)


def find_instrument(name: str, where: str) -> Instrument:
    """Return an instrument by its name.

    Raises:
        UserError: there is none of this name.
    """
    if name not in INSTRUMENTS:
        raise UserError(
            f"unknown instrument {name!r}{did_you_mean(name, list(INSTRUMENTS))}",
            where=where,
            fix=f"choose from: {', '.join(INSTRUMENTS)}; or leave it out and name dimensions",
        )
    return INSTRUMENTS[name]


def _open(path: Path) -> tuple[Mapping[str, Any], Iterator[tuple[str, Any, str]]]:
    """Return the head of a file, and (place, cells, fault) of each entry."""
    if path.suffix.lower() not in YAML_SUFFIXES:
        records = ((each.location, each.cells, each.fault) for each in read_file(path))
        shown = ((Path(where).name, cells, fault) for where, cells, fault in records)
        return {}, shown
    document = read_yaml(path)
    document.refuse_faults()
    data = document.data
    data = {"items": data} if isinstance(data, list) else data
    where = display_path(path)
    if not isinstance(data, Mapping) or not isinstance(data.get("items"), list):
        raise UserError("the file has no list of items", where=where, fix=FORMAT)
    unknown = [key for key in data if key not in HEAD]
    if unknown:
        what = f"unknown field {unknown[0]!r}{did_you_mean(str(unknown[0]), HEAD)}"
        raise UserError(what, where=document.where(unknown[0]), fix=f"choose from: {HEAD}")
    entries = ((f"item {i}", entry, "") for i, entry in enumerate(data["items"], 1))
    return data, entries


def _read_item(cells: Any, shared: Any, key: Instrument, place: str) -> Item:
    """Return the item in an entry.

    Raises:
        Drop: it is none that can be asked.
    """
    if not isinstance(cells, Mapping):
        raise Drop("an item is no mapping")
    text = plain_text(cells.get("text") or "")
    if not text:
        raise Drop("an item without a text")
    check_text(text)
    name = plain_text(cells.get("id", "")) or place
    own = cells.get("options")
    options, numbers = read_scale(shared if is_empty(own) else own, cells.get("numbers"))
    if not options:
        options, numbers = key.scale_of(name)
    dimension = key.dimension_of(name) or plain_text(cells.get("dimension") or "")
    item = Item(name, text, options, numbers, dimension)
    return replace(item, reversed=_is_true(cells.get("reversed")))


def read_scale(value: Any, numbers: Any = None) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Return the options of an item and what each counts.

    Raises:
        Drop: they are no options.
    """
    value, numbers = _parse(value), _parse(numbers)
    if is_empty(value):
        return (), ()
    if isinstance(value, Mapping):
        value, numbers = list(value), list(value.values())
    if not isinstance(value, (list, tuple)) or not 2 <= len(value) <= MOST_OPTIONS:
        raise Drop(f"options that are not a list of 2 to {MOST_OPTIONS}")
    options = tuple(plain_text(option) for option in value)
    if not all(options) or len(set(options)) < len(options):
        raise Drop("an empty option, or one that is there twice")
    counts = list(range(1, len(options) + 1)) if is_empty(numbers) else numbers
    if not isinstance(counts, (list, tuple)) or len(counts) != len(options):
        raise Drop("not one number for each option")
    if not all(isinstance(n, (int, float)) and math.isfinite(n) for n in counts):
        raise Drop("an option counts what is not a number")
    return options, tuple(float(number) for number in counts)


def _parse(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return parse_structured(value)[0]
    except NotStructured:
        return value


def _is_true(value: Any) -> bool:
    """Read a truth value of any file.

    Raises:
        Drop: it is none.
    """
    if is_empty(value) or value in (False, 0):
        return False
    if value in (True, 1):
        return True
    text = plain_text(value).lower()
    if text in ("true", "yes", "1", "-1", "r"):
        return True
    if text in ("false", "no", "0"):
        return False
    raise Drop("`reversed` is neither true nor false")
