"""Rated answers by request: what `best_of` and `rated_pairs` choose from."""

import math
from typing import Any

from stages.preferences.judging.rating import refuse_other_rater
from stages.runtime.artifacts import Artifact
from stages.runtime.errors import UserError
from stages.runtime.rows import Dropped, Rating


def read_groups(
    inputs: dict[str, Artifact], where: str
) -> tuple[dict[str, list[Rating]], list[Dropped]]:
    """Return the ratings by request, and those that came twice.

    Raises:
        UserError: there are none, a score is not a number, or a group has two raters.
    """
    groups: dict[str, list[Rating]] = {}
    raters: dict[str, tuple[Any, ...]] = {}
    seen: set[tuple[str, str]] = set()
    repeated = []
    for artifact in inputs.values():
        for row in artifact.rows(Rating):
            if not math.isfinite(row.score):
                raise UserError(
                    f"the score {row.score} of the rating {row.id!r} is not a number",
                    where=where,
                    fix="look at the step that rated: its model gives no usable scores",
                )
            key = (row.id, row.response)
            if key in seen:
                repeated.append(Dropped(id=row.id, reason="rated twice"))
                continue
            refuse_other_rater(raters, row, artifact.step)
            seen.add(key)
            groups.setdefault(row.prompt_id, []).append(row)
    if not groups:
        raise UserError(
            "there are no ratings to choose from",
            where=where,
            fix="add an input: a `score` or `rate` step",
        )
    return groups, repeated


def rank(ratings: list[Rating]) -> list[Rating]:
    """Return a group's ratings, the best first; of equal scores the first by id."""
    return sorted(ratings, key=lambda row: (-row.score, row.id))
