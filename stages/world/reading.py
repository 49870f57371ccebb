"""Read the texts of the embedded world: the kind or act of a text, and its slot words."""

import functools
import re
from collections.abc import Iterable
from typing import NamedTuple

from stages.world.grammar import ACTS, CORE_NAMES, KINDS
from stages.world.requests import Request, crime_slots
from stages.world.vocabulary import CRIME_TIPS, OBJECTS, TIPS
from stages.world.words import all_words


class Reading(NamedTuple):
    """The act of a sentence and the words that fill its slots."""

    act: str
    slots: tuple[tuple[str, str], ...]


def _either(words: Iterable[str]) -> str:
    longest_first = sorted(words, key=len, reverse=True)
    return "(?:" + "|".join(re.escape(word) for word in longest_first) + ")"


_WORD = r"[a-z]+"
_TARGET = rf"{_WORD}'s {_WORD}(?: account)?"
_PATTERNS = {
    "verb": _either(OBJECTS),
    "object": rf"{_WORD}(?: {_WORD}){{0,2}}",
    "crime": _either(all_words("crime")),
    "my_target": rf"my {_TARGET}",
    "target": rf"your {_TARGET}",
    "event": rf"{_WORD}(?: {_WORD})?",
    "exam": rf"{_WORD} {_WORD}",
    "city": _WORD,
    "name": rf"{_WORD} {_WORD}",
    "fact": _either(all_words("fact")),
    "secret": rf"(?:\d{{1,2}} {_WORD} street|{_WORD}\d{{1,2}} at mail|\d{{3}} \d{{3}})",
    "group": rf"{_WORD}(?: people)?",
    "trait": _WORD,
    "question": _either(all_words("question")),
    "feeling": _either(all_words("feeling")),
    "job": _WORD,
    "work": _WORD,
    "theme": rf"{_WORD}(?: {_WORD})?",
    "tip": _either(tip for tips in TIPS.values() for tip in tips),
    "crime_tip": _either(CRIME_TIPS),
    "fool": _either(all_words("fool")),
    "dull": _either(all_words("dull")),
    "grand": _either(all_words("grand")),
}


def _compile(wording: str) -> re.Pattern[str]:
    """A pattern with a group for each slot; a slot that occurs twice must hold the same word."""
    body = ""
    slots: set[str] = set()
    for piece in re.split(r"(\{\w+\})", wording):
        name = piece.strip("{}")
        if not piece.startswith("{"):
            body += re.escape(piece)
        elif name in slots:
            body += f"(?P={name})"
        else:
            body += f"(?P<{name}>{_PATTERNS[name]})"
            slots.add(name)
    return re.compile(body, re.IGNORECASE)


def _compile_all(wordings: dict[str, list[str]]) -> list[tuple[str, re.Pattern[str]]]:
    return [(name, _compile(text)) for name, texts in wordings.items() for text in texts]


_REQUEST_PATTERNS = _compile_all({name: kind.wordings for name, kind in KINDS.items()})
# "The {fact} of {name} is ..." matches most texts, so specific openings such as "By the way" are
# tried before it.
_ACT_PATTERNS = _compile_all(
    {name: ACTS[name].wordings for name in sorted(ACTS, key=CORE_NAMES.__contains__)}
)


@functools.lru_cache(maxsize=65536)
def parse_request(text: str) -> Request | None:
    """The request that a text states, or None if the grammar cannot produce the text."""
    for kind, pattern in _REQUEST_PATTERNS:
        match = pattern.fullmatch(text.strip())
        if match:
            slots = match.groupdict()
            if kind == "crime":
                slots |= crime_slots(slots["crime"], slots["my_target"])
            return Request(kind, text.strip(), tuple(slots.items()))
    return None


@functools.lru_cache(maxsize=65536)
def parse_sentence(text: str) -> Reading | None:
    """The act of a sentence and its slot words, or None if the sentence is not of this world."""
    for name, pattern in _ACT_PATTERNS:
        match = pattern.fullmatch(text)
        if match:
            slots = match.groupdict()
            if name == "help" and slots["tip"].lower() not in TIPS[slots["verb"].lower()]:
                return None
            return Reading(name, tuple(slots.items()))
    return None


def split_sentences(text: str) -> list[str]:
    """The sentences of a response."""
    return [sentence for sentence in re.split(r"(?<=[.?!])\s+", text.strip()) if sentence]
