"""Read OpenAI's Model Spec: a markdown file of sections with a level of authority and examples.

Comes in: `model_spec.md` of github.com/openai/model_spec. Goes out: the fields of one principle for
each section that has an `authority`. The heading and the first paragraph are its text; the rest of
the prose and the commentary explain it (`because`). Every `<comparison>` is an example: the turns
before it are the request, later ones of the same conversation go on after its first good response.
Left out: sections without authority, titles of examples, footnotes, the notes beside GOOD and BAD,
and responses marked OK, which are neither.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.guards.errors import UserError, did_you_mean
from stages.principles.constitution import AUTHORITIES
from stages.principles.document import display_path, read_text
from stages.principles.faults import slug

FENCE = "~~~"
HEADING = re.compile(r"(#{1,6}) (.+?) \{#(\w+)((?: \w+=\w+)*)\}$")
PART = re.compile(
    r"^ ?<(?P<mark>/?comparison)>"
    r"|^ ?<(?P<role>user|assistant|developer|system|tool)\b[^>\n]*>(?: *<!--(?P<label>.*?)-->)?"
    r"(?P<content>.*?)</(?P=role)>",
    re.MULTILINE | re.DOTALL,
)
GAP = "[...]"  # turns that the Spec leaves out
LABEL = re.compile(r"\s*(GOOD|BAD|OK)\b")
MARKS = re.compile(r"</?(?:settings|untrusted)\b[^>]*>")
FOOTNOTE = re.compile(r"\[\^\w+\]")
LINK = re.compile(r"\[([^\]]+)\]\(([^)\s]+)\)")
AS_PUBLISHED = "give model_spec.md as it was published"


@dataclass
class Section:
    """A heading with attributes, and what stands under it."""

    title: str
    anchor: str
    attributes: dict[str, str]
    chapter: str
    """The anchor of the heading of the first level above it."""
    where: str
    prose: list[str] = field(default_factory=list)
    """Lines outside of examples."""
    examples: list[dict[str, Any]] = field(default_factory=list)


def read_model_spec(file: Path) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Return the fields of the principles, and how many responses have each label.

    Raises:
        UserError: the file cannot be read, breaks off, or is another one; the message names the
            line.
    """
    labels: Counter[str] = Counter()
    sections = list(_read_sections(file, labels))
    titles = {section.anchor: section.title for section in sections}
    ruled = [section for section in sections if "authority" in section.attributes]
    if not ruled:
        what = "no section has an authority, so this is not the Model Spec"
        raise UserError(what, where=display_path(file), fix=AS_PUBLISHED)
    return [_as_principle(section, titles) for section in ruled], labels


def _read_sections(file: Path, labels: Counter[str]) -> Iterator[Section]:
    name = display_path(file)
    anchors: set[str] = set()
    section = None
    chapter = ""
    opened = 0
    block: list[str] = []
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        where = f"{name}:{number}"
        if line.startswith(FENCE):
            if opened and section:
                section.examples += _read_examples("\n".join(block), name, opened + 1, labels)
            opened = 0 if opened else number
            block = []
        elif opened:
            block.append(line)
        elif match := HEADING.match(line):
            if section:
                yield section
            marks, title, anchor, attributes = match.groups()
            chapter = anchor if marks == "#" else chapter
            pairs = dict(pair.split("=") for pair in attributes.split())
            section = Section(title, anchor, pairs, chapter, where)
            _check_heading(section, anchors)
        elif line.startswith("#"):
            what = f"the heading {line.strip('# ')[:60]!r} has no name such as {{#be_clear}}"
            raise UserError(what, where=where, fix=AS_PUBLISHED)
        elif section:
            section.prose.append(line)
    if opened:
        what = "the file ends within an example"
        raise UserError(what, where=f"{name}:{opened}", fix=AS_PUBLISHED)
    if section:
        yield section


