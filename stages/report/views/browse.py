"""Rows as the entries of the report's browser: prompt -> response -> critique -> revision ->
preference.

In: artifacts. Out: one `Section` a step, as plain data for the page's script. Rows that belong
together become one
entry: the rounds of a response, the principles of a pair, the policies' answers to a prompt, the
    ratings of a group.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.runtime.artifacts import Artifact
from stages.runtime.rows import Judgement, Message, Pair, Rating, Revision, Verdict

Entry = dict[str, Any]


@dataclass(frozen=True)
class Section:
    """The entries of one step that are shown, and how many there are."""

    step: str
    kind: str
    total: int
    entries: list[Entry]


def sections(artifacts: Sequence[Artifact], max_rows: int) -> list[Section]:
    """At most `max_rows` entries a step, the first ones; revisions before verdicts, pairs,
    judgements and ratings.
    """
    found = []
    for source in artifacts:
        row_type = source.row_type
        if row_type and row_type in _ENTRIES:
            key, entry = _ENTRIES[row_type]
            groups = _grouped(source.rows(), key)
            found.append(
                Section(
                    source.step,
                    row_type.__name__,
                    len(groups),
                    [entry(g) for g in groups[:max_rows]],
                )
            )
    order = [row_type.__name__ for row_type in _ENTRIES]
    return sorted(found, key=lambda section: order.index(section.kind))


def dropped(artifacts: Sequence[Artifact], max_rows: int) -> list[Section]:
    """The rows that did not make it, of every step."""
    lost = [
        {
            "id": row.id,
            "step": source.step,
            "reason": row.reason,
            "principles": [],
            "flags": [],
            "kind": source.step,
        }
        for source in artifacts
        for row in source.dropped()
    ]
    return [Section("dropped rows", "Dropped", len(lost), lost[:max_rows])] if lost else []


def as_script(data: Any) -> str:
    """JSON that can stand inside a <script> element, whatever the texts hold."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _grouped(rows: Iterable[Any], key: Callable[[Any], str]) -> list[list[Any]]:
    groups: dict[str, list[Any]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return list(groups.values())


def _head(row: Any, entry_id: str, principles: Iterable[str], flags: dict[str, bool]) -> Entry:
    prompt: list[Message] = row.prompt
    return {
        "id": entry_id,
        "kind": row.kind,
        "prompt": [[message["role"], message["content"]] for message in prompt],
        "principles": list(dict.fromkeys(principles)),
        "flags": [name for name, is_set in flags.items() if is_set],
    }


def _revisions(rounds: list[Revision]) -> Entry:
    rounds = sorted(rounds, key=lambda row: row.round)
    flags = {
        "faulty": any(r.faulty for r in rounds),
        "changed": any(r.response != r.previous for r in rounds),
        "unchanged": all(r.response == r.previous for r in rounds),
    }
    return _head(rounds[0], rounds[0].response_id, (r.principle for r in rounds), flags) | {
        "original": rounds[0].original,
        "rounds": [
            {
                "principle": r.principle,
                "faulty": r.faulty,
                "critique": r.critique,
                "previous": r.previous,
                "response": r.response,
            }
            for r in rounds
        ],
    }


def _verdicts(rows: list[Verdict]) -> Entry:
    bad = [
        [p for p, violated in zip(r.principles, r.violated, strict=False) if violated] for r in rows
    ]
    judged = [
        [p for p, share in zip(r.principles, r.judged, strict=False) if share > 0.5] for r in rows
    ]
    flags = {
        "violated": any(r.any_violation for r in rows)
        or any(bad)
        or any(j for j, r in zip(judged, rows, strict=True) if not r.violated),
        "evasive": any(bool(r.evasive) for r in rows),
        "changed": len({r.response for r in rows}) > 1,
        "unchanged": len({r.response for r in rows}) == 1,
    }
    principles = (p for names in (*bad, *judged) for p in names)
    return _head(rows[0], rows[0].response_id, principles, flags) | {
        "answers": [
            {
                "policy": r.policy,
                "response": r.response,
                "violated": bad[i],
                "judged": judged[i],
                "marks": [
                    mark
                    for mark, is_set in (
                        ("evasive", bool(r.evasive)),
                        ("not well-formed", r.well_formed is False),
                        ("off topic", r.on_topic is False),
                    )
                    if is_set
                ],
            }
            for i, r in enumerate(rows)
        ]
    }


def _under(row: Pair | Rating, scores: Sequence[float] = ()) -> list[list[Any]]:
    """[principle, whether it was turned to its opposite, its score if each has one]."""
    negated = row.negated or [False] * len(row.principles)
    told = [[_number(score)] for score in scores] or [[] for _ in row.principles]
    return [[p, n, *more] for p, n, more in zip(row.principles, negated, told, strict=True)]


def _number(value: float) -> str:
    return f"{value:.3f}".replace("-", "\u2212")


def _pair(rows: list[Pair]) -> Entry:
    pair = rows[0]
    flags = {
        "changed": pair.chosen != pair.rejected,
        "flips": any(
            (ab > 0) != (ba > 0) for ab, ba in zip(pair.margins_ab, pair.margins_ba, strict=True)
        ),
        "opposite": any(pair.negated),
        "ruled": bool(pair.override),
        "noise": pair.noise,
        "unsafe": False in (pair.chosen_safe, pair.rejected_safe),
    }
    return _head(pair, pair.id, pair.principles, flags) | {
        "chosen": pair.chosen,
        "rejected": pair.rejected,
        "safe": [pair.chosen_safe, pair.rejected_safe],
        "label": round(pair.label, 4),
        "margin": round(pair.margin, 4),
        "under": _under(pair),
        "deciding": pair.deciding,
        "override": pair.override,
        "noise": pair.noise,
    }


def _ratings(rows: list[Rating]) -> Entry:
    ranked = sorted(rows, key=lambda row: (-row.score, row.id))
    flags = {"opposite": any(any(row.negated) for row in rows)}
    rated_under = (p for row in ranked for p in row.principles)
    head = _head(rows[0], rows[0].prompt_id, rated_under, flags)
    ratings = [
        {"score": _number(r.score), "response": r.response, "under": _under(r, r.scores)}
        for r in ranked
    ]
    return head | {"ratings": ratings}


def _judgements(cells: list[Judgement]) -> Entry:
    flips = any((c.margin_ab > 0) != (c.margin_ba > 0) for c in cells)
    thoughts = [
        (c.principle, first, text)
        for c in cells
        for first, text in (("A", c.rationale_ab), ("B", c.rationale_ba))
    ]
    return _head(cells[0], cells[0].pair_id, (c.principle for c in cells), {"flips": flips}) | {
        "a": cells[0].response_a,
        "b": cells[0].response_b,
        "cells": [[c.principle, round(c.margin_ab, 3), round(c.margin_ba, 3)] for c in cells],
        "rationales": [[principle, first, text] for principle, first, text in thoughts if text],
    }


_ENTRIES: dict[Any, tuple[Callable[[Any], str], Callable[[list[Any]], Entry]]] = {
    Revision: (lambda row: row.response_id, _revisions),
    Verdict: (lambda row: row.prompt_id, _verdicts),
    Pair: (lambda row: row.id, _pair),
    Judgement: (lambda row: row.pair_id, _judgements),
    Rating: (lambda row: row.prompt_id, _ratings),
}


def principle_texts(source: Artifact) -> dict[str, str]:
    """The texts of a step's principles, by id."""
    principles = source.config.get("constitution") or {}
    return {
        name: p["text"] for name, p in principles.items() if isinstance(p, Mapping) and "text" in p
    }
