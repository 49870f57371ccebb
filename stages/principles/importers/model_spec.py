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
from typing import Any, NamedTuple

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
BREAK = re.compile(r"\n\s*\n")
NO_PROSE = ("**Example**", "!!! ")
"""What the title of an example, and the frame of a commentary, begin with."""


class Piece(NamedTuple):
    """A line of the file, or all lines between two fences."""

    line: int
    """The number of the first one."""
    text: str
    is_block: bool = False


class Turn(NamedTuple):
    """One turn of a conversation; a gap has no role."""

    role: str
    content: str


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
        raise _unlike(what, display_path(file))
    return [_as_principle(section, titles) for section in ruled], labels


def _read_sections(file: Path, labels: Counter[str]) -> Iterator[Section]:
    name = display_path(file)
    anchors: set[str] = set()
    section = None
    chapter = ""
    for piece in _read_pieces(file):
        match = HEADING.match(piece.text)
        where = f"{name}:{piece.line}"
        if piece.is_block:
            if section:
                conversation = Conversation(piece.text, name, piece.line, labels)
                section.examples += conversation.read()
        elif match:
            if section:
                yield section
            marks, title, anchor, attributes = match.groups()
            if marks == "#":
                chapter = anchor
            pairs = dict(pair.split("=") for pair in attributes.split())
            section = Section(title, anchor, pairs, chapter, where)
            _check_heading(section, anchors)
        elif piece.text.startswith("#"):
            title = piece.text.strip("# ")[:60]
            what = f"the heading {title!r} has no name such as {{#be_clear}}"
            raise _unlike(what, where)
        elif section:
            section.prose.append(piece.text)
    if section:
        yield section


def _read_pieces(file: Path) -> Iterator[Piece]:
    lines = read_text(file).splitlines()
    opened = 0
    block: list[str] = []
    for number, line in enumerate(lines, start=1):
        is_fence = line.startswith(FENCE)
        if is_fence and opened:
            yield Piece(opened + 1, "\n".join(block), is_block=True)
            opened = 0
        elif is_fence:
            opened = number
            block = []
        elif opened:
            block.append(line)
        else:
            yield Piece(number, line)
    if opened:
        what = "the file ends within an example"
        raise _unlike(what, f"{display_path(file)}:{opened}")


def _check_heading(section: Section, anchors: set[str]) -> None:
    level = section.attributes.get("authority", AUTHORITIES[0])
    if level not in AUTHORITIES:
        suggestion = did_you_mean(level, [*AUTHORITIES])
        what = f"there is no level of authority {level!r}{suggestion}"
        fix = f"one of: {', '.join(AUTHORITIES)}"
        raise UserError(what, where=section.where, fix=fix)
    if section.anchor in anchors:
        raise _unlike(f"the name {section.anchor!r} appears twice", section.where)
    anchors.add(section.anchor)


