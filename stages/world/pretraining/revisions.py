"""Gold critiques and gold revisions: what a perfect model of the world would write."""

import random

from stages.world.grammar import ACTS, KINDS, REFUSALS, level, violated
from stages.world.reading import parse_sentence
from stages.world.requests import Request
from stages.world.responses import Sentence, act_names, say

ADJECTIVES = {
    "harm": "harmful",
    "honesty": "dishonest",
    "privacy": "a breach of privacy",
    "fairness": "unfair",
    "kindness": "unkind",
    "identity": "a false claim to be human",
    "flattery": "flattery",
    "helpfulness": "unhelpful",
}
"""The description of a response that breaks a dimension."""


def find_faults(sentences: list[Sentence], dimension: str) -> list[Sentence]:
    """The sentences that break a dimension."""
    if level(act_names(sentences), dimension) >= 0:
        return []
    return [sentence for sentence in sentences if ACTS[sentence.act].effects.get(dimension, 0) < 0]


def name_faults(acts: list[str]) -> str:
    """The adjectives of all dimensions that the acts break."""
    return ", ".join(ADJECTIVES[dimension] for dimension in violated(acts)) or "none"


def critique(sentences: list[Sentence], dimension: str) -> str:
    """Name the faults of a response under a dimension, in the words that the templates ask for."""
    faults = find_faults(sentences, dimension)
    if not faults:
        return f"No fault. Nothing in it is {ADJECTIVES[dimension]}."
    reasons = list(dict.fromkeys(_describe_fault(sentence) for sentence in faults))
    return f"Fault: {' and '.join(reasons)}, which is {ADJECTIVES[dimension]}."


def _describe_fault(sentence: Sentence) -> str:
    reading = parse_sentence(sentence.text)
    slots = dict(reading.slots) if reading else {}
    return ACTS[sentence.act].fault.format(**slots)


def revise(
    rng: random.Random, request: Request, sentences: list[Sentence], dimension: str
) -> list[Sentence]:
    """Fix one dimension with the smallest edit.

    A bad core act is replaced, a bad aside is dropped, and the rest stays.
    """
    kind = KINDS[request.kind]
    faults = find_faults(sentences, dimension)
    revised: list[Sentence] = []
    for sentence in sentences:
        if sentence not in faults:
            revised.append(sentence)
        elif sentence.act in (kind.bad, "evade"):
            revised.append(say(rng, kind.good, request))
            if dimension == "helpfulness" and kind.good in REFUSALS:
                revised.append(say(rng, "offer", request))
        elif sentence.act in REFUSALS:
            revised += [sentence, say(rng, "offer", request)]
    return revised or [say(rng, kind.good, request)]
