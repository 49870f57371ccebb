"""Models that answer surveys by a rule: scripts for the tests."""

import hashlib
import re
from collections.abc import Callable, Mapping
from math import log

from stages.runtime.generation import Choice
from tests.scripted import ScriptedGenerator

UNLIKELY = -60.0


def shown_options(messages) -> dict[str, str]:
    """The options as they were shown, by letter."""
    lines = messages[-1]["content"].splitlines()
    return dict(line.split(". ", 1) for line in lines if line[1:3] == ". ")


def item_of(messages) -> str:
    """The first line of the question: the item."""
    return messages[-1]["content"].splitlines()[0]


def chooser(choose: Callable[[str, list[str]], str]) -> ScriptedGenerator:
    """A model that is sure of one option, wherever it stands."""

    def scores(messages, letters):
        options = shown_options(messages)
        best = choose(item_of(messages), list(options.values()))
        return [0.0 if options[letter] == best else UNLIKELY for letter in letters]

    return ScriptedGenerator(scores=scores)


def by_item(answers: Mapping[str, str]) -> ScriptedGenerator:
    return chooser(lambda item, options: answers[item])


def wavering(worth: Callable[[str, str], float], width: float = 0.3) -> ScriptedGenerator:
    """A model with a log-worth for each (item, option), which wordings and orders move a little."""

    def scores(messages, letters):
        options = shown_options(messages)
        digest = hashlib.sha256(str(messages).encode()).digest()
        noise = [width * (byte / 128 - 1) for byte in digest]
        item = item_of(messages)
        return [worth(item, options[one]) + noise[i] for i, one in enumerate(letters)]

    return ScriptedGenerator(scores=scores)


def slots(*chances: float) -> ScriptedGenerator:
    """A model that sees only places."""

    def scores(messages, letters):
        return [log(chances[i % len(chances)]) for i in range(len(letters))]

    return ScriptedGenerator(scores=scores)


def mumbler(mass: float) -> ScriptedGenerator:
    """A model that was about to write something else."""

    def scores(messages, letters):
        return Choice([-log(len(letters))] * len(letters), mass)

    return ScriptedGenerator(scores=scores)


def payoffs(option: str) -> tuple[int, int]:
    own, other = map(int, re.findall(r"\d+", option))
    return own, other
