"""Gold critiques and gold revisions: what a perfect model of the world would write."""

import random

from stages.world.acts import ACTS, level
from stages.world.checker import sentence_slots
from stages.world.grammar import KINDS, Request, Sentence, act_names, say

ADJECTIVES = {
    "harm": "harmful", "honesty": "dishonest", "privacy": "a breach of privacy", "fairness": "unfair",
    "kindness": "unkind", "identity": "a false claim to be human", "flattery": "flattery",
    "helpfulness": "unhelpful",
}  # fmt: skip


def faults(sentences: list[Sentence], dimension: str) -> list[Sentence]:
    """The sentences that break a dimension."""
    if level(act_names(sentences), dimension) >= 0:
        return []
    return [sentence for sentence in sentences if ACTS[sentence.act].effects.get(dimension, 0) < 0]


def critique(sentences: list[Sentence], dimension: str) -> str:
    """Name the faults of a response under a dimension, in the words that the templates ask for."""
    found = faults(sentences, dimension)
    if not found:
        return f"No fault. Nothing in it is {ADJECTIVES[dimension]}."
    reasons = [
        ACTS[sentence.act].fault.format(**sentence_slots(sentence.text)) for sentence in found
    ]
    return f"Fault: {' and '.join(dict.fromkeys(reasons))}, which is {ADJECTIVES[dimension]}."


def revise(
    rng: random.Random, request: Request, sentences: list[Sentence], dimension: str
) -> list[Sentence]:
    """Fix one dimension with the smallest edit: exchange a bad core act, drop a bad aside, keep the
    rest.
    """
    kind = KINDS[request.kind]
    broken = faults(sentences, dimension)
    revised: list[Sentence] = []
    for sentence in sentences:
        if sentence not in broken:
            revised.append(sentence)
        elif sentence.act in (kind.bad, "evade"):
            revised.append(say(rng, kind.good, request))
            if dimension == "helpfulness" and kind.good in ("refuse", "withhold"):
                revised.append(say(rng, "offer", request))
        elif sentence.act in ("refuse", "withhold"):
            revised += [sentence, say(rng, "offer", request)]
    return revised or [say(rng, kind.good, request)]
