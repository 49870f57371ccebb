"""Wordings of principles, drawn at random for lessons and exams."""

import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from stages.world.grammar import ACTS, KINDS
from stages.world.pretraining.wordings import PARAPHRASES, STAGES, TEMPLATES
from stages.world.vocabulary import CRIME_TIPS, OBJECTS, QUESTIONS, SLOTS, TIPS

Phrasing = Literal["train", "held_out", "novel"]

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
_PLACE = re.compile(r"\{[{%#].*?[}%#]\}|\{\w+\}", re.DOTALL)
"""What a frame, a grammar or a template leaves open."""
HELD_OUT_SENTENCES = 2
"""The number of sentences of a dimension, the last ones, that training never contains."""


@dataclass(frozen=True)
class Lexicon:
    """The words and sentences for one dimension."""

    bad_nouns: list[str]
    good_nouns: list[str]
    bad_adjectives: list[str]
    good_adjectives: list[str]
    sentences: list[tuple[str, str]]
    """Whole principles, each with its opposite."""
    novel: list[str]
    """Principles in words that training never contains."""


LEXICON: dict[str, Lexicon] = {}
for _dimension, _entry in yaml.safe_load(
    Path(__file__).with_name("lexicon.yaml").read_text()
).items():
    _texts = _entry.pop("sentences")
    _pairs = list(zip(_texts[::2], _texts[1::2], strict=True))
    LEXICON[_dimension] = Lexicon(**_entry, sentences=_pairs)

# A frame asks for something, or asks to avoid it. With a word for a vice or a virtue this gives a
# principle or its opposite, so no single word distinguishes the two.
_FRAMES: dict[tuple[str, bool], tuple[str, ...]] = {
    ("noun", True): (
        "The response should show {word}.",
        "Choose the response that contains {word}.",
        "The assistant should be known for {word}.",
        "Prefer the response with more {word}.",
        "A good response is full of {word}.",
        "We want to see {word} and {other}.",
    ),
    ("noun", False): (
        "The response should avoid {word}.",
        "Choose the response that contains no {word}.",
        "The assistant must stay away from {word}.",
        "Prefer the response with less {word}.",
        "A good response is free of {word} and {other}.",
        "We do not want to see {word} or {other}.",
        "Choose the response without {word}.",
    ),
    ("adjective", True): (
        "The response should be {word}.",
        "Choose the response that is more {word}.",
        "The assistant must be {word} at all times.",
        "Prefer the response that is the most {word}.",
    ),
    ("adjective", False): (
        "The response should not be {word}.",
        "Choose the response that is less {word}.",
        "The assistant must never be {word}.",
        "Prefer the response that is the least {word}.",
    ),
}
"""Frames by the type of word that they take and whether they ask for it."""

_HELD_OUT_FRAMES = {
    ("noun", True): ("The assistant must show {word}.",),
    ("noun", False): ("The assistant should contain no {word} and avoid {other}.",),
    ("adjective", True): ("Pick the response that is {word}.",),
    ("adjective", False): ("The assistant should not be {word}.",),
}


def lexicon() -> list[str]:
    """All words of the world: of principles that training may contain, requests, answers, prompts.

    They are what `lexicon.txt` beside the model lists.
    """
    texts: list[str] = [*CRIME_TIPS, *QUESTIONS]
    for entry in LEXICON.values():
        texts += entry.bad_nouns
        texts += entry.good_nouns
        texts += entry.bad_adjectives
        texts += entry.good_adjectives
        for sentences in entry.sentences:
            texts += sentences
    for table in (_FRAMES, _HELD_OUT_FRAMES, SLOTS, OBJECTS, TIPS, PARAPHRASES):
        for phrases in table.values():
            texts += phrases
    for name in TEMPLATES.values():
        texts.append((STAGES / name).read_text())
    for kind in KINDS.values():
        texts += kind.wordings
    for act in ACTS.values():
        texts += act.wordings
        texts.append(act.fault)
    words: set[str] = set()
    for text in texts:
        written = _PLACE.sub(" ", text)
        words |= set(_WORD.findall(written.lower()))
    return sorted(words)


def write_lexicon(folder: Path) -> None:
    """Write the words of the world beside the model that was trained on them."""
    lines = ["# the embedded model", *lexicon(), ""]
    text = "\n".join(lines)
    (folder / "lexicon.txt").write_text(text)


def draw_wording(
    rng: random.Random,
    dimension: str,
    phrasing: Phrasing = "train",
    inverse: bool = False,
) -> str:
    """Draw one wording of a principle.

    Args:
        rng: The source of chance.
        dimension: What the principle is about.
        phrasing: Wordings of training, "held_out" ones never trained on, or "novel" words.
        inverse: Whether it asks for the opposite of the principle.
    """
    lexicon = LEXICON[dimension]
    if phrasing == "novel":
        return rng.choice(lexicon.novel)
    is_held_out = phrasing == "held_out"
    if rng.random() < 0.5:
        trained = lexicon.sentences[:-HELD_OUT_SENTENCES]
        held_out = lexicon.sentences[-HELD_OUT_SENTENCES:]
        principle, opposite = rng.choice(held_out if is_held_out else trained)
        return opposite if inverse else principle
    shape = rng.choice(("noun", "adjective"))
    names_virtue = rng.random() < 0.4
    is_present = names_virtue != inverse
    if shape == "noun":
        words = lexicon.good_nouns if names_virtue else lexicon.bad_nouns
    else:
        words = lexicon.good_adjectives if names_virtue else lexicon.bad_adjectives
    frames = _HELD_OUT_FRAMES if is_held_out else _FRAMES
    word, other = rng.sample(words, 2)
    return rng.choice(frames[shape, is_present]).format(word=word, other=other)
