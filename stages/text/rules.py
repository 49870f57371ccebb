"""Turn a user's own table of rules of thumb into a constitution file.

`python -m stages.text.rules FILE --rule rot --situation situation --tags rot-moral-foundations
--only split=train --only rot-bad=0 --most 2000 --out my-rules.yaml`

Comes in: a file of any kind that `sources` reads, such as Social Chemistry 101 (Forbes et al. 2020,
arXiv 2011.00620), MIC (Ziems et al. 2022, arXiv 2204.03021) or Moral Stories (Emelin et al. 2021,
arXiv 2012.15738). Goes out: YAML with one principle for each distinct rule, with the situations and
tags of all its rows, for `retrieve`. A rule keeps its words; the licence is that of the table.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stages.guards.console import open_console
from stages.guards.errors import UserError
from stages.guards.files import as_path
from stages.principles.constitution import Constitution, Principle
from stages.principles.document import MAX_BYTES, display_path, write_new
from stages.principles.faults import slug
from stages.principles.importers import to_yaml
from stages.runtime.store import derive_seed
from stages.sources.cells import plain_text
from stages.sources.records import Record, missing_column, read_file, require_columns

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
        seen += [record] if len(seen) < 1000 else []
        reason = _fault(record, columns)
        text = "" if reason else _sentence(plain_text(record.value(columns.rule)))
        if reason or not _is_principle(text):
            dropped[reason or "no rule in the row"] += 1
            continue
        key = " ".join(text.lower().split())
        dropped["a row more of a rule"] += key in rules
        rule = rules.setdefault(key, Rule(text))
        situation = plain_text(record.value(columns.situation)) if columns.situation else ""
        if situation and len(rule.situations) < SITUATIONS and _is_principle(situation):
            rule.situations.setdefault(situation)
        cell = plain_text(record.value(columns.tags)) if columns.tags else ""
        rule.tags |= dict.fromkeys(slug(tag) for tag in cell.split("|") if slug(tag) != "p")
    require_columns(seen, columns.names())
    chosen = set(sorted(rules, key=lambda key: derive_seed("rule", key))[:most])
    dropped["over the number of rules to take"] += len(rules) - len(chosen)
    return [rule for key, rule in rules.items() if key in chosen], +dropped


def as_constitution(rules: Sequence[Rule], name: str, source: str) -> Constitution:
    """Return rules as a principle set.

    Raises:
        UserError: there is none.
    """
    if not rules:
        raise UserError("no row gave a rule", where=source, fix="check --rule and --only")
    principles = []
    for number, rule in enumerate(rules, start=1):
        fields: dict[str, Any] = {"id": f"{slug(rule.text)[:48].strip('-')}-{number}"}
        fields |= {"text": rule.text, "situations": [*rule.situations], "tags": [*rule.tags]}
        principles.append(fields)
    note = f"Imported from {source}. Its licence is that of the file."
    return Constitution.model_validate({"name": name, "source": note, "principles": principles})


def _fault(record: Record, columns: Columns) -> str:
    """Why a record is left out; "" if it is not."""
    missing = missing_column(record, columns.names())
    if missing:
        return missing
    for column, wanted in columns.only.items():
        if plain_text(record.value(column)) != wanted:
            return f"{column} is not {wanted}"
    return ""


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


def _count(text: str) -> int:
    """A number from 1."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    """Import the table named on the command line; return 0, or 2 after a mistake of the user."""
    parser = argparse.ArgumentParser(
        prog="python -m stages.text.rules", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("file", metavar="FILE", help="csv, tsv, jsonl, json or parquet")
    parser.add_argument("--rule", required=True, metavar="COLUMN")
    parser.add_argument("--situation", metavar="COLUMN")
    parser.add_argument("--tags", metavar="COLUMN")
    parser.add_argument("--only", action="append", default=[], metavar="COLUMN=VALUE")
    parser.add_argument("--most", type=_count, default=2000, help="rules, drawn by hash (2000)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.yaml")
    options = parser.parse_args(arguments)
    try:
        only = {}
        for condition in options.only:
            column, sign, value = condition.partition("=")
            if not sign:
                raise UserError(
                    f"{condition!r} is not COLUMN=VALUE",
                    where="--only",
                    fix="write --only split=train",
                )
            only[column] = value
        columns = Columns(options.rule, options.situation, options.tags, only)
        path = as_path(options.file)
        rules, dropped = read_rules(read_file(path), columns, options.most)
        text = to_yaml(as_constitution(rules, slug(options.out.stem), path.name))
        if len(text.encode()) > MAX_BYTES:
            raise UserError(
                f"{len(rules)} rules make a file of {len(text.encode()):,} bytes, more than "
                f"{MAX_BYTES:,}",
                where=display_path(options.out),
                fix="set --most to a smaller number, or leave --situation out",
            )
        write_new(options.out, text)
    except UserError as error:
        open_console(stderr=True).print(str(error))
        return 2
    reasons = "".join(f"; {count:,} x {reason}" for reason, count in dropped.items())
    open_console().print(f"{display_path(options.out)}: {len(rules):,} rules{reasons}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
