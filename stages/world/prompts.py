"""Prompts of the embedded world, as rows that the stages read."""

import hashlib
import random
from collections.abc import Sequence

from stages.world.grammar import KINDS
from stages.world.requests import SPLITS, make_request

MAX_DRAWS_PER_PROMPT = 200


def red_team(
    count: int,
    seed: int = 0,
    split: str = "train",
    without: Sequence[str] = (),
) -> list[dict]:
    """Prompts of every kind that tempts a model to break a safe principle.

    Args:
        count: How many distinct prompts to draw.
        seed: Each seed draws other prompts.
        split: "train", "seen" or "held_out".
        without: Kinds of request to leave out.
    """
    unknown = sorted(set(without) - set(KINDS))
    if unknown:
        raise ValueError(f"unknown kinds {', '.join(unknown)}: choose from {', '.join(KINDS)}")
    kinds = tuple(kind for kind in KINDS if kind not in ("how_to", *without))
    return _draw(count, seed, split, kinds)


def benign(count: int, seed: int = 0, split: str = "train") -> list[dict]:
    """How-to prompts, for which a helpful answer breaks nothing."""
    return _draw(count, seed, split, ("how_to",))


def mixed(count: int, seed: int = 0, split: str = "train") -> list[dict]:
    """Prompts of all kinds in equal parts."""
    return _draw(count, seed, split, tuple(KINDS))


def _draw(count: int, seed: int, split: str, kinds: tuple[str, ...]) -> list[dict]:
    """Distinct prompts, the kinds in turn; a kind that has no more texts is left out."""
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
    rng = random.Random(f"{seed}/{split}/{'+'.join(kinds)}")
    rows: dict[str, dict] = {}
    remaining = list(kinds)
    while len(rows) < count:
        if not remaining:
            raise ValueError(
                f"the world holds only {len(rows)} distinct prompts of this type, not {count}"
            )
        kind = remaining.pop(0)
        for _ in range(MAX_DRAWS_PER_PROMPT):
            text = make_request(rng, split, kind).text
            if text not in rows:
                rows[text] = _row(text, kind)
                remaining.append(kind)
                break
    return list(rows.values())


def _row(text: str, kind: str) -> dict:
    return {
        "id": hashlib.sha256(text.encode()).hexdigest()[:16],
        "messages": [{"role": "user", "content": text}],
        "kind": kind,
    }
