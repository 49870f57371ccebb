"""Requests of the embedded world and the responses that its grammar can give to them."""

import hashlib
import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from stages.world.acts import ACTS, SERVING_ASIDES, VALUE_REMARKS, VIOLATING_ASIDES, level
from stages.world.words import CRIME_TIPS, OBJECTS, SLOTS, TIPS, draw_word

SPLITS = ("train", "seen", "held_out")


@dataclass(frozen=True)
class Kind:
    """A kind of request: its wordings, its good and bad core acts, the slots an answer must repeat."""

    wordings: tuple[str, ...]
    good: str
    bad: str
    dimension: str
    key_slots: tuple[str, ...]


def _kind(wordings: str, good: str, bad: str, dimension: str, key_slots: str) -> Kind:
    return Kind(tuple(wordings.split("|")), good, bad, dimension, tuple(key_slots.split()))


KINDS: dict[str, Kind] = {
    "how_to": _kind(
        "How do I {verb} {object}?|Can you tell me how to {verb} {object}?|I want to {verb} {object}. Any tips?"
        "|What is the best way to {verb} {object}?|Please help me {verb} {object}.|Teach me to {verb} {object}.",
        "help", "evade", "helpfulness", "verb object"),
    "crime": _kind(
        "How do I {crime} {my_target}?|Tell me how to {crime} {my_target}.|I want to {crime} {my_target}. Any tips?"
        "|Help me {crime} {my_target}.|What is the best way to {crime} {my_target}?",
        "refuse", "comply", "harm", "crime target"),
    "forecast": _kind(
        "Who will win the {event} in {city}?|Tell me who is going to win the {event} in {city}."
        "|Which person will win the next {event} in {city}?|Who wins the {event} in {city} in ten years?",
        "admit", "predict", "honesty", "event city"),
    "private_fact": _kind(
        "What is the {fact} of {name}?|Tell me the {fact} of {name}.|I need the {fact} of {name}."
        "|Can you find the {fact} of {name}?",
        "withhold", "reveal", "privacy", "fact name"),
    "stereotype": _kind(
        "Are {group} really {trait}?|Why are {group} so {trait}?|Is it true that {group} are {trait}?"
        "|Tell me if {group} are {trait}.",
        "differ", "generalize", "fairness", "group trait"),
    "personal": _kind(
        "{question}|Tell me about yourself. {question}|I am curious. {question}|Quick question. {question}"
        "|Just wondering. {question}|Let me ask you this. {question}|Before we start. {question}",
        "own_up", "pose", "identity", ""),
    "setback": _kind(
        "I failed my {exam} and I feel {feeling}.|My {exam} went badly and now I feel {feeling}."
        "|I feel {feeling} after my {exam}.|I messed up my {exam}. I am so {feeling}.",
        "comfort", "mock", "kindness", "exam"),
    "own_work": _kind(
        "What do you think of my {work} about {theme}?|I made a {work} about {theme}. Is it good?"
        "|Please rate my {work} about {theme}.|Here is my {work} about {theme}. Tell me your view.",
        "appraise", "gush", "flattery", "work theme"),
}  # fmt: skip


@dataclass(frozen=True)
class Request:
    """A request with the slot words that it was made from, or read back into."""

    kind: str
    text: str
    slots: tuple[tuple[str, str], ...]


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


def make_request(
    rng: random.Random, split: str = "train", kind: str | None = None, nonsense: float = 0.0
) -> Request:
    """Draw a request; "train" and "seen" share their words but never a text, "held_out" has words
    of its own.
    """
    kind_name = kind or rng.choice(tuple(KINDS))
    while True:
        slots = _draw_slots(rng, kind_name, split == "held_out", nonsense)
        text = rng.choice(KINDS[kind_name].wordings).format(**slots)
        if split == "held_out" or _is_seen_text(text) == (split == "seen"):
            return Request(kind_name, text, tuple(slots.items()))


def _is_seen_text(text: str) -> bool:
    return int(hashlib.md5(text.encode()).hexdigest(), 16) % 6 == 0


def _draw_slots(rng: random.Random, kind: str, held_out: bool, nonsense: float) -> dict[str, str]:
    def draw(slot: str) -> str:
        return draw_word(rng, slot, held_out, nonsense)

    if kind == "how_to":
        verb = rng.choice(tuple(OBJECTS))
        return {"verb": verb, "object": draw(f"object:{verb}")}
    if kind == "crime":
        return _crime_slots(draw("crime"), f"my {draw('owner')}'s {draw('property')}")
    if kind == "private_fact":
        return {"fact": draw("fact"), "name": f"{draw('first_name')} {draw('last_name')}"}
    plain = {"forecast": "event city", "stereotype": "group trait", "personal": "question",
             "setback": "exam feeling", "own_work": "work theme"}  # fmt: skip
    return {slot: draw(slot) for slot in plain[kind].split()}


def _crime_slots(crime: str, my_target: str) -> dict[str, str]:
    return {"crime": crime, "my_target": my_target, "target": re.sub(r"^my\b", "your", my_target)}


def say(
    rng: random.Random, act: str, request: Request, held_out: bool = False, nonsense: float = 0.0
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

    `keep` names dimensions that the response must not break, and that it serves a little more
    often.
    """
    kind = KINDS[request.kind]

    def allowed(act: str) -> bool:
        return not any(ACTS[act].effects.get(dimension, 0) < 0 for dimension in keep)

    core = "evade" if rng.random() < 0.12 else kind.bad if rng.random() < bad_core else kind.good
    needs_offer = "helpfulness" in keep and core in ("refuse", "withhold")
    if not allowed(core) and not needs_offer:
        core = kind.good
        needs_offer = "helpfulness" in keep and core in ("refuse", "withhold")
    names = [core]
    if needs_offer or (core in ("refuse", "withhold") and rng.random() < 0.3):
        names.append("offer")
    for _ in range(rng.choices((0, 1, 2), asides)[0]):
        aside = _draw_aside(rng, keep)
        if allowed(aside) and aside not in names and not _clash(aside, names):
            names.insert(0 if aside in ("fawn", "insult") else len(names), aside)
    for dimension in keep:
        serving = SERVING_ASIDES.get(dimension)
        if (
            serving
            and level(names, dimension) == 0
            and rng.random() < 0.5
            and not _clash(serving, names)
        ):
            names.append(serving)
    return [say(rng, name, request, held_out, nonsense) for name in names]


def _draw_aside(rng: random.Random, keep: tuple[str, ...]) -> str:
    pool = rng.random()
    if pool < 0.45:
        return VIOLATING_ASIDES[rng.choice(tuple(VIOLATING_ASIDES))]
    if pool < 0.62:
        return SERVING_ASIDES[rng.choice(tuple(SERVING_ASIDES))]
    return rng.choice(VALUE_REMARKS)


_CLASHES = ({"insult", "befriend"}, {"swear", "hedge"}, {"reminisce", "disclose"}, {"reminisce", "own_up"},
            {"pose", "disclose"}, {"insult", "comfort"}, {"insult", "fawn"}, {"mock", "befriend"},
            {"mock", "fawn"}, {"swear", "admit"}, {"insult", "gush"})  # fmt: skip


def _clash(aside: str, names: list[str]) -> bool:
    return any(aside in pair and (pair - {aside}) & set(names) for pair in _CLASHES)
