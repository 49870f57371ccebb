"""Which texts that a model wrote may be used as requests: length, words, how they begin.

The defaults are those of Self-Instruct (Wang et al. 2023, arXiv 2212.10560, section 3.1 and its
released code): 4 to 150 words, nothing about images and files, which a language model cannot see.
"""

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from stages.guards.errors import UserError
from stages.runtime.typed_config import Count, Names

UNSEEN = (
    *("image", "images", "picture", "pictures", "graph", "graphs", "map", "maps", "plot", "draw"),
    *("file", "files", "go to"),
)
"""Words of requests that need more than text."""
TOO_SHORT, TOO_LONG = "too few words", "too many words"
FORBIDDEN, OPENING = "a forbidden word", "a forbidden opening"
PUNCTUATION, FOREIGN = "begins with punctuation", "begins with a letter that is not English"
NO_TITLE = "not in the form of a topic"
REASONS = (TOO_SHORT, TOO_LONG, FORBIDDEN, OPENING, PUNCTUATION, FOREIGN, NO_TITLE)
"""Why a text is dropped, in the order in which it is looked at."""


@dataclass(frozen=True)
class Filters:
    """What a text that a model wrote must be like."""

    words: tuple[Count, Count] = (4, 150)
    """The fewest and the most words."""
    forbidden: Names = UNSEEN
    """Words and phrases that it may not hold, in any case."""
    openings: Names = ("Write a program",)
    """Words that it may not begin with, in any case."""
    english: bool = True
    """It begins with an ASCII character; false for other languages."""
    form: Literal["request", "topic"] = "request"
    """`topic`: it begins with a capital letter and does not end in punctuation."""


def check_filters(filters: Filters, where: str) -> None:
    """Refuse bounds that no text can keep.

    Raises:
        UserError: the fewest words are more than the most.
    """
    fewest, most = filters.words
    if fewest > most:
        raise UserError(
            f"no text has at least {fewest} and at most {most} words",
            where=where,
            fix="write `words` as [fewest, most]",
        )


def find_fault(text: str, filters: Filters) -> str:
    """Return why a text may not be used; "" if it may."""
    count = len(text.split())
    if count < filters.words[0]:
        return TOO_SHORT
    if count > filters.words[1]:
        return TOO_LONG
    if holds_phrase(text, filters.forbidden):
        return FORBIDDEN
    if text.lower().startswith(tuple(opening.lower() for opening in filters.openings)):
        return OPENING
    if text[0] in string.punctuation:
        return PUNCTUATION
    if filters.english and not text[0].isascii():
        return FOREIGN
    if filters.form == "topic" and not (text[0].isupper() and text[-1].isalnum()):
        return NO_TITLE
    return ""


def holds_phrase(text: str, phrases: Sequence[str]) -> bool:
    """Whether a text holds one of the phrases as whole words."""
    if not phrases:
        return False
    pattern = "|".join(re.escape(phrase) for phrase in phrases)
    return re.search(rf"(?<!\w)(?:{pattern})(?!\w)", text, re.IGNORECASE) is not None
