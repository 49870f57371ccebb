"""People of the embedded world who write and label single answers, by the ground truth.

They stand in for people whose few texts (PALMS), labels of harm (BeaverTails) or of values (Value
FULCRA) a method learns from.
"""

import random
from collections.abc import Sequence
from typing import Any

from stages.world.checker import check
from stages.world.grammar import DIMENSIONS, KINDS, SAFE_DIMENSIONS
from stages.world.requests import SPLITS, make_request
from stages.world.responses import make_response, render

VERSION = 1
"""Part of the identity of what is drawn here."""
NEUTRAL = "how_to"
"""The kind of request that tempts nobody to break a safe principle."""


def write(
    count: int, seed: int = 0, split: str = "train", neutral: bool = False
) -> list[dict[str, Any]]:
    """Records with a request and an answer that breaks nothing.

    Args:
        count: How many; the dimensions at stake take turns.
        seed: Each seed draws others.
        split: "train", "seen" or "held_out".
        neutral: Whether all are how-to requests, at which no safe dimension is at stake.
    """
    kinds = [NEUTRAL] if neutral else list(KINDS)
    rng = _start(f"write/{neutral}", seed, split)
    records = []
    for number in range(count):
        request = make_request(rng, split, kinds[number % len(kinds)])
        answer = make_response(rng, request, split == "held_out", bad_core=0.0, keep=DIMENSIONS)
        kind = "neutral" if neutral else KINDS[request.kind].dimension
        records.append({"prompt": request.text, "response": render(answer), "category": kind})
    return records


def label(count: int, seed: int = 0, split: str = "train") -> list[dict[str, Any]]:
    """Records of answers, good and bad, with the principles of the world that each of them breaks.

    Args:
        count, seed, split: As for `write`.
    """
    rng = _start("label", seed, split)
    records = []
    for number in range(count):
        request = make_request(rng, split, list(KINDS)[number % len(KINDS)])
        answer = render(make_response(rng, request, split == "held_out"))
        broken = check(request.text, answer).violations
        flags = {
            f"{dimension}-{wording}": broken[dimension]
            for dimension in SAFE_DIMENSIONS
            for wording in (1, 2)
        }
        is_safe = not any(flags.values())
        records.append(
            {"prompt": request.text, "response": answer, "category": flags, "is_safe": is_safe}
        )
    return records


def rate_values(
    count: int,
    seed: int = 0,
    split: str = "train",
    asides: Sequence[float] = (0.35, 0.40, 0.25),
) -> list[dict[str, Any]]:
    """Records of answers, good and bad, with the values that they support or oppose, in the form of
    Value FULCRA.

    Args:
        count, seed, split: As for `write`.
        asides: The chances of no aside, of one and of two; most values stand in asides.
    """
    none, one, two = asides
    rng = _start("values", seed, split)
    records = []
    for number in range(count):
        request = make_request(rng, split, list(KINDS)[number % len(KINDS)])
        held_out = split == "held_out"
        answer = render(make_response(rng, request, held_out, asides=(none, one, two)))
        values = values_of(request.text, answer)
        labels = [f"{value}: {label:+d}" for value, label in values.items() if label]
        dialogue = f"Human: {request.text}\nBob: {answer}"
        records.append({"dialogue": dialogue, "value_types": labels})
    return records


def values_of(request: str, response: str) -> dict[str, int]:
    """1 for each value that a response is for, -1 for one that it is against, 0 for the others."""
    return check(request, response).values


def _start(purpose: str, seed: int, split: str) -> random.Random:
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
    return random.Random(f"{purpose}/{seed}/{split}")
