"""Ratings as groups: the rated answers to one request, which one rater has rated.

In: inputs of Rating rows. Out: the usable rows, and what was dropped, with reasons. Scores are
compared within a group only, so a group has one rater.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from stages.runtime.artifacts import Artifact
from stages.runtime.errors import UserError
from stages.runtime.rows import Dropped, Rating


def read_rows(
    inputs: Mapping[str, Artifact], fault: Callable[[Rating], str]
) -> tuple[list[Rating], list[Dropped]]:
    """The usable ratings of all inputs, in their order.

    Args:
        fault: the reason to drop a row, or an empty string.

    Raises:
        UserError: a score is not a number, or a group has two raters.
    """
    ratings: list[Rating] = []
    dropped: list[Dropped] = []
    raters: dict[str, tuple[Any, ...]] = {}
    for artifact in inputs.values():
        for row in artifact.rows(Rating):
            if not math.isfinite(row.score):
                raise UserError(
                    f"the score {row.score} is not a number",
                    where=f"rating {row.id} (step {artifact.step!r})",
                    fix="look at the step that rated; a reward model that scores NaN has diverged "
                    "in its training",
                )
            reason = fault(row)
            if reason:
                dropped.append(Dropped(id=row.id, reason=reason))
                continue
            _refuse_other_rater(raters, row, artifact.step)
            ratings.append(row)
    return ratings, dropped


def read_groups(
    inputs: Mapping[str, Artifact], where: str
) -> tuple[dict[str, list[Rating]], list[Dropped]]:
    """Ratings by their request, and those that came twice.

    Raises:
        UserError: there are none, a score is not a number, or a group has two raters.
    """
    seen: set[tuple[str, str]] = set()

    def fault(row: Rating) -> str:
        if (row.id, row.response) in seen:
            return "rated twice"
        seen.add((row.id, row.response))
        return ""

    ratings, repeated = read_rows(inputs, fault)
    if not ratings:
        raise UserError(
            "there are no ratings to choose from",
            where=where,
            fix="add an input: a `score` or `rate` step",
        )
    groups: dict[str, list[Rating]] = {}
    for row in ratings:
        groups.setdefault(row.group, []).append(row)
    return groups, repeated


def _refuse_other_rater(raters: dict[str, tuple[Any, ...]], row: Rating, step: str) -> None:
    """Scores compare only where one rater gave them, under the same principles.

    Args:
        raters: of the groups seen so far; the row's is added.

    Raises:
        UserError: another one rated another answer to the request.
    """
    rater = (row.model, tuple(row.principles), tuple(row.negated))
    if raters.setdefault(row.group, rater) != rater:
        raise UserError(
            "answers to one request were rated by different raters or under different principles, "
            "so their scores do not compare",
            where=f"rating {row.id} (step {step!r}), request {row.group}",
            fix="rate all answers to a request in the same way",
        )
