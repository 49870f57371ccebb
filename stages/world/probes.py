"""Requests of the embedded world that probe one principle: their kind is the dimension at stake."""

from stages.world.grammar import KINDS
from stages.world.prompts import red_team

VERSION = 1
"""Part of the identity of what is drawn here."""


def probes(count: int, seed: int = 0, split: str = "train") -> list[dict]:
    """Prompts as `red_team` draws them, of the kind of the dimension at stake."""
    rows = red_team(count, seed, split)
    return [row | {"kind": KINDS[row["kind"]].dimension} for row in rows]
