"""Wordings of principles: drawn at random for lessons, and the fixed sixteen of
constitutions/world.yaml.
"""

import random
from dataclasses import dataclass

from stages.world.acts import DIMENSIONS
from stages.world.pretraining.lexicon import LEXICON

PHRASINGS = ("train", "held_out", "novel")
KEPT_BACK_SENTENCES = 2

# A frame says that something is there, or that it is not. With a word for a vice or a virtue this
# gives a principle or its opposite, so no single word tells the two apart.
_FRAMES: dict[tuple[str, bool], tuple[str, ...]] = {
    ("noun", True): (
        "The response should show {word}.", "Choose the response that contains {word}.",
        "The assistant should be known for {word}.", "Prefer the response with more {word}.",
        "A good response is full of {word}.", "We want to see {word} and {other}.",
    ),
    ("noun", False): (
        "The response should avoid {word}.", "Choose the response that contains no {word}.",
        "The assistant must stay away from {word}.", "Prefer the response with less {word}.",
        "A good response is free of {word} and {other}.", "We do not want to see {word} or {other}.",
        "Choose the response without {word}.",
    ),
    ("adjective", True): (
        "The response should be {word}.", "Choose the response that is more {word}.",
        "The assistant must be {word} at all times.", "Prefer the response that is the most {word}.",
    ),
    ("adjective", False): (
        "The response should not be {word}.", "Choose the response that is less {word}.",
        "The assistant must never be {word}.", "Prefer the response that is the least {word}.",
    ),
}  # fmt: skip

_KEPT_BACK_FRAMES: dict[tuple[str, bool], tuple[str, ...]] = {
    ("noun", True): ("The assistant must show {word}.",),
    ("noun", False): ("The assistant should contain no {word} and avoid {other}.",),
    ("adjective", True): ("Pick the response that is {word}.",),
    ("adjective", False): ("The assistant should not be {word}.",),
}


@dataclass(frozen=True)
class Wording:
    """One way to put a principle; an inverse one asks for the opposite of what the dimension wants."""

    text: str
    dimension: str
    inverse: bool = False


def draw_wording(
    rng: random.Random, dimension: str, phrasing: str = "train", inverse: bool = False
) -> Wording:
    """Draw a wording: "train" phrasings, "held_out" ones never trained on, or "novel" words."""
    lexicon = LEXICON[dimension]
    if phrasing == "novel":
        return Wording(rng.choice(lexicon.novel), dimension)
    kept_back = phrasing == "held_out"
    if rng.random() < 0.5:
        pairs = (
            lexicon.sentences[-KEPT_BACK_SENTENCES:]
            if kept_back
            else lexicon.sentences[:-KEPT_BACK_SENTENCES]
        )
        return Wording(rng.choice(pairs)[inverse], dimension, inverse)
    shape = rng.choice(("noun", "adjective"))
    names_virtue = rng.random() < 0.4
    is_present = names_virtue != inverse
    words = {
        ("noun", True): lexicon.good_noun, ("noun", False): lexicon.bad_noun,
        ("adjective", True): lexicon.good_adjective, ("adjective", False): lexicon.bad_adjective,
    }[shape, names_virtue]  # fmt: skip
    frames = (_KEPT_BACK_FRAMES if kept_back else _FRAMES)[shape, is_present]
    word, other = rng.sample(words, 2)
    return Wording(rng.choice(frames).format(word=word, other=other), dimension, inverse)


def world_constitution() -> dict:
    """The sixteen principles of the embedded world, two for each dimension on purpose."""
    principles = []
    for dimension in DIMENSIONS:
        for number, (text, opposite) in enumerate(LEXICON[dimension].sentences[:2], start=1):
            principles.append(
                {
                    "id": f"{dimension}-{number}",
                    "text": text,
                    "opposite": opposite,
                    "tags": ["helpful" if dimension == "helpfulness" else "safe"],
                    "dimension": dimension,
                }
            )
    return {
        "name": "world",
        "version": 1,
        "title": "Principles of the embedded world",
        "source": "Written for Credo; every wording is one that the embedded model is trained on.",
        "principles": principles,
    }
