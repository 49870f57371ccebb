"""Assign principles to rows, so that dropping one principle changes only its own rows.

Comes in: principles, a row id, the run's seed and the number of the draw. Goes out: the principle
with the highest score -w / ln(u), where w is its weight and u is a hash of (seed, draw, row id,
principle id). This is weighted rendezvous hashing. Highest random weight: Thaler and Ravishankar
1998, "Using name-based mappings to increase hit rates"; this weighted form: Schindelhauer and
Schomaker 2005. The n highest scores are a weighted sample without replacement (Efraimidis and
Spirakis 2006). A draw is, for example, one revision round: draws are independent, as in
Constitutional AI (Bai et al. 2022).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence

from stages.guards.errors import UserError
from stages.principles.constitution import Principle


def assign(principles: Sequence[Principle], row_id: str, seed: int, draw: int = 0) -> Principle:
    """Return the one principle of this row and draw; the order of `principles` has no effect.

    Raises:
        UserError: there are no principles.
    """
    return assign_many(principles, row_id, seed, 1, draw)[0]


def assign_many(
    principles: Sequence[Principle], row_id: str, seed: int, count: int, draw: int = 0
) -> list[Principle]:
    """Return `count` different principles of this row and draw, the one of `assign` first.

    Raises:
        UserError: there are fewer principles than `count`, or `count` is below 1.
    """
    if not 1 <= count <= len(principles):
        raise UserError(
            f"{count} principles are requested for each row, out of {len(principles)}",
            where="constitution",
            fix=f"ask for 1 to {len(principles)}, or select more principles",
        )
    prefix = hashlib.sha256(json.dumps([seed, draw, row_id]).encode())

    def order(principle: Principle) -> tuple[float, str]:
        return _score(prefix, principle), principle.id

    return sorted(principles, key=order, reverse=True)[:count]


def doubt_draw(option: str, count: int | None, total: int | None) -> list[str]:
    """Return a warning, for a plan, where an option asks for more principles than there are.

    Args:
        option: its name.
        count: at most how many are drawn; None: all.
        total: how many there are; None: nobody knows.
    """
    if count is None or total is None or count <= total:
        return []
    return [f"`{option}: {count}` is more than the principles that there are: it reads all {total}"]


def mean_weights(shown: Sequence[Principle], available: int) -> list[float]:
    """Return how much the score under each shown principle counts in their mean.

    A weight counts once: where principles were drawn by it, their mean is plain; where all are
    shown, it is weighted. So the mean over many draws of one is the weighted mean.

    Args:
        available: how many principles could have been shown.
    """
    if len(shown) < available:
        return [1.0] * len(shown)
    return [principle.weight for principle in shown]


def _score(prefix: hashlib._Hash, principle: Principle) -> float:
    digest = prefix.copy()
    digest.update(principle.id.encode())
    # 52 bits and a half: u is an exact float strictly between 0 and 1, so its logarithm is finite
    # and not 0.
    bits = int.from_bytes(digest.digest()[:8], "big") >> 12
    u = (bits + 0.5) * 2.0**-52
    return -principle.weight / math.log(u)
