"""What was read from a source: its form, how many records, what was dropped, and an example.

In: records and rows. Out: plain data for metrics, and lines for the terminal.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from stages.runtime.rows import Dropped, Message
from stages.sources.conversations import odd_turns
from stages.sources.forms import Form
from stages.sources.records import list_columns

SHOWN_TEXT = 300
"""Characters of a turn in an example."""


@dataclass
class Reading:
    """How a source was read; `as_metrics` is a part of the step's metrics."""

    form: str = ""
    """The recognised form."""
    records: int = 0
    """How many records the source has."""
    notes: list[str] = field(default_factory=list)
    """What was decided for a whole column."""
    odd: Counter[str] = field(default_factory=Counter)
    """Rows with an unusual order of turns, by what is unusual; they are used."""
    labels: Counter[str] = field(default_factory=Counter)
    """Labels of principles that were left out or respelled, by what is odd."""
    cells: Counter[str] = field(default_factory=Counter)
    """The forms of the cells."""
    example: list[Message] = field(default_factory=list)
    """The first row, as Credo reads it; roles other than those of messages are allowed."""

    def note(self, text: str) -> None:
        """Add a note, unless it is empty or there already."""
        if text and text not in self.notes:
            self.notes.append(text)

    def count_turns(self, messages: Sequence[Message]) -> None:
        """Count what is unusual about a row's conversation."""
        self.odd.update(odd_turns(messages))

    def as_metrics(self, source: str = "") -> dict[str, Any]:
        """Return it as plain data, with the name of the source, which identifies no file."""
        return {
            "source": source,
            "form": self.form,
            "cells": dict(self.cells),
            "records": self.records,
            "notes": self.notes,
            "odd": dict(self.odd),
            "example": self.example,
        }


def unread_columns(form: Form, columns: Sequence[str]) -> str:
    """Return a note on the columns of a file that its recognised form does not read; "" if none."""
    if not form.columns:
        return ""
    used = {
        *form.columns,
        *form.prompt,
        *form.better,
        *form.score,
        form.system,
        form.reasoning,
        *form.flags,
        *form.labels,
        form.first_safe,
        form.second_safe,
        form.turn,
        *(form.one_hot or form.scores or ()),
    }
    unread = [name for name in columns if name not in used]
    return f"columns that are not read: {list_columns(unread)}" if unread else ""


def shorten(messages: Sequence[Message]) -> list[Message]:
    """Return messages with their texts cut to what an example shows."""
    short = []
    for message in messages:
        text = message["content"]
        if len(text) > SHOWN_TEXT:
            text = f"{text[:SHOWN_TEXT]} ... ({len(text)} characters)"
        short.append({"role": message["role"], "content": text})
    return short


def example_pair(
    prompt: Sequence[Message], chosen: str, rejected: str, principles: Sequence[str] = ()
) -> list[Message]:
    """Return an example of a pair, with the principles under which people judged it."""
    sides = [{"role": "chosen", "content": chosen}, {"role": "rejected", "content": rejected}]
    under = [{"role": "under", "content": name} for name in principles]
    return shorten([*prompt, *under, *sides])


def name_drops(dropped: Sequence[Dropped]) -> str:
    """Return the reasons of dropped records with their counts and a place: "2 x a tie (f.csv:3)".

    It is the end of a message, in parentheses; "" where nothing was dropped.
    """
    first: dict[str, Dropped] = {}
    for row in dropped:
        first.setdefault(row.reason, row)
    parts = []
    for reason, count in Counter(row.reason for row in dropped).most_common():
        example = first[reason]
        detail = f": {example.detail}" if example.detail else ""
        parts.append(f"{count} x {reason} ({example.id}{detail})")
    return f" ({'; '.join(parts)})" if parts else ""