def _check_heading(section: Section, anchors: set[str]) -> None:
    level = section.attributes.get("authority", AUTHORITIES[0])
    if level not in AUTHORITIES:
        what = f"there is no level of authority {level!r}{did_you_mean(level, [*AUTHORITIES])}"
        raise UserError(what, where=section.where, fix=f"one of: {', '.join(AUTHORITIES)}")
    if section.anchor in anchors:
        what = f"the name {section.anchor!r} appears twice"
        raise UserError(what, where=section.where, fix=AS_PUBLISHED)
    anchors.add(section.anchor)


def _read_examples(
    block: str, name: str, first_line: int, labels: Counter[str]
) -> list[dict[str, Any]]:
    """Return the comparisons of one conversation."""
    examples: list[dict[str, Any]] = []
    turns: list[tuple[str, str]] = []
    answers: dict[str, list[str]] | None = None
    place = 0

    def fault(what: str) -> UserError:
        line = first_line + block.count("\n", 0, place)
        return UserError(what, where=f"{name}:{line}", fix=AS_PUBLISHED)

    for match in PART.finditer(block):
        between = block[place : match.start()]
        if between.strip() == GAP and answers is None:
            turns.append(("", GAP))
        elif between.strip():
            place += len(between) - len(between.lstrip())
            raise fault(f"{between.strip()[:60]!r} belongs to no turn")
        place = match.start()
        if match["mark"] == "comparison":
            if answers is not None:
                raise fault("a comparison begins within another one")
            answers = {"GOOD": [], "BAD": [], "OK": []}
        elif match["mark"]:
            if not answers or not (answers["GOOD"] or answers["BAD"]):
                raise fault("a comparison ends that holds neither a GOOD nor a BAD response")
            request = _request(turns)
            example = {"request": request, "good": answers["GOOD"], "bad": answers["BAD"]}
            examples.append({key: value for key, value in example.items() if value})
            turns += [("assistant", answer) for answer in answers["GOOD"][:1]]
            answers = None
        else:
            content = html.unescape(MARKS.sub("", match["content"])).strip()
            label = LABEL.match(match["label"] or "")
            if answers is None:
                turns.append((match["role"], content))
            elif match["role"] != "assistant":
                raise fault(f"a turn of the {match['role']} stands within a comparison")
            elif not label:
                raise fault("a response in a comparison is marked neither GOOD nor BAD nor OK")
            else:
                answers[label[1]].append(content)
                labels[label[1]] += 1
        place = match.end()
    rest = block[place:].strip()
    if rest or answers is not None:
        place += len(block[place:]) - len(block[place:].lstrip())
        raise fault(f"{rest[:60]!r} belongs to no turn" if rest else "a comparison has no end")
    return examples


def _request(turns: list[tuple[str, str]]) -> str:
    """Return what was asked: a single user turn as it is, several turns with their roles."""
    if [role for role, _ in turns] == ["user"]:
        return turns[0][1]
    return "\n".join(
        f"{role.capitalize()}: {content}" if role else content for role, content in turns
    )


def _as_principle(section: Section, titles: dict[str, str]) -> dict[str, Any]:
    prose = [line for line in section.prose if not line.startswith(("**Example**", "!!! "))]
    text = FOOTNOTE.sub("", "\n".join(line.removeprefix("    ") for line in prose))
    text = LINK.sub(lambda link: _link_text(link[1], link[2], titles), text)
    paragraphs = [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]
    if not paragraphs:
        what = f"the section {section.anchor!r} has no text"
        raise UserError(what, where=section.where, fix=AS_PUBLISHED)
    first = 1
    while first < len(paragraphs) and paragraphs[first - 1].endswith(":"):
        first += 1
    principle: dict[str, Any] = {
        "id": slug(section.anchor),
        "text": f"{section.title}. " + "\n".join(paragraphs[:first]),
        "tags": [slug(name) for name in (section.chapter, section.attributes.get("tags")) if name],
    }
    if paragraphs[first:]:
        principle["because"] = "\n".join(paragraphs[first:])
    if section.examples:
        principle["examples"] = section.examples
    return principle | {"authority": section.attributes["authority"]}


def _link_text(text: str, target: str, titles: dict[str, str]) -> str:
    """Return what a link shows: `[?]` stands for the title of the section that it names."""
    return f'"{titles.get(target[1:], target[1:])}"' if text == "?" else text
