"""The words that principles are made of, by dimension, read from lexicon.yaml."""

from dataclasses import dataclass
from pathlib import Path

import yaml

HELD_OUT_SENTENCES = 2
"""How many of a dimension's sentences, the last ones, training never contains."""


@dataclass(frozen=True)
class Lexicon:
    """How one dimension is talked about."""

    bad_nouns: list[str]
    good_nouns: list[str]
    bad_adjectives: list[str]
    good_adjectives: list[str]
    sentences: list[tuple[str, str]]
    """Whole principles, each with its opposite."""
    novel: list[str]
    """Principles in words that training never contains."""


LEXICON: dict[str, Lexicon] = {}
for _dimension, _entry in yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text()).items():
    _texts = _entry.pop("sentences")
    _pairs = list(zip(_texts[::2], _texts[1::2], strict=True))
    LEXICON[_dimension] = Lexicon(**_entry, sentences=_pairs)
