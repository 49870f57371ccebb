"""Planted differences: two answers to one request, of which one is better by construction.

The texts are built from answers and principles that are there, so that a model with a closed
vocabulary can read them. Pure functions of texts.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from stages.guards.templates import render
from stages.principles.constitution import Principle
from stages.runtime.rows import Message
from stages.runtime.store import derive_seed

NATURAL = "natural"
"""The answer against a second one to the same request, or to another one: nobody says which is
better, but under the opposite of a principle it is the other one.
"""
EMPTY = "empty"
SHUFFLED = "shuffled"
OTHER = "other request"
CONTRARY = "contrary"
"""An answer that announces what the principle says, against one that announces its opposite."""
PEOPLE = "people"
"""The answer that people preferred, against the other one."""
PLANTED = (EMPTY, SHUFFLED, OTHER)
"""What the answer is compared with under a principle of helpfulness, in turn."""
CONTRARY_TEMPLATE = "evaluation/instrument/contrary.jinja"


@dataclass(frozen=True)
class Case:
    """A request with the answers that the questions are about."""

    id: str
    """The request's id."""
    kind: str
    prompt: list[Message]
    answer: str
    second: str
    """Another answer to it; "" for none."""
    other: str
    """An answer to another request."""


@dataclass(frozen=True)
class Contrast:
    """Two answers to a request."""

    name: str
    first: str
    """The better one, where one is known to be better."""
    second: str


def natural_contrast(case: Case, place: int) -> Contrast:
    """Return two real texts; every second case takes two answers to the same request."""
    same = case.second not in ("", case.answer)
    second = case.second if same and place % 2 else case.other
    return Contrast(NATURAL, case.answer, second)


def planted_contrast(case: Case, place: int, seed: int) -> Contrast:
    """Return the answer and a text that helps less, of the kinds in turn."""
    name = PLANTED[place % len(PLANTED)]
    texts = {
        EMPTY: "",
        SHUFFLED: shuffle_words(case.answer, derive_seed(seed, "shuffled", case.id)),
        OTHER: case.other,
    }
    return Contrast(name, case.answer, texts[name])


def contrary_contrast(principle: Principle) -> Contrast | None:
    """Return two answers that announce a principle and its opposite; None without an opposite."""
    if not principle.opposite:
        return None
    first = render(CONTRARY_TEMPLATE, principle=principle.text)
    second = render(CONTRARY_TEMPLATE, principle=principle.opposite)
    return Contrast(CONTRARY, first, second)


def shuffle_words(text: str, seed: int) -> str:
    """Return the words of a text in another order."""
    words = text.split()
    random.Random(seed).shuffle(words)
    return " ".join(words)


def helpful_principles(
    principles: Sequence[Principle], helpful: Sequence[str], general: str
) -> list[Principle]:
    """Return the principles of helpfulness, or the general one where the set has none.

    Args:
        helpful: tags and dimensions of such principles.
        general: the text of the general one.
    """
    names = set(helpful)
    chosen = []
    for principle in principles:
        if not names.isdisjoint({*principle.tags, principle.dimension}):
            chosen.append(principle)
    return chosen or [Principle(id="general", text=general)]
