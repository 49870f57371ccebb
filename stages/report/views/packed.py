"""The browser's entries, packed so that a page holds 100,000 of them: an index for the filters,
texts in compressed blocks.

In: the `Section`s of `browse`. Out: `Packed`, as plain data for report.js, which opens a block only
when it shows an entry of it or searches its text.

    index    by entry, in order: `flags` (bits), `principles` (the number of a set of them),
    `kinds`; small, not compressed blocks   base64 of zlib of lines, one entry a line, each a JSON
    array of the values of `fields`. Names are told once, so a
             search for "response" finds what was said and no field; lists of dicts are written by
             `nested` in the same way
"""

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stages.report.views.browse import Entry, Section

BLOCK = 500  # entries; about half a megabyte of long answers
INDEXED = ("flags", "principles", "kind")


@dataclass(frozen=True)
class Packed:
    """`head` goes into the page as JSON, `blocks` each as an element of its own."""

    head: dict[str, Any]
    blocks: list[str]


def pack(section: Section) -> Packed:
    """One section; all its entries have the same keys."""
    entries = section.entries
    fields = [key for key in entries[0] if key not in INDEXED] if entries else []
    nested = {field: keys for field in fields if (keys := _keys_within(entries, field))}
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
    return Packed(
        head,
        [_block(entries[at : at + BLOCK], fields, nested) for at in range(0, len(entries), BLOCK)],
    )


def _index(entries: Sequence[Entry]) -> dict[str, Any]:
    flags = {
        flag: 1 << i
        for i, flag in enumerate(dict.fromkeys(flag for e in entries for flag in e["flags"]))
    }
    sets: dict[tuple[str, ...], int] = {}
    kinds: dict[str, int] = {}
    return {
        "of_flags": [sum(flags[flag] for flag in e["flags"]) for e in entries],
        "of_set": [sets.setdefault(tuple(e["principles"]), len(sets)) for e in entries],
        "of_kind": [kinds.setdefault(e["kind"], len(kinds)) for e in entries],
        "flags": flags,
        "sets": list(sets),
        "kinds": list(kinds),
    }


def _keys_within(entries: Sequence[Entry], field: str) -> list[str]:
    first: Any = next((e[field] for e in entries if e[field]), None)
    return list(first[0]) if isinstance(first, list) and isinstance(first[0], dict) else []


def _block(entries: Sequence[Entry], fields: Sequence[str], nested: dict[str, list[str]]) -> str:
    def value(entry: Entry, field: str) -> Any:
        keys = nested.get(field)
        return [[item[key] for key in keys] for item in entry[field]] if keys else entry[field]

    lines = [
        json.dumps([value(e, f) for f in fields], ensure_ascii=False, allow_nan=False)
        for e in entries
    ]
    return base64.b64encode(zlib.compress("\n".join(lines).encode("utf-8", "replace"), 6)).decode()
