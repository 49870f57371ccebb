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

from pydantic import BaseModel, ValidationError

from stages.guards.errors import UserError
from stages.guards.files import parse_json
from stages.principles.document import display_path, read_text, write_new
from stages.principles.proposed import clean, proposal_id

ITEM = re.compile(r"(?m)^\s*\d+[.)]\s+(.+)$")
SIDES = {"a": 0, "b": 1, "text_a": 0, "text_b": 1}


class Annotation(BaseModel):
    """What an annotator says of a comparison."""

    pref: Any = None


class Annotator(BaseModel):
    """A principle, or whoever else was asked."""

    type: Any = None
    description: Any = None


class Response(BaseModel):
    """One side of a comparison in version 2."""

    text: str | None = None


class Comparison(BaseModel):
    """Two responses; version 1 has their texts at the top."""

    annotations: dict[str, Annotation | None]
    prompt: Any = None
    response_a: Response | None = None
    response_b: Response | None = None
    text_a: Any = None
    text_b: Any = None

    def side_of(self, annotator: str) -> int | None:
        """Return the side that an annotator prefers: 0, 1, or None for neither."""
        annotation = self.annotations.get(annotator)
        if annotation is None:
            return None
        preference = str(annotation.pref)
        return SIDES.get(preference)

    def texts(self) -> list[str]:
        """Return the texts of both sides."""
        if self.response_a and self.response_b:
            texts = [self.response_a.text, self.response_b.text]
        else:
            texts = [self.text_a, self.text_b]
        return [str(text or "") for text in texts]


class Metadata(BaseModel):
    """Facts about the file."""

    default_annotator: str = ""
    """Whose preferences are those of the pairs: people's."""


class AnnotatedPairs(BaseModel):
    """A file of annotated pairs."""

    annotators: dict[str, Annotator]
    comparisons: list[Comparison]
    metadata: Metadata = Metadata()

    def preferred(self, comparison: Comparison) -> int | None:
        """Return the side that people prefer."""
        return comparison.side_of(self.metadata.default_annotator)


def read_principles(path: Path) -> list[dict[str, Any]]:
    """Return the principles of a file as a constitution file has them, each text once.

    Raises:
        UserError: it is none of icai's files.
    """
    data = _read(path)
    if isinstance(data, dict) and "annotators" in data:
        sources = _count_votes(_as_pairs(data, path))
    else:
        sources = dict.fromkeys(_texts(data), "")
    if not sources:
        raise _unlike(path, "holds no principles")
    entries: dict[str, dict[str, Any]] = {}
    for text, source in sources.items():
        sentence = clean(text)
        entry = {"id": proposal_id(sentence), "text": sentence}
        if source:
            entry["source"] = source
        entries.setdefault(entry["id"], entry)
    return list(entries.values())


def read_pairs(path: Path) -> list[dict[str, str]]:
    """Return the pairs of annotated pairs, those with a preference: prompt, chosen, rejected.

    Raises:
        UserError: the file holds no annotated pairs.
    """
    data = _read(path)
    if not isinstance(data, dict) or "annotators" not in data:
        raise _unlike(path, "holds no annotated pairs")
    annotated = _as_pairs(data, path)
    pairs = []
    for comparison in annotated.comparisons:
        side = annotated.preferred(comparison)
        if side is None:
            continue
        texts = comparison.texts()
        pair = {
            "prompt": str(comparison.prompt or ""),
            "chosen": texts[side],
            "rejected": texts[1 - side],
        }
        pairs.append(pair)
    return pairs


def write_pairs(pairs: list[dict[str, str]], out: Path) -> None:
    """Write pairs as one JSON object a line; a pair without a request has no `prompt`."""
    lines = []
    for pair in pairs:
        filled = {name: text for name, text in pair.items() if text}
        lines.append(json.dumps(filled))
    write_new(out, "\n".join([*lines, ""]))


def _read(path: Path) -> Any:
    return parse_json(read_text(path), display_path(path))


def _texts(data: Any) -> list[str]:
    """Return the texts of a file without votes; none, if one of them is no text."""
    if isinstance(data, str):
        return ITEM.findall(data)
    if isinstance(data, dict):
        data = list(data.values())
    if not isinstance(data, list):
        return []
    return data if all(_is_text(value) for value in data) else []


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _as_pairs(data: dict[str, Any], path: Path) -> AnnotatedPairs:
    try:
        return AnnotatedPairs.model_validate(data)
    except ValidationError:
        raise _unlike(path, "is cut, or no file of annotated pairs") from None


def _count_votes(annotated: AnnotatedPairs) -> dict[str, str]:
    """Return what each principle's votes are, in words, by its text."""
    words = {}
    for name, annotator in annotated.annotators.items():
        if annotator.type == "principle" and _is_text(annotator.description):
            words[annotator.description] = _votes_of(name, annotated)
    return words


def _votes_of(name: str, annotated: AnnotatedPairs) -> str:
    agreed = against = silent = 0
    for comparison in annotated.comparisons:
        chosen = annotated.preferred(comparison)
        vote = comparison.side_of(name)
        if vote is None or chosen is None:
            silent += 1
        elif vote == chosen:
            agreed += 1
        else:
            against += 1
    return (
        f"{agreed} comparisons for it, {against} against it, {silent} to which it does "
        "not apply, by icai"
    )


def _unlike(path: Path, what: str) -> UserError:
    fix = "give a JSON file from icai's `results` folder, or its annotated pairs"
    return UserError(f"the file {what}", where=display_path(path), fix=fix)
