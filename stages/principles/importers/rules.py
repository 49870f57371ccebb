"""A user's own table of rules of thumb as a constitution.

`python -m stages.principles.importers rules FILE --rule rot --situation situation --tags
rot-moral-foundations --only split=train --only rot-bad=0 --most 2000 --out my-rules.yaml`

Comes in: a file of any kind that `sources` reads, such as Social Chemistry 101 (Forbes et al. 2020,
arXiv 2011.00620), MIC (Ziems et al. 2022, arXiv 2204.03021) or Moral Stories (Emelin et al. 2021,
arXiv 2012.15738). Goes out: one principle for each distinct rule, with the situations and
tags of all its rows, for `retrieve`. A rule keeps its words; the licence is that of the table.
"""

import argparse
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from stages.guards.errors import UserError
from stages.guards.files import as_path
from stages.guards.text import read_count
from stages.principles.constitution import Constitution, Principle
from stages.principles.faults import slug
from stages.runtime.store import derive_seed
from stages.sources.cells import plain_text
from stages.sources.records import Record, missing_column, read_file, require_columns

EMPTY_SLUG = slug("")
LOOKED_AT = 1000
"""Records in which a column is looked for."""
SITUATIONS = 8
"""The most that a rule gets: more make the set long, and no prompt easier to match."""


@dataclass(frozen=True)
class Columns:
    """Which columns of a table hold what."""

    rule: str
    situation: str | None = None
    tags: str | None = None
    """Its cells name one tag or several, divided by bars."""
    only: Mapping[str, str] = field(default_factory=dict)
    """By column the only cell to take."""

    def names(self) -> list[str]:
        """The columns that a table must have."""
        return [name for name in (self.rule, self.situation, self.tags, *self.only) if name]


@dataclass
class Rule:
    """A rule of thumb, with what all its rows say of it."""

    text: str
    situations: dict[str, None] = field(default_factory=dict)
    tags: dict[str, None] = field(default_factory=dict)


def read_rules(
    records: Iterable[Record], columns: Columns, most: int | None = None
) -> tuple[list[Rule], Counter[str]]:
    """Return the distinct rules of a table in its order, and why rows gave none.

    Args:
        most: so many rules, drawn by a hash of their texts, as tables are sorted by topic.

    Raises:
        UserError: no record has a column.
    """
    rules: dict[str, Rule] = {}
    dropped: Counter[str] = Counter()
    seen: list[Record] = []
    for record in records:
        if len(seen) < LOOKED_AT:
            seen.append(record)
        reason = _fault(record, columns)
        if reason:
            dropped[reason] += 1
            continue
        text = _sentence(_cell(record, columns.rule))
        key = text.lower()
        if key in rules:
            dropped["a row more of a rule"] += 1
        rule = rules.setdefault(key, Rule(text))
        _add_facts(rule, record, columns)
    require_columns(seen, columns.names())
    drawn = sorted(rules, key=lambda key: derive_seed("rule", key))
    chosen = set(drawn[:most])
    left_out = len(rules) - len(chosen)
    if left_out:
        dropped["over the number of rules to take"] = left_out
    return [rule for key, rule in rules.items() if key in chosen], dropped


def _add_facts(rule: Rule, record: Record, columns: Columns) -> None:
    """Add the situation and the tags of one of a rule's rows."""
    situation = _cell(record, columns.situation)
    has_place = len(rule.situations) < SITUATIONS
    if situation and has_place and _is_principle(situation):
        rule.situations.setdefault(situation)
    for tag in _cell(record, columns.tags).split("|"):
        name = slug(tag)
        if name != EMPTY_SLUG:
            rule.tags.setdefault(name)


def constitution_of_table(
    file: Path, columns: Columns, most: int | None = None, name: str = "rules"
) -> Constitution:
    """Return the distinct rules of a table as a principle set, whose source counts the other rows.

    Raises:
        UserError: the file cannot be read, no record has a column, or no row gives a rule.
    """
    path = as_path(file)
    rules, dropped = read_rules(read_file(path), columns, most)
    if not rules:
        raise UserError("no row gave a rule", where=path.name, fix="check --rule and --only")
    principles = []
    for number, rule in enumerate(rules, start=1):
        words = slug(rule.text)[:48].strip("-")
        fields = {
            "id": f"{words}-{number}",
            "text": rule.text,
            "situations": list(rule.situations),
            "tags": list(rule.tags),
        }
        principles.append(fields)
    reasons = "; ".join(f"{count:,} x {reason}" for reason, count in dropped.items())
    source = f"{path.name}, whose licence it has."
    if reasons:
        source += f" Left out: {reasons}."
    return Constitution.model_validate({"name": name, "source": source, "principles": principles})


def _fault(record: Record, columns: Columns) -> str:
    """Why a record is left out; "" if it is not."""
    missing = missing_column(record, columns.names())
    if missing:
        return missing
    for column, wanted in columns.only.items():
        if _cell(record, column) != wanted:
            return f"{column} is not {wanted}"
    text = _sentence(_cell(record, columns.rule))
    return "" if _is_principle(text) else "no rule in the row"


def _cell(record: Record, column: str | None) -> str:
    """The text in a column; "" without a column."""
    return plain_text(record.value(column)) if column else ""


def _sentence(text: str) -> str:
    """A rule with its full stop."""
    text = " ".join(text.split())
    return f"{text}." if text and text[-1] not in ".!?" else text


def _is_principle(text: str) -> bool:
    """Whether a constitution can hold the text."""
    try:
        Principle(id="text", text=text)
    except ValidationError:
        return False
    return True


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options that say which columns of a table hold what."""
    command.add_argument("--rule", required=True, metavar="COLUMN")
    command.add_argument("--situation", metavar="COLUMN")
    command.add_argument("--tags", metavar="COLUMN")
    command.add_argument("--only", action="append", default=[], metavar="COLUMN=VALUE")
    command.add_argument(
        "--most", type=read_count, default=2000, help="rules, drawn by hash (2000)"
    )


def columns_of(options: argparse.Namespace) -> Columns:
    """Return the columns that a command line names.

    Raises:
        UserError: a condition is not COLUMN=VALUE.
    """
    only = {}
    for condition in options.only:
        column, sign, value = condition.partition("=")
        if not sign:
            raise UserError(
                f"{condition!r} is not COLUMN=VALUE", where="--only", fix="write --only split=train"
            )
        only[column] = value
    return Columns(options.rule, options.situation, options.tags, only)
