"""The rows that steps dropped, with their texts: entries of the report's browser.

In: the steps behind a page. Out: one `Section` of all dropped rows. A dropped row is stored as its
id and a reason; its texts are those of the row that the step read, looked up in the step's inputs.
A record of a file that became no row has its place in the file, and no text.
"""

from collections.abc import Sequence
from typing import Any

from stages.guards.errors import UserError
from stages.report.views.browse import Entry, Section, margin_cell, prompt_turns
from stages.runtime.artifacts import Artifact
from stages.runtime.rows import Dropped, Judgement

IDS = ("id", "pair_id", "response_id", "prompt_id")
"""The fields by which steps name the rows that they drop, the most exact one first."""
TEXTS = {
    "response": "response",
    "response_a": "A",
    "response_b": "B",
    "chosen": "chosen",
    "rejected": "rejected",
    "original": "response before its revisions",
    "critique": "critique",
    "question": "question",
}
"""By field of a row: what the page calls its text."""
MOST = 40
"""Rows of one id that are shown, such as the cells of a pair."""
Rows = dict[str, list[Any]]
"""Rows by an id that a dropped row may have."""


def dropped_section(artifacts: Sequence[Artifact], max_rows: int) -> list[Section]:
    """The dropped rows of all steps as one section; an empty list without any."""
    entries: list[Entry] = []
    total = 0
    for source in artifacts:
        dropped = source.dropped()
        total += len(dropped)
        shown = dropped[: max_rows - len(entries)]
        rows = _rows_behind(source, shown) if shown else {}
        entries += [_entry(source, row, rows) for row in shown]
    if not entries:
        return []
    return [Section("dropped rows", "Dropped", total, entries)]


def _rows_behind(source: Artifact, dropped: Sequence[Dropped]) -> Rows:
    """The rows of a step's inputs that its dropped rows may be, by their ids."""
    wanted: set[str] = set()
    for row in dropped:
        wanted.update(_whole_ids(row.id), _joined_ids(row.id))
    rows: Rows = {}
    for before in source.input_artifacts():
        for row in _read(before):
            names = {getattr(row, field, "") for field in IDS}
            for name in names & wanted:
                rows.setdefault(name, []).append(row)
    return rows


def _read(source: Artifact) -> list[Any]:
    """The rows of an input; none where it makes none, or where its file is damaged."""
    try:
        return source.rows() if source.manifest.rows else []
    except UserError:
        return []


def _whole_ids(row_id: str) -> list[str]:
    """The ids that a dropped row's id may be, the most exact one first.

    A step may add the number of a pass (`#2`), the name of an input (`base/`) or a principle
    (`|harm` after a pair's id).
    """
    before, _, _ = row_id.rpartition("#")
    _, _, after = row_id.partition("/")
    pair = "|".join(row_id.split("|")[:2])
    return [row_id, before or row_id, after or row_id, pair]


def _joined_ids(row_id: str) -> list[str]:
    """The ids of the two responses that a pair's id joins."""
    return row_id.split("|")[:2]


def _matches(row_id: str, rows: Rows) -> list[Any]:
    """The rows that an id stands for: those of the id, or both responses that it joins."""
    for name in _whole_ids(row_id):
        if name in rows:
            return rows[name][:MOST]
    return [row for name in _joined_ids(row_id) for row in rows.get(name, [])[:1]]


def _entry(source: Artifact, dropped: Dropped, rows: Rows) -> Entry:
    matches = _matches(dropped.id, rows)
    texts: dict[tuple[str, str], None] = {}
    cells = []
    for row in matches:
        for field, label in TEXTS.items():
            text = getattr(row, field, "")
            if text:
                texts[label, text] = None
        if isinstance(row, Judgement):
            cells.append(margin_cell(row))
    return {
        "id": dropped.id,
        "step": source.step,
        "reason": dropped.reason,
        "detail": dropped.detail,
        "prompt": prompt_turns(matches[0]) if matches else [],
        "texts": [list(text) for text in texts],
        "cells": cells,
        "principles": [],
        "flags": [],
        "kind": source.step,
    }
