"""The browser's entries, packed so that a page holds 100,000 of them.

In: the `Section`s of `browse`. Out: `Packed`, as plain data for report.js, which opens a block only
to show one of its entries or to search its texts.

    index    by entry, in order: `flags` (bits), `principles` (the number of a set of them),
             `kinds`; small, not compressed
    blocks   base64 of zlib of lines, one entry a line, each a JSON array of the values of
             `fields`. Names are stored once, so a search for "response" matches texts, not fields;
             lists of dicts are written by `nested` in the same way
"""

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stages.report.views.browse import Entry, Section

BLOCK = 500
"""Entries of a block; about half a megabyte of long answers."""
INDEXED = ("flags", "principles", "kind")


@dataclass(frozen=True)
class Packed:
    """`head` becomes JSON in the page; each of the `blocks` becomes an element."""

    head: dict[str, Any]
    blocks: list[str]


def pack(section: Section) -> Packed:
    """Pack one section; all its entries have the same keys."""
    entries = section.entries
    fields = []
    if entries:
        fields = [key for key in entries[0] if key not in INDEXED]
    nested = {}
    for field in fields:
        keys = _keys_within(entries, field)
        if keys:
            nested[field] = keys
    head = {
        "step": section.step,
        "kind": section.kind,
        "total": section.total,
        "shown": len(entries),
        "block": BLOCK,
        "fields": fields,
        "nested": nested,
        **_index(entries),
    }
    blocks = []
    for start in range(0, len(entries), BLOCK):
        blocks.append(_block(entries[start : start + BLOCK], fields, nested))
    return Packed(head, blocks)


def as_script(data: Any) -> str:
    """JSON that is safe inside a <script> element, with any texts in it."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _index(entries: Sequence[Entry]) -> dict[str, Any]:
    """The fields of every entry that the page's filters need."""
    bits: dict[str, int] = {}
    sets: dict[tuple[str, ...], int] = {}
    kinds: dict[str, int] = {}
    of_flags = []
    of_set = []
    of_kind = []
    for entry in entries:
        flags = 0
        for flag in entry["flags"]:
            flags |= bits.setdefault(flag, 1 << len(bits))
        of_flags.append(flags)
        of_set.append(sets.setdefault(tuple(entry["principles"]), len(sets)))
        of_kind.append(kinds.setdefault(entry["kind"], len(kinds)))
    return {
        "of_flags": of_flags,
        "of_set": of_set,
        "of_kind": of_kind,
        "flags": bits,
        "sets": list(sets),
        "kinds": list(kinds),
    }


def _keys_within(entries: Sequence[Entry], field: str) -> list[str]:
    """The keys of a field that holds lists of dicts; none for any other field."""
    first: Any = next((entry[field] for entry in entries if entry[field]), None)
    if isinstance(first, list) and isinstance(first[0], dict):
        return list(first[0])
    return []


def _block(
    entries: Sequence[Entry],
    fields: Sequence[str],
    nested: dict[str, list[str]],
) -> str:
    lines = []
    for entry in entries:
        values = [_value(entry[field], nested.get(field)) for field in fields]
        lines.append(json.dumps(values, ensure_ascii=False, allow_nan=False))
    text = "\n".join(lines).encode("utf-8", "replace")
    return base64.b64encode(zlib.compress(text, 6)).decode()


def _value(value: Any, keys: list[str] | None) -> Any:
    if not keys:
        return value
    return [[item[key] for key in keys] for item in value]
