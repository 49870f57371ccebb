"""Responses that the grammar of the embedded world can give to a request."""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from stages.world.grammar import (
    ACTS,
    CLASHES,
    KINDS,
    REFUSALS,
    REMARK_NAMES,
    SERVING_ASIDES,
    VIOLATING_ASIDES,
    Kind,
    level,
)
from stages.world.requests import Request
from stages.world.vocabulary import CRIME_TIPS, SLOTS, TIPS
from stages.world.words import draw_word

EVASION_RATE = 0.12
REFUSAL_OFFER_RATE = 0.3
VIOLATING_ASIDE_RATE = 0.45
SERVING_ASIDE_RATE = 0.17


@dataclass(frozen=True)
class Sentence:
    """One sentence of a response and the act that it performs."""

    act: str
    text: str


def render(sentences: list[Sentence]) -> str:
    """The text of a response."""
    return " ".join(sentence.text for sentence in sentences)


def act_names(sentences: list[Sentence]) -> list[str]:
    """The acts of a response in order."""
    return [sentence.act for sentence in sentences]


def say(
    rng: random.Random,
    act: str,
    request: Request,
    held_out: bool = False,
    nonsense: float = 0.0,
) -> Sentence:
    """Put an act into words for a request; asides draw the slots that the request does not give."""

    def draw(slot: str) -> str:
        return draw_word(rng, slot, held_out, nonsense)

    slots = dict(request.slots)
    if act == "help":
        slots["tip"] = rng.choice(TIPS[slots["verb"]])
    if act in ("predict", "leak"):
        slots["name"] = f"{draw('first_name')} {draw('last_name')}"
    if act in ("leak", "slur", "reminisce", "pose"):
        slots |= {slot: draw(slot) for slot in ("fact", "group", "trait", "job", "city")}
    if act in ("reveal", "leak"):
        slots["secret"] = _secret(rng, slots["fact"], draw)
    if "theme" in slots:
        slots["theme"] = re.sub(r"^my\b", "your", slots["theme"])
    slots["crime_tip"] = rng.choice(CRIME_TIPS)
    slots |= {slot: rng.choice(SLOTS[slot]) for slot in ("fool", "dull", "grand")}
    text = rng.choice(ACTS[act].wordings).format(**slots)
    return Sentence(act, text[0].upper() + text[1:])


def _secret(rng: random.Random, fact: str, draw: Callable[[str], str]) -> str:
    if fact == "home address":
        return f"{rng.randint(1, 99)} {draw('street')} Street"
    if fact == "email address":
        return f"{draw('first_name').lower()}{rng.randint(1, 99)} at mail"
    return f"{rng.randint(100, 999)} {rng.randint(100, 999)}"


def make_response(
    rng: random.Random,
    request: Request,
    held_out: bool = False,
    nonsense: float = 0.0,
    bad_core: float = 0.45,
    asides: tuple[float, float, float] = (0.35, 0.40, 0.25),
    keep: tuple[str, ...] = (),
) -> list[Sentence]:
    """Draw a response from the base mixture: a core act and up to two asides.

    Args:
        rng: The source of chance.
        request: What the response answers.
        held_out: Whether its words are the held-out ones.
        nonsense: The chance of an invented word in a slot that allows one.
        bad_core: The chance of the bad core act, where the response is not an evasion.
        asides: The chances of no aside, of one and of two.
        keep: Dimensions that the response must not break and serves slightly more often.
    """
    core = _draw_core(rng, KINDS[request.kind], bad_core, keep)
    names = [core]
    if core in REFUSALS and ("helpfulness" in keep or rng.random() < REFUSAL_OFFER_RATE):
        names.append("offer")
    for _ in range(rng.choices((0, 1, 2), asides)[0]):
        aside = _draw_aside(rng)
        if _is_allowed(aside, keep) and aside not in names and not _clashes(aside, names):
            names.insert(0 if aside in ("fawn", "insult") else len(names), aside)
    for dimension in keep:
        aside = SERVING_ASIDES.get(dimension, "")
        if not aside or level(names, dimension) != 0:
            continue
        if rng.random() < 0.5 and not _clashes(aside, names):
            names.append(aside)
    return [say(rng, name, request, held_out, nonsense) for name in names]


def _draw_core(rng: random.Random, kind: Kind, bad_core: float, keep: tuple[str, ...]) -> str:
    if rng.random() < EVASION_RATE:
        core = "evade"
    elif rng.random() < bad_core:
        core = kind.bad
    else:
        core = kind.good
    # A refusal counts as allowed: an offer beside it keeps it from being unhelpful.
    if _is_allowed(core, keep) or ("helpfulness" in keep and core in REFUSALS):
        return core
    return kind.good


def _draw_aside(rng: random.Random) -> str:
    place = rng.random()
    if place < VIOLATING_ASIDE_RATE:
        return VIOLATING_ASIDES[rng.choice(tuple(VIOLATING_ASIDES))]
    if place < VIOLATING_ASIDE_RATE + SERVING_ASIDE_RATE:
        return SERVING_ASIDES[rng.choice(tuple(SERVING_ASIDES))]
    return rng.choice(REMARK_NAMES)


def _is_allowed(act: str, keep: tuple[str, ...]) -> bool:
    effects = ACTS[act].effects
    return all(effects.get(dimension, 0) >= 0 for dimension in keep)


def _clashes(aside: str, names: list[str]) -> bool:
    """Whether an aside contradicts one of the acts; the acts do not include it."""
    return any(aside in pair and pair.intersection(names) for pair in CLASHES)
