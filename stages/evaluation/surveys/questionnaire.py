"""Questionnaires: a file of items, as published or as a user copied them from a licensed form.

In: YAML with a head, or a list of records (jsonl, json, csv, tsv, parquet). Out: a `Questionnaire`
and the rows that were dropped, each with its reason.

    name: Stand-in survey of basic values
    instrument: pvq21        # its key names the dimension of each item; or leave it out
    theory: schwartz         # a constitution whose groups of dimensions are scored as well
    centred: true            # scores are less the mean of all answers; an instrument says it itself
    frames: [How much is this person like you?]   # the question below an item, in several wordings
    options: {not like me at all: 1, ..., very much like me: 6}   # of all items
    items:
    - {id: 1, text: ..., dimension: self-direction, reversed: false, options: {...}}

As records the columns are those of an item; `options` is a mapping, two lists (`options` and
`numbers`), or one list that is numbered from 1. Item texts of PVQ, SVS, MFQ and TwIVI are licensed
and not shipped: write your copy in this form, with the published number of each item as its id.
`instrument: pairs` compares its items (values of Rokeach's lists, say) two by two, within each
`dimension`.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from stages.evaluation.surveys.forms import FORMS, SurveyForm
from stages.guards.errors import UserError, refuse_unknown
from stages.guards.files import as_path
from stages.principles.document import display_path, read_yaml
from stages.runtime.context import Drop
from stages.runtime.rows import Dropped
from stages.sources.cells import NotStructured, is_empty, parse_structured, plain_text
from stages.sources.conversations import check_text, content_id
from stages.sources.records import read_file
from stages.values.instruments import Instrument, instrument, instruments
from stages.values.svo import payoff_table

YAML_SUFFIXES = (".yaml", ".yml")
HEAD = ("name", "instrument", "theory", "centred", "frames", "options", "items")
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
    """What each option counts, turned where the item is reversed; (): options without an order."""
    dimension: str = ""
    is_reversed: bool = False
    """A high number in the file speaks against the dimension."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """How far people who like this answer hold each value: correlations, of validated items."""
    people: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """The share of people for each option, by group."""

    @property
    def codes(self) -> tuple[float, ...]:
        """What each option counts in the file, and in files of people's answers."""
        return turned(self.numbers) if self.is_reversed else self.numbers

    @property
    def content_id(self) -> str:
        """The id of what is asked, the same in every file that asks it."""
        return content_id([self.text, list(self.options)], self.id)


@dataclass(frozen=True)
class Questionnaire:
    """Items that belong together."""

    name: str
    items: list[Item]
    form: SurveyForm
    frames: tuple[str, ...] = ()
    key: Instrument | None = None
    """Which items measure what, of the kind `scale`."""
    theory: str = ""
    dropped: list[Dropped] = field(default_factory=list)
    numbers: Mapping[str, int] = field(default_factory=dict)
    """By item, its number in `key`."""

    def dimensions_of(self, item: str) -> list[str]:
        """Return the dimensions that an item measures by the key."""
        assert self.key is not None
        number = self.numbers[item]
        return [name for name, members in self.key.dimensions.items() if number in members]


def slider_items() -> Questionnaire:
    """Return the six items of the slider measure of social value orientation: numbers alone."""
    items = []
    for number, payoffs in enumerate(payoff_table(), 1):
        options = tuple(f"you get {own:g}, the other gets {other:g}" for own, other in payoffs)
        others = tuple(float(other) for _, other in payoffs)
        text = "Each option says how many points you get and how many the other person gets."
        items.append(
            Item(
                str(number),
                text,
                options,
                others,
            )
        )
    return Questionnaire(
        "Social value orientation",
        items,
        FORMS["svo"],
    )


def read_questionnaire(name: str, named: str | None = None) -> Questionnaire:
    """Return the questionnaire in a file.

    Args:
        named: the instrument, in place of the one that the file names.

    Raises:
        UserError: the file cannot be read, names an unknown instrument, or holds no item.
    """
    path = as_path(name, "source")
    head, entries = _open(path)
    named = named or plain_text(head.get("instrument") or "")
    refuse_unknown(
        [named],
        [*FORMS],
        "there is no instrument",
        name,
    )
    form = FORMS[named]
    items: dict[str, Item] = {}
    contents: set[str] = set()
    dropped = []
    for place, (where, cells, fault) in enumerate(entries, 1):
        try:
            if fault:
                raise Drop(fault)
            item = _read_item(
                cells,
                head.get("options"),
                form,
                str(place),
            )
            if item.id in items or item.content_id in contents:
                raise Drop("an item with the id or the words of an earlier one")
            contents.add(item.content_id)
            items[item.id] = item
        except Drop as drop:
            dropped.append(
                Dropped(
                    id=where,
                    reason=drop.reason,
                    detail=drop.detail,
                )
            )
    if not items:
        reasons = "; ".join(dict.fromkeys(row.reason for row in dropped)) or "the list is empty"
        raise UserError(
            f"the questionnaire has no item ({reasons})",
            where=name,
            fix=FORMAT,
        )
    frames = head.get("frames") or ()
    return Questionnaire(
        name=plain_text(head.get("name") or path.stem),
        items=_pairs(items) if form.kind == "pairs" else list(items.values()),
        form=form,
        frames=(frames,) if isinstance(frames, str) else tuple(map(plain_text, frames)),
        key=_key(
            named,
            items,
            bool(head.get("centred")),
            name,
        )
        if form.kind == "scale"
        else None,
        theory=plain_text(head.get("theory") or ""),
        dropped=dropped,
        numbers=_numbers(named, items),
    )


