"""Ratings as groups: the rated answers to one request, all rated by one rater.

In: inputs of Rating rows. Out: the usable rows, and what was dropped, with reasons. Scores are
compared within a group only, so a group has one rater.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from stages.guards.errors import UserError
from stages.runtime.artifacts import Artifact, advise_on_missing
from stages.runtime.rows import Dropped, Rating
from stages.text.cut_off import CutOff, refuse_no_finished, row_fault


def read_rows(
    inputs: Mapping[str, Artifact], fault: Callable[[Rating], str]
) -> tuple[list[Rating], list[Dropped]]:
    """Return the usable ratings of all inputs, in their order, and the others.

    Args:
        fault: returns the reason to drop a row, or "".

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
            rater = (row.model, tuple(row.principles), tuple(row.negated))
            if raters.setdefault(row.prompt_id, rater) != rater:
                raise UserError(
                    "answers to one request were rated by different raters or under different "
                    "principles, so their scores do not compare",
                    where=f"rating {row.id} (step {artifact.step!r}), request {row.prompt_id}",
                    fix="rate all answers to a request in the same way",
                )
            ratings.append(row)
    return ratings, dropped


def read_groups(
    inputs: Mapping[str, Artifact], where: str, cut_off: CutOff
) -> tuple[dict[str, list[Rating]], list[Dropped]]:
    """Return the ratings by request, and the repeated ones and those that were cut off.

    Raises:
        UserError: there are none, a score is not a number, or a group has two raters.
    """
    seen: set[tuple[str, str]] = set()

    def fault(row: Rating) -> str:
        if (row.id, row.response) in seen:
            return "rated twice"
        seen.add((row.id, row.response))
        return row_fault(row) if cut_off == "drop" else ""

    ratings, dropped = read_rows(inputs, fault)
    if not ratings:
        refuse_no_finished(dropped, "no rating is left to choose from", where)
        raise UserError(
            "there are no ratings to choose from",
            where=where,
            fix=advise_on_missing(inputs, "add an input: a `score` or `rate` step"),
        )
    groups: dict[str, list[Rating]] = {}
    for row in ratings:
        groups.setdefault(row.prompt_id, []).append(row)
    return groups, dropped


def refuse_no_probabilities(row: Rating, event: str, where: str, fix: str) -> None:
    """Refuse a rating that is not one probability for each principle.

    Args:
        event: what is likely: that a principle is `kept` or `violated`.

    Raises:
        UserError: it says so.
    """
    likely = [score for score in row.scores if 0 <= score <= 1]
    if not likely or not len(likely) == len(row.scores) == len(row.principles):
        what = f"the rating {row.id!r} holds no P({event}) for each principle"
        raise UserError(what, where=where, fix=fix)


def ratings_of(inputs: Mapping[str, Artifact]) -> list[Rating]:
    """Return the ratings of all inputs, usable or not."""
    rows = []
    for artifact in inputs.values():
        rows += artifact.rows(Rating)
    return rows


def rank(ratings: list[Rating]) -> list[Rating]:
    """Return a group's ratings, the best first; of equal scores the first by id."""
    return sorted(ratings, key=lambda row: (-row.score, row.id))
