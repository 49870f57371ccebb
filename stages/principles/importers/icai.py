"""Principles and pairs of icai, from the files that it writes.

Comes in: a JSON file of Inverse Constitutional AI (Findeis et al. 2024, github.com/rdnfn/icai): a
list of principles (`011_principles_list`, `050_filtered_principles`), principles by cluster
(`030_distilled_principles_per_cluster`), a numbered text (`060_constitution`), or annotated pairs,
in which every principle has voted on every pair. Goes out: principles, with the votes in their
`source`; and the pairs with what was preferred, as `human_pairs` reads them.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from stages.guards.errors import UserError
from stages.guards.files import parse_json
from stages.principles.document import display_path, read_text, write_new
from stages.principles.proposed import clean, proposal_id

ITEM = re.compile(r"(?m)^\s*\d+[.)]\s+(.+)$")
SIDES = {"a": 0, "b": 1, "text_a": 0, "text_b": 1}


def read_principles(path: Path) -> list[dict[str, Any]]:
    """Return the principles of a file as a constitution file has them, each text once.

    Raises:
        UserError: it is none of icai's files.
    """
    data = parse_json(read_text(path), display_path(path))
    votes: dict[str, str] = {}
    if isinstance(data, str):
        texts: list[Any] = ITEM.findall(data)
    elif isinstance(data, list):
        texts = data
    elif isinstance(data, dict) and "annotators" in data:
        votes = _count_votes(data, path)
        texts = list(votes)
    elif isinstance(data, dict):
        texts = list(data.values())
    else:
        texts = []
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise _unlike(path, "holds no principles")
    entries: dict[str, dict[str, Any]] = {}
    for text in texts:
        sentence = clean(text)
        entry = {"id": proposal_id(sentence), "text": sentence}
        if votes:
            entry["source"] = votes[text]
        entries.setdefault(entry["id"], entry)
    return list(entries.values())


def read_pairs(path: Path) -> list[dict[str, str]]:
    """Return the pairs of annotated pairs, those with a preference: prompt, chosen, rejected.

    Raises:
        UserError: the file holds no annotated pairs.
    """
    data = parse_json(read_text(path), display_path(path))
    if not isinstance(data, dict) or "annotators" not in data:
        raise _unlike(path, "holds no annotated pairs")
    pairs = []
    for comparison in _comparisons(data, path):
        side = _preferred(data, comparison)
        texts = [_text_of(comparison, "a"), _text_of(comparison, "b")]
        if side is not None:
            prompt = str(comparison.get("prompt") or "")
            pairs.append({"prompt": prompt, "chosen": texts[side], "rejected": texts[1 - side]})
    return pairs


def write_pairs(pairs: list[dict[str, str]], out: Path) -> None:
    """Write pairs as one JSON object a line; a pair without a request has no `prompt`."""
    lines = []
    for pair in pairs:
        lines.append(json.dumps({name: text for name, text in pair.items() if text}))
    write_new(out, "\n".join([*lines, ""]))


def _count_votes(data: dict[str, Any], path: Path) -> dict[str, str]:
    """Return what each principle's votes are, in words, by its text."""
    words = {}
    comparisons = _comparisons(data, path)
    for name, annotator in data["annotators"].items():
        if annotator.get("type") != "principle" or not annotator.get("description"):
            continue
        counts = [0, 0, 0]
        for comparison in comparisons:
            vote = (comparison["annotations"].get(name) or {}).get("pref")
            chosen = _preferred(data, comparison)
            if vote not in SIDES or chosen is None:
                counts[2] += 1
            else:
                counts[SIDES[vote] != chosen] += 1
        words[annotator["description"]] = (
            f"{counts[0]} comparisons for it, {counts[1]} against it, {counts[2]} to which it does "
            "not apply, by icai"
        )
    return words


def _preferred(data: dict[str, Any], comparison: dict[str, Any]) -> int | None:
    default = (data.get("metadata") or {}).get("default_annotator")
    vote = (comparison["annotations"].get(str(default)) or {}).get("pref")
    return SIDES.get(str(vote))


def _comparisons(data: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    comparisons: Any = data.get("comparisons")
    annotators = data["annotators"]
    are_sound = (
        isinstance(comparisons, list)
        and isinstance(annotators, dict)
        and all(isinstance(one, dict) for one in annotators.values())
        and all(
            isinstance(one, dict) and isinstance(one.get("annotations"), dict)
            for one in comparisons
        )
    )
    if not are_sound:
        raise _unlike(path, "is cut, or no file of annotated pairs")
    return list(comparisons)


def _text_of(comparison: dict[str, Any], side: str) -> str:
    """Return a side of version 2 (`response_a.text`) or 1 (`text_a`)."""
    response = comparison.get(f"response_{side}")
    if isinstance(response, dict):
        return str(response.get("text") or "")
    return str(comparison.get(f"text_{side}") or "")


def _unlike(path: Path, what: str) -> UserError:
    fix = "give a JSON file from icai's `results` folder, or its annotated pairs"
    return UserError(f"the file {what}", where=display_path(path), fix=fix)
