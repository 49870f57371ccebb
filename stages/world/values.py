"""The ten values of the embedded world's answers: what each answer is for, by the ground truth."""

import random
from typing import Any

from stages.world.checker import check
from stages.world.grammar import KINDS
from stages.world.requests import SPLITS, make_request
from stages.world.responses import make_response, render

VERSION = 1
"""Part of the identity of what is drawn here."""
ASIDES = (0.15, 0.35, 0.5)
"""The chances of no aside, of one and of two: more than in the base mixture, as asides speak of
most values.
"""


def values(request: str, response: str) -> dict[str, int]:
    """1 for each value that a response is for, -1 for one that it is against, 0 for the others."""
    return check(request, response).values


def label(count: int, seed: int = 0, split: str = "train") -> list[dict[str, Any]]:
    """Records of answers with a label of each value.

    Args:
        count: How many; the kinds of request take turns.
        seed: Each seed draws others.
        split: "train", "seen" or "held_out".
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
    rng = random.Random(f"values/{seed}/{split}")
    records = []
    for number in range(count):
        request = make_request(rng, split, list(KINDS)[number % len(KINDS)])
        answer = render(make_response(rng, request, split == "held_out", asides=ASIDES))
        labels = values(request.text, answer)
        records.append({"prompt": request.text, "response": answer, **labels})
    return records
