"""What a column of right answers holds: numbers, letters, labels or texts, decided once for all.

In: the answers of all questions, and their options. Out: the place of each right option. Whether a
cell is a number or a text is never decided cell by cell: "1" may be both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any, Literal

from stages.guards.errors import UserError
from stages.sources.cells import plain_text

GoldForm = Literal["auto", "number", "letter", "label", "text"]
SHOWN_EXAMPLES = 3
EMPTY = -1
"""The place of a right option that has no text."""
READINGS = {
    "text": "texts of options",
    "label": "the options' own labels",
    "letter": "letters from A",
    "number 0": "numbers from 0",
    "number 1": "numbers from 1",
}


@dataclass(frozen=True)
class Options:
    """The options of one question."""

    texts: list[str]
    labels: list[str]
    """The options' own names; []: they have none."""
    are_numbers: bool
    """The options are numbers in the file, not texts."""
    empty: tuple[int, ...] = ()
    """Places in the file that hold no option: letters and numbers count them too."""

    def place_of(self, number: int) -> int | None:
        """Return the place of the option that is this one in the file, EMPTY, or None."""
        if number in self.empty:
            return EMPTY
        place = number - sum(other < number for other in self.empty)
        return place if number >= 0 and place < len(self.texts) else None


@dataclass(frozen=True)
class Gold:
    """A right answer as it stands in a file."""

    where: str
    value: Any
    options: Options


def read_gold(
    answers: Sequence[Gold], form: GoldForm, first: int | None, name: str
) -> tuple[list[int], str]:
    """Return the place of every right option, under the one reading that fits all answers.

    Args:
        form: the reading, or `auto`.
        first: the number of the first option; None: 0, unless only counting from 1 fits.
        name: of the column, for messages.

    Returns:
        The places (`EMPTY`: the option has no text), and how the column was read.

    Raises:
        UserError: no reading fits all answers, or several do and disagree.
    """
    if not answers:
        return [], ""
    readings = {}
    for reading in _allowed(form, first):
        readings[reading] = [_place(gold, reading, first) for gold in answers]
    fitting = {reading: places for reading, places in readings.items() if None not in places}
    if not fitting:
        raise _none_fits(answers, readings, name)
    if "number 0" in fitting:
        fitting.pop("number 1", None)
    if "label" in fitting:
        fitting.pop("letter", None)
    distinct: dict[tuple[int | None, ...], str] = {}
    for reading, places in fitting.items():
        distinct.setdefault(tuple(places), reading)
    if len(distinct) > 1:
        raise _several_fit(answers, fitting, name)
    reading = next(iter(fitting))
    said = READINGS.get(reading, f"numbers from {first}")
    note = f"{name}: {said}"
    if reading == "number 0" and first is None and _fits_from_one(readings):
        note += " (numbers from 1 would fit too: see `first`)"
    return [place for place in fitting[reading] if place is not None], note


def _allowed(form: GoldForm, first: int | None) -> list[str]:
    """Return the readings to try, those of a text first.

    Where several fit and agree, the first one is named.
    """
    numbers = ["number 0", "number 1"] if first is None else [f"number {first}"]
    if form == "number":
        return numbers
    return ["text", "label", "letter", *numbers] if form == "auto" else [form]


def _fits_from_one(readings: dict[str, list[int | None]]) -> bool:
    return None not in readings.get("number 1", [None])


def _place(gold: Gold, reading: str, first: int | None) -> int | None:
    """Return the place of the right option under one reading; None where it does not fit."""
    value = gold.value
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    options = gold.options
    text = plain_text(value)
    if isinstance(value, float) and value.is_integer():
        text = str(int(value))
    bare = text.removeprefix("(").rstrip(").:")
    if reading == "text":
        if not isinstance(value, str) and not options.are_numbers:
            return None
        place = _index(options.texts, text)
        return _index(options.texts, bare) if place is None else place
    if reading == "label":
        return _index(options.labels, bare)
    if reading == "letter":
        place = _letter(bare)
    else:
        place = _number(value, bare)
        if place is not None:
            place -= int(reading.partition(" ")[2])
    return None if place is None else options.place_of(place)


def _letter(text: str) -> int | None:
    """Return the place of a letter in the alphabet."""
    if len(text) != 1:
        return None
    place = ascii_uppercase.find(text.upper())
    return place if place >= 0 else None


def _number(value: Any, text: str) -> int | None:
    """Return a whole number."""
    digits = text.removeprefix("-").removesuffix(".0")
    if isinstance(value, bool) or not digits.isdecimal():
        return None
    return int(float(text))


def _index(names: Sequence[str], text: str) -> int | None:
    """Return the place of a name, of any case if only one name then fits."""
    if text in names:
        return names.index(text)
    alike = [place for place, name in enumerate(names) if name.casefold() == text.casefold()]
    return alike[0] if len(alike) == 1 else None


def _none_fits(
    answers: Sequence[Gold], readings: dict[str, list[int | None]], name: str
) -> UserError:
    """The error that names, for the reading that fits best, answers that do not fit."""
    best = min(readings, key=lambda reading: readings[reading].count(None))
    misfits = [gold for gold, place in zip(answers, readings[best], strict=True) if place is None]
    gold = misfits[0]
    what = f"the right answer {gold.value!r} is not one of the {len(gold.options.texts)} options"
    fits = len(answers) - len(misfits)
    if fits:
        shown = ", ".join(f"{gold.value!r} ({gold.where})" for gold in misfits[:SHOWN_EXAMPLES])
        what += (
            f": {fits} of {len(answers)} cells of `{name}` are {READINGS.get(best, best)}, and "
            f"these are not: {shown}"
        )
    return UserError(
        what,
        where=gold.where,
        fix=f"let all cells of `{name}` hold numbers, letters or texts of options; set `first` to "
        "the number of the first option",
    )


def _several_fit(
    answers: Sequence[Gold], fitting: dict[str, list[int | None]], name: str
) -> UserError:
    place = 0
    while len({places[place] for places in fitting.values()}) == 1:
        place += 1
    gold = answers[place]
    shown = []
    for reading, places in fitting.items():
        right = places[place] or 0
        option = "no text" if right == EMPTY else repr(gold.options.texts[right])
        shown.append(f"{READINGS[reading]}: {option}")
    return UserError(
        f"all cells of `{name}` can be read in several ways; {gold.value!r} is, by "
        + "; by ".join(shown),
        where=gold.where,
        fix="set `gold_is` to number, letter, label or text",
    )
