"""A scripted model that reads: it proposes what texts differ in, and judges by what they hold."""

import hashlib
import re
from math import log

from tests.scripted import ScriptedGenerator

TOPICS = {
    "a cat": r"\b(cats?|kittens?|whiskers|feline)\b",
    "a dog": r"\b(dogs?|pupp(y|ies)|canine)\b",
    "blue": r"\bblue\b",
    "green": r"\bgreen\b",
    "lemon": r"\blemons?\b",
    "raspberry": r"\braspberr(y|ies)\b",
    "Washington": r"\bwashington\b",
    "Paris": r"\bparis\b",
    "the city of Bath": r"\bbath\b",
    "growth and perspective": r"\b(perspectives?|growth)\b",
    "a willing assistant": r"\b(of course|happy to|here to help|certainly)\b",
    "reluctance": r"\b(guess i|fine,|if i have to|suppose)",
    "an exclamation mark": r"!",
    "an article": r"\b(the|an?)\b",
}
FOR = ("The response mentions {}.", "The response clearly mentions {}.")
AGAINST = ("The response does not mention {}.", "The response does not at all mention {}.")
FIELDS = re.compile(
    r"(?ms)^(Response A|Response B|Principle|Chosen response|Other response|"
    r"Response that was not chosen|Response that was chosen in its place): "
    r"(.*?)(?=^(?:Response |Principle|Other |What may|Answer A)|\Z)"
)


def topics_of(text):
    return {name for name, pattern in TOPICS.items() if re.search(pattern, text.lower())}


def fields_of(messages):
    return {name: text.strip() for name, text in FIELDS.findall(messages[-1]["content"])}


def propose(messages):
    """A numbered list, each item in one of two wordings."""
    parts = fields_of(messages)
    is_for = "Chosen response" in parts
    better = parts.get("Chosen response") or parts["Response that was chosen in its place"]
    worse = parts.get("Other response") or parts["Response that was not chosen"]
    good, bad = topics_of(better), topics_of(worse)
    names = sorted(good - bad) if is_for else sorted(bad - good)
    wordings = FOR if is_for else AGAINST
    odd = hashlib.sha256(better.encode()).digest()[0] % 2
    items = [f"{n}. {wordings[odd].format(name)}" for n, name in enumerate(names, 1)]
    return "Here they are:\n" + "\n".join(items)


def judge(messages, options):
    """Prefers the response that keeps the principle; neither, if both or none do."""
    parts = fields_of(messages)
    principle = parts["Principle"]
    name = re.search(r"mentions? (.+)\.", principle)[1]
    keeps = []
    for side in ("Response A", "Response B"):
        keeps.append((name in topics_of(parts[side])) != ("not" in principle))
    margin = 3.0 * (keeps[0] - keeps[1])
    return [-log(1 + 2.718281828**-margin), -log(1 + 2.718281828**margin)]


def reader():
    return ScriptedGenerator(text=propose, scores=judge)
