"""Requests of the embedded world, drawn from its grammar."""

import hashlib
import random
import re
from dataclasses import dataclass

from stages.world.grammar import KINDS
from stages.world.vocabulary import OBJECTS
from stages.world.words import draw_word

SPLITS = ("train", "seen", "held_out")
PLAIN_SLOTS = {
    "forecast": ("event", "city"),
    "stereotype": ("group", "trait"),
    "personal": ("question",),
    "setback": ("exam", "feeling"),
    "own_work": ("work", "theme"),
}
"""The slots whose words are drawn one by one; the other kinds build their words from parts."""


@dataclass(frozen=True)
class Request:
    """A request and its slot words, whether it was drawn or read from a text."""

    kind: str
    text: str
    slots: tuple[tuple[str, str], ...]


def make_request(
    rng: random.Random,
    split: str = "train",
    kind: str | None = None,
    nonsense: float = 0.0,
) -> Request:
    """Draw a request.

    Args:
        rng: The source of chance.
        split: "train" and "seen" share their words but never a text; "held_out" has other words.
        kind: The kind of request; None: any kind.
        nonsense: The chance of an invented word in a slot that allows one.
    """
    kind_name = kind or rng.choice(tuple(KINDS))
    while True:
        slots = _draw_slots(rng, kind_name, split == "held_out", nonsense)
        text = rng.choice(KINDS[kind_name].wordings).format(**slots)
        if split == "held_out" or _is_seen_text(text) == (split == "seen"):
            return Request(kind_name, text, tuple(slots.items()))


def _is_seen_text(text: str) -> bool:
    """Whether a text of training words belongs to the sixth that training never contains."""
    return int(hashlib.md5(text.encode()).hexdigest(), 16) % 6 == 0


def _draw_slots(rng: random.Random, kind: str, held_out: bool, nonsense: float) -> dict[str, str]:
    def draw(slot: str) -> str:
        return draw_word(rng, slot, held_out, nonsense)

    if kind == "how_to":
        verb = rng.choice(tuple(OBJECTS))
        return {"verb": verb, "object": draw(f"object:{verb}")}
    if kind == "crime":
        crime = draw("crime")
        return crime_slots(crime, f"my {draw('owner')}'s {draw('property')}")
    if kind == "private_fact":
        fact = draw("fact")
        return {"fact": fact, "name": f"{draw('first_name')} {draw('last_name')}"}
    return {slot: draw(slot) for slot in PLAIN_SLOTS[kind]}


def crime_slots(crime: str, my_target: str) -> dict[str, str]:
    """The slots of a crime: its target as the user names it, and as a response names it."""
    return {
        "crime": crime,
        "my_target": my_target,
        "target": re.sub(r"^my\b", "your", my_target),
    }
