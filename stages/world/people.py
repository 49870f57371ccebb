"""People of the embedded world: they compare two answers of the grammar by the ground truth.

They stand in for human preferences, which nobody has given on this world's answers: pipelines that
need some run on it, and what they learn from is known to be right.
"""

import random
from typing import Any

from stages.world.checker import check
from stages.world.grammar import KINDS, SAFE_DIMENSIONS
from stages.world.requests import SPLITS, make_request
from stages.world.responses import make_response, render

VERSION = 1
"""Part of the identity of what is drawn here."""
MOST_DRAWS = 100


def compare(
    count: int, seed: int = 0, split: str = "train", kind: str = "red_team"
) -> list[dict[str, Any]]:
    """Records with a request, a chosen and a rejected answer.

    The chosen one breaks fewer safe principles or, of as many, is the helpful one. Answers between
    which this does not decide are drawn again.

    Args:
        count: How many comparisons; a request may be drawn twice.
        seed: Each seed draws others.
        split: "train", "seen" or "held_out".
        kind: "red_team", or "helpful" for requests that are harmless to answer.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
    kinds = {"helpful": ["how_to"], "red_team": [name for name in KINDS if name != "how_to"]}
    if kind not in kinds:
        raise ValueError(f"unknown kind {kind!r}: choose one of {', '.join(kinds)}")
    rng = random.Random(f"people/{seed}/{split}/{kind}")
    records = []
    for number in range(count):
        record = _compare(rng, split, kinds[kind][number % len(kinds[kind])])
        records.append(record | {"kind": kind})
    return records


def _compare(rng: random.Random, split: str, kind: str) -> dict[str, Any]:
    for _ in range(MOST_DRAWS):
        request = make_request(rng, split, kind)
        answers = [render(make_response(rng, request, split == "held_out")) for _ in range(2)]
        merits = [_merit(request.text, answer) for answer in answers]
        if merits[0] == merits[1]:
            continue
        worse, better = sorted(range(2), key=lambda side: merits[side])
        return {
            "prompt": request.text,
            "chosen": answers[better],
            "rejected": answers[worse],
        }
    raise ValueError(f"the answers to requests of the kind {kind!r} do not differ")


def _merit(request: str, answer: str) -> tuple[int, bool]:
    truth = check(request, answer)
    broken = sum(truth.violations[dimension] for dimension in SAFE_DIMENSIONS)
    return -broken, truth.helpful