@dataclass
class Conversation:
    """One block of examples as it is read: turns, and comparisons of answers to them."""

    block: str
    file: str
    first_line: int
    labels: Counter[str]
    """How many responses have each label, counted over all blocks."""
    place: int = 0
    """Up to where the block has been read."""
    turns: list[Turn] = field(default_factory=list)
    answers: dict[str, list[str]] | None = None
    """Those of the comparison that is open, by label."""
    examples: list[dict[str, Any]] = field(default_factory=list)

    def read(self) -> list[dict[str, Any]]:
        """Return the comparisons."""
        for match in PART.finditer(self.block):
            self._read_between(match.start())
            if match["mark"] == "comparison":
                self._open_comparison()
            elif match["mark"]:
                self._close_comparison()
            else:
                self._read_turn(match)
            self.place = match.end()
        rest = self.block[self.place :]
        if rest.strip():
            raise self._stray(rest)
        if self.answers is not None:
            raise self._fault("a comparison has no end")
        return self.examples

    def _read_between(self, end: int) -> None:
        """Read what stands between two parts: nothing, or a gap."""
        between = self.block[self.place : end]
        if between.strip() == GAP and self.answers is None:
            self.turns.append(Turn("", GAP))
        elif between.strip():
            raise self._stray(between)
        self.place = end

    def _open_comparison(self) -> None:
        if self.answers is not None:
            raise self._fault("a comparison begins within another one")
        self.answers = {"GOOD": [], "BAD": [], "OK": []}

    def _close_comparison(self) -> None:
        answers = self.answers or {}
        good = answers.get("GOOD")
        bad = answers.get("BAD")
        if not good and not bad:
            raise self._fault("a comparison ends that holds neither a GOOD nor a BAD response")
        example: dict[str, Any] = {}
        request = _request(self.turns)
        if request:
            example["request"] = request
        if good:
            example["good"] = good
            self.turns.append(Turn("assistant", good[0]))
        if bad:
            example["bad"] = bad
        self.examples.append(example)
        self.answers = None

    def _read_turn(self, match: re.Match[str]) -> None:
        role = match["role"]
        unmarked = MARKS.sub("", match["content"])
        content = html.unescape(unmarked).strip()
        if self.answers is None:
            self.turns.append(Turn(role, content))
            return
        if role != "assistant":
            raise self._fault(f"a turn of the {role} stands within a comparison")
        label = LABEL.match(match["label"] or "")
        if not label:
            raise self._fault("a response in a comparison is marked neither GOOD nor BAD nor OK")
        self.answers[label[1]].append(content)
        self.labels[label[1]] += 1

    def _stray(self, text: str) -> UserError:
        """Return a fault in the line in which the text begins."""
        self.place += len(text) - len(text.lstrip())
        return self._fault(f"{text.strip()[:60]!r} belongs to no turn")

    def _fault(self, what: str) -> UserError:
        line = self.first_line + self.block.count("\n", 0, self.place)
        return _unlike(what, f"{self.file}:{line}")


def _request(turns: list[Turn]) -> str:
    """Return what was asked: a single user turn as it is, several turns with their roles."""
    roles = [turn.role for turn in turns]
    if roles == ["user"]:
        return turns[0].content
    lines = []
    for turn in turns:
        role = turn.role.capitalize()
        lines.append(f"{role}: {turn.content}" if role else turn.content)
    return "\n".join(lines)


def _as_principle(section: Section, titles: dict[str, str]) -> dict[str, Any]:
    paragraphs = _paragraphs(section, titles)
    if not paragraphs:
        raise _unlike(f"the section {section.anchor!r} has no text", section.where)
    first = 1
    while first < len(paragraphs) and paragraphs[first - 1].endswith(":"):
        first += 1
    text = "\n".join(paragraphs[:first])
    names = [section.chapter, section.attributes.get("tags")]
    principle: dict[str, Any] = {
        "id": slug(section.anchor),
        "text": f"{section.title}. {text}",
        "tags": [slug(name) for name in names if name],
    }
    if paragraphs[first:]:
        principle["because"] = "\n".join(paragraphs[first:])
    if section.examples:
        principle["examples"] = section.examples
    principle["authority"] = section.attributes["authority"]
    return principle


def _paragraphs(section: Section, titles: dict[str, str]) -> list[str]:
    """Return the prose without titles of examples, frames, footnotes and addresses."""
    lines = []
    for line in section.prose:
        if not line.startswith(NO_PROSE):
            lines.append(line.removeprefix("    "))
    text = FOOTNOTE.sub("", "\n".join(lines))
    text = LINK.sub(lambda link: _link_text(link[1], link[2], titles), text)
    paragraphs = [part.strip() for part in BREAK.split(text)]
    return [paragraph for paragraph in paragraphs if paragraph]


def _link_text(text: str, target: str, titles: dict[str, str]) -> str:
    """Return what a link shows: `[?]` stands for the title of the section that it names."""
    if text != "?":
        return text
    anchor = target[1:]
    title = titles.get(anchor, anchor)
    return f'"{title}"'


def _unlike(what: str, where: str) -> UserError:
    return UserError(what, where=where, fix="give model_spec.md as it was published")