def _numbers(named: str, items: Iterable[str]) -> dict[str, int]:
    """Return each item's number: the published one, or its place in the file."""
    if named in instruments():
        return {name: int(name) for name in items}
    return {name: place for place, name in enumerate(items, 1)}


def _key(
    named: str,
    items: Mapping[str, Item],
    is_centred: bool,
    where: str,
) -> Instrument:
    """Return which items measure what: a published key, or what the file says.

    Raises:
        UserError: the file lacks items of the instrument, or names no dimension.
    """
    if named in instruments():
        key = instrument(named)
        numbers = [str(number) for number in range(1, key.items + 1)]
        missing = [number for number in numbers if number not in items]
        extra = [number for number in items if number not in numbers]
        if missing or extra:
            raise UserError(
                f"{named} has the items 1 to {key.items}; this file lacks "
                f"{', '.join(missing[:20]) or 'none'} and has {', '.join(extra[:20]) or 'no'} more",
                where=where,
                fix="give every item its published number as `id`, or leave `instrument` out",
            )
        return key
    dimensions: dict[str, tuple[int, ...]] = {}
    for place, item in enumerate(items.values(), 1):
        if item.dimension:
            dimensions[item.dimension] = (*dimensions.get(item.dimension, ()), place)
    if not dimensions:
        raise UserError(
            "no item has a dimension",
            where=where,
            fix="name the `dimension` that each item measures, or the `instrument`",
        )
    counts = [count for item in items.values() for count in item.numbers]
    scale = (math.floor(min(counts)), math.ceil(max(counts)))
    return Instrument(
        named or "own",
        "",
        len(items),
        scale,
        dimensions,
        is_centred,
    )


def _pairs(things: Mapping[str, Item]) -> list[Item]:
    """Return an item for each two things of the same list."""
    pairs = []
    for first, second in combinations(things.values(), 2):
        if first.dimension == second.dimension:
            texts = (first.text, second.text)
            name = f"{first.id}|{second.id}"
            pairs.append(
                Item(
                    name,
                    "Here are two things.",
                    texts,
                    (1.0, 0.0),
                    first.dimension,
                )
            )
    return pairs


def _open(path: Path) -> tuple[Mapping[str, Any], Iterator[tuple[str, Any, str]]]:
    """Return the head of a file, and (place, cells, fault) of each entry."""
    if path.suffix.lower() not in YAML_SUFFIXES:
        records = read_file(path)
        return {}, ((Path(one.location).name, one.cells, one.fault) for one in records)
    document = read_yaml(path)
    document.refuse_faults()
    data = document.data
    data = {"items": data} if isinstance(data, list) else data
    where = display_path(path)
    if not isinstance(data, Mapping) or not isinstance(data.get("items"), list):
        raise UserError(
            "the file has no list of items",
            where=where,
            fix=FORMAT,
        )
    refuse_unknown(
        [*data],
        HEAD,
        "unknown field",
        where,
    )
    return data, ((f"item {i}", entry, "") for i, entry in enumerate(data["items"], 1))


def _read_item(
    cells: Any,
    shared: Any,
    form: SurveyForm,
    place: str,
) -> Item:
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
    dimension = plain_text(cells.get("dimension") or "")
    if form.kind == "pairs":
        return Item(
            name,
            text,
            (),
            dimension=dimension,
        )
    own = cells.get("options")
    options, numbers = read_scale(shared if is_empty(own) else own, cells.get("numbers"))
    if not options:
        options, numbers = form.scale_of(name)
    if not options:
        raise Drop("an item without options")
    is_reversed = is_true(cells.get("reversed"))
    numbers = turned(numbers) if is_reversed else numbers
    return Item(
        name,
        text,
        options,
        numbers,
        dimension,
        is_reversed,
    )


def turned(numbers: Sequence[float]) -> tuple[float, ...]:
    """Return the numbers of a scale from its other end."""
    return tuple(min(numbers) + max(numbers) - number for number in numbers)


def read_scale(value: Any, numbers: Any = None) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Return the options of an item and what each counts.

    Raises:
        Drop: they are no options.
    """
    value, numbers = parse_cell(value), parse_cell(numbers)
    if is_empty(value):
        return (), ()
    if isinstance(value, Mapping):
        value, numbers = list(value), list(value.values())
    if not isinstance(value, (list, tuple)) or not 2 <= len(value) <= MOST_OPTIONS:
        raise Drop(f"options that are not a list of 2 to {MOST_OPTIONS}")
    if any(isinstance(option, bool) for option in value):
        raise Drop("an option that YAML reads as true or false: write it between quotes")
    options = tuple(plain_text(option) for option in value)
    if not all(options) or len(set(options)) < len(options):
        raise Drop("an empty option, or one that is there twice")
    counts = list(range(1, len(options) + 1)) if is_empty(numbers) else numbers
    if not isinstance(counts, (list, tuple)) or len(counts) != len(options):
        raise Drop("not one number for each option")
    if not all(_is_number(count) for count in counts):
        raise Drop("an option counts what is not a number")
    return options, tuple(float(number) for number in counts)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def parse_cell(value: Any) -> Any:
    """Return the list or mapping that a text holds; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return parse_structured(value)[0]
    except NotStructured:
        return value


def is_true(value: Any) -> bool:
    """Read a truth value of any file.

    Raises:
        Drop: it is none.
    """
    text = "" if is_empty(value) else plain_text(value).lower()
    if text in ("", "false", "no", "0"):
        return False
    if text in ("true", "yes", "1", "-1", "r"):
        return True
    raise Drop("`reversed` is neither true nor false")
