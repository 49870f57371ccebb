"""People's answers to the items of a questionnaire, by group: microdata or files of means.

In: one file of either form (jsonl, json, csv, tsv, parquet; the World Values Survey, the European
Social Survey, or your own).

    microdata  a row for each person: the group (`country`), a weight if there is one, and a column
               for each item, named by its id or by `columns`, with the option's number.
               Any other code (-1, 77, 99, "") is no answer; it is left out and counted
    means      a row for each group and item: columns `item` and `mean`, and that of the group

Out: for each group the mean number of each item and, of microdata, the share of each option.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from stages.evaluation.surveys.questionnaire import Item, turned
from stages.guards.errors import UserError
from stages.guards.files import as_path
from stages.runtime.typed_config import Text
from stages.sources.cells import plain_text
from stages.sources.records import Record, read_file, require_columns


@dataclass(frozen=True, kw_only=True)
class PeopleFile:
    """A file of people's answers, and the columns that hold them."""

    file: Text
    """Microdata or means."""
    group: Text = "country"
    """The column of the groups."""
    weight: Text | None = None
    """The column of a person's weight; null: everybody counts once."""
    columns: dict[str, str] = field(default_factory=dict)
    """By column, the id of its item; {}: columns are named by the ids."""
    is_reversed: bool = False
    """Numbers run the other way than in the questionnaire, as in ESS (1: very much like me)."""


@dataclass(frozen=True)
class People:
    """What groups of people answered."""

    means: Mapping[str, Mapping[str, float]]
    """By group and item, turned where the item is reversed."""
    items: list[Item]
    """With the shares of each group, of microdata."""
    answers: int
    missing: int
    """Cells without an answer on the item's scale."""

    def facts(self) -> dict[str, Any]:
        """Return what was read."""
        return {
            "groups": len(self.means),
            "answers": self.answers,
            "missing": self.missing,
        }


def read_people(options: PeopleFile, items: Sequence[Item]) -> People:
    """Return people's answers to the items.

    Raises:
        UserError: the file cannot be read, lacks the columns, or answers no item.
    """
    records = [one for one in read_file(as_path(options.file, "people.file")) if not one.fault]
    require_columns(records, [options.group])
    is_means = all("item" in one.cells and "mean" in one.cells for one in records)
    people = (_read_means if is_means else _read_microdata)(
        records,
        options,
        items,
    )
    if not people.means:
        known = ", ".join(item.id for item in items[:10])
        raise UserError(
            "no answer on the scale of an item",
            where=options.file,
            fix=f"name the columns by the ids of items ({known}, ...), or map them in `columns`",
        )
    return people


def _read_means(
    records: Sequence[Record],
    options: PeopleFile,
    items: Sequence[Item],
) -> People:
    by_id = {item.id: item for item in items}
    means: dict[str, dict[str, float]] = {}
    missing = 0
    for record in records:
        name = plain_text(record.value("item"))
        item = by_id.get(options.columns.get(name, name))
        number = _number(record.value("mean"))
        if item is None or number is None:
            missing += 1
        elif min(item.codes) <= number <= max(item.codes):
            group = plain_text(record.value(options.group))
            if item.is_reversed != options.is_reversed:
                number = min(item.codes) + max(item.codes) - number
            means.setdefault(group, {})[item.id] = number
        else:
            missing += 1
    return People(
        means,
        list(items),
        len(records) - missing,
        missing,
    )


def _read_microdata(
    records: Sequence[Record], options: PeopleFile, items: Sequence[Item]
) -> People:
    column_of = {name: column for column, name in options.columns.items()}
    totals: dict[tuple[str, str], list[float]] = {}
    answers = missing = 0
    for record in records:
        weight = _number(record.value(options.weight)) if options.weight else 1.0
        group = plain_text(record.value(options.group))
        for item in items:
            column = column_of.get(item.id, item.id)
            if column not in record.cells:
                continue
            codes = turned(item.codes) if options.is_reversed else item.codes
            number = _number(record.value(column))
            if not weight or weight < 0 or number not in codes:
                missing += 1
                continue
            answers += 1
            shares = totals.setdefault((group, item.id), [0.0] * len(codes))
            shares[codes.index(number)] += weight
    means: dict[str, dict[str, float]] = {}
    shared = []
    for item in items:
        people = {}
        for (group, name), shares in totals.items():
            if name == item.id:
                total = sum(shares)
                people[group] = [share / total for share in shares]
                pairs = zip(
                    people[group],
                    item.numbers,
                    strict=True,
                )
                means.setdefault(group, {})[name] = sum(share * n for share, n in pairs)
        shared.append(replace(item, people=people))
    return People(
        means,
        shared,
        answers,
        missing,
    )


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
