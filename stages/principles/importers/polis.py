"""Public input as a constitution: statements of a Polis conversation on which all groups agree.

Comes in: `comments.csv` and `participants-votes.csv` of a Polis export (github.com/compdemocracy/
openData). Goes out: a principle for each statement that the groups agree on, with its
group-aware consensus as weight, and in its `source` who voted how.

The consensus is the product over the groups of (agreements + 1) / (votes + 2), so that a statement
on which one group disagrees falls, however large the other groups are (Small et al. 2021, Polis).
Collective Constitutional AI (Huang et al. 2024, arXiv 2406.07814) chose statements so, and rewrote
them by hand as principles; here a frame is put around the words of the public. Weights sum to 1.

Left out, and counted in the file's `source`: statements that moderators removed, people whom Polis
put into no group (their votes are in none of the products), and statements below the bounds.
"""

from __future__ import annotations

import argparse
import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.guards.errors import UserError
from stages.guards.text import number_from, read_count
from stages.principles.document import display_path, read_text
from stages.principles.faults import slug

COMMENT_COLUMNS = ("comment-id", "comment-body", "moderated")
GROUP = "group-id"
REMOVED = "-1"
"""What `moderated` holds of a statement that moderators removed."""
VOTES = {"1": 1, "-1": -1, "0": 0}
FRAME = "The response is in keeping with this statement of the public: \u201c{}\u201d"
LONGEST = 600
"""Characters of a statement."""


@dataclass(frozen=True)
class Bounds:
    """Which statements become principles."""

    agree: float = 0.5
    """The least consensus, as the share of agreement that equal groups with it would have: the
    geometric mean of the groups' smoothed shares.
    """
    votes: int = 5
    """The fewest votes in every group."""
    most: int | None = None
    """The best so many; None: all."""


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options that name the votes and the bounds."""
    bounds = Bounds()
    command.add_argument("--votes", type=Path, required=True, metavar="FILE.csv")
    command.add_argument(
        "--agree",
        type=number_from(0, 1),
        default=bounds.agree,
        help="least mean agreement of the groups",
    )
    command.add_argument(
        "--least-votes", type=int, default=bounds.votes, help="fewest votes in every group"
    )
    command.add_argument("--most", type=read_count, help="the best so many statements")


@dataclass(frozen=True)
class Statement:
    """A statement with its votes, by group: how many agreed, and how many voted."""

    number: str
    text: str
    groups: Mapping[str, tuple[int, int]]

    @property
    def shares(self) -> list[float]:
        """The smoothed share of agreement in each group."""
        return [(agreed + 1) / (votes + 2) for agreed, votes in self.groups.values()]

    @property
    def consensus(self) -> float:
        """The product of these shares."""
        product = 1.0
        for share in self.shares:
            product *= share
        return product


def read_statements(comments: Path, votes: Path) -> tuple[list[Statement], dict[str, int]]:
    """Return the statements that moderators left in, by consensus, and counts of what was read.

    Raises:
        UserError: a file is not as Polis writes it, or nobody is in a group.
    """
    texts, removed = _read_comments(comments)
    people = _read_rows(votes, (GROUP,))
    where = display_path(votes)
    missing = [number for number in texts if number not in people[0]]
    if missing:
        raise UserError(
            f"it has no column with the votes on statement {missing[0]}",
            where=where,
            fix="give both files of one conversation",
        )
    grouped = [row for row in people if row[GROUP].strip()]
    groups = sorted({row[GROUP].strip() for row in grouped})
    if not groups:
        raise UserError("nobody in it is in a group", where=where, fix="give an export with groups")
    counts = {number: dict.fromkeys(groups, (0, 0)) for number in texts}
    for line, row in enumerate(people, start=2):
        group = row[GROUP].strip()
        for number in texts if group else ():
            cell = row[number].strip()
            if not cell:
                continue
            if cell not in VOTES:
                raise UserError(
                    f"the vote on statement {number} is {cell!r}",
                    where=f"{where}:{line}",
                    fix="write 1 (agrees), -1 (disagrees), 0 (passes) or nothing",
                )
            agreed, cast = counts[number][group]
            counts[number][group] = (agreed + (VOTES[cell] == 1), cast + 1)
    statements = [Statement(number, texts[number], counts[number]) for number in texts]
    statements.sort(key=lambda one: (-round(one.consensus, 12), one.number))
    facts = {
        "statements": len(statements),
        "removed by moderators": removed,
        "people": len(people),
        "people without a group": len(people) - len(grouped),
        "groups": len(groups),
    }
    return statements, facts


def principles(
    comments: Path, votes: Path, bounds: Bounds, frame: str = FRAME
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Return the principles of a conversation as a constitution file has them, and the counts.

    Raises:
        UserError: as `read_statements`, or no statement is within the bounds.
    """
    statements, facts = read_statements(comments, votes)
    chosen = []
    for one in statements:
        enough = min(cast for _, cast in one.groups.values()) >= bounds.votes
        if enough and one.consensus >= bounds.agree ** len(one.shares):
            chosen.append(one)
    chosen = chosen[: bounds.most]
    if not chosen:
        raise UserError(
            f"none of {len(statements)} statements has {bounds.votes} votes in every group and a "
            f"mean agreement of {bounds.agree:g}",
            where=display_path(votes),
            fix="lower --least-votes or --agree",
        )
    total = sum(one.consensus for one in chosen)
    entries = []
    for one in chosen:
        entry = {
            "id": _id_of(one),
            "text": frame.format(one.text),
            "weight": one.consensus / total,
            "source": _provenance(one),
        }
        entries.append(entry)
    return entries, facts | {"within the bounds": len(chosen)}


def _id_of(one: Statement) -> str:
    words = "-".join(slug(one.text).split("-")[:5])[:50]
    return f"{words}-{slug(one.number).removeprefix('p-')}"


def _provenance(one: Statement) -> str:
    parts = [f"Statement {one.number}"]
    for name, (agreed, cast) in one.groups.items():
        parts.append(f"group {name}: {agreed} of {cast} agree")
    parts.append(f"consensus {one.consensus:.3f}.")
    return "; ".join(parts)


def _read_comments(path: Path) -> tuple[dict[str, str], int]:
    """Return the statements' texts by number, and how many moderators removed."""
    texts: dict[str, str] = {}
    removed = 0
    for line, row in enumerate(_read_rows(path, COMMENT_COLUMNS), start=2):
        number = row["comment-id"].strip()
        text = " ".join(row["comment-body"].split())
        if not re.fullmatch(r"\d+", number) or number in texts or not text or len(text) > LONGEST:
            raise UserError(
                f"the statement {number!r} has no number of its own, or no text of up to {LONGEST} "
                "characters",
                where=f"{display_path(path)}, row {line}",
                fix="correct or remove the row",
            )
        if row["moderated"].strip() == REMOVED:
            removed += 1
        else:
            texts[number] = text
    return texts, removed


def _read_rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    reader = csv.DictReader(io.StringIO(read_text(path)), strict=True)
    try:
        rows = list(reader)
    except csv.Error as error:
        raise _unlike(path, f"is no csv file: {error}") from None
    missing = [name for name in columns if name not in (reader.fieldnames or ())]
    if missing:
        raise _unlike(path, f"has no column {missing[0]!r}")
    for line, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise _unlike(path, f"has another number of cells in row {line} than in its header")
    if not rows:
        raise _unlike(path, "has no rows")
    return rows


def _unlike(path: Path, what: str) -> UserError:
    fix = "give comments.csv, and with --votes participants-votes.csv, as Polis exports them"
    return UserError(f"the file {what}", where=display_path(path), fix=fix)
