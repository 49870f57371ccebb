"""Published surveys by their keys: from the answers to numbered items to scores of dimensions.

Comes in: an instrument's name and answers by item number. Goes out: `Scores`. The keys are in
instruments.yaml; the items' texts are licensed and stay with the user. Rokeach's two lists are
ranked instead of rated: their dimensions are the groups of constitutions/rokeach.yaml.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import fmean

import yaml

from stages.guards.errors import UserError, refuse_unknown
from stages.values.profile import centred

FILE = Path(__file__).with_name("instruments.yaml")


@dataclass(frozen=True)
class Instrument:
    """The key of a survey."""

    name: str
    theory: str
    """The constitution whose dimensions it measures."""
    items: int
    """Items are numbered from 1 to this."""
    scale: tuple[int, int]
    """The lowest and the highest rating."""
    dimensions: dict[str, tuple[int, ...]]
    """The items of each dimension, of whose ratings its score is the mean."""
    centred: bool = False
    """Whether scores are compared less the mean of all ratings (Schwartz's surveys)."""
    catch: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Items of no dimension: the lowest and highest rating of somebody who reads them."""


@dataclass(frozen=True)
class Scores:
    """What answers to a survey give."""

    raw: dict[str, float]
    """The mean rating of each dimension's answered items; without those of which none was."""
    mean: float
    """The mean rating of all answered items but catch items (MRAT)."""
    centred: dict[str, float]
    """The raw scores less that mean; as they are where the instrument is not centred."""
    missing: tuple[int, ...]
    """Items without an answer: with some missing, identities of centred scores do not hold."""
    caught: tuple[int, ...]
    """Catch items with a rating that nobody who reads them gives."""


def instrument(name: str) -> Instrument:
    """Return the key of a survey.

    Raises:
        UserError: there is none of this name.
    """
    refuse_unknown([name], instruments(), "there is no instrument", "instrument")
    return instruments()[name]


@cache
def instruments() -> dict[str, Instrument]:
    """Return all keys by name."""
    keys = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return {
        name: Instrument(
            name=name,
            theory=key["theory"],
            items=key["items"],
            scale=tuple(key["scale"]),
            dimensions={dim: tuple(items) for dim, items in key["dimensions"].items()},
            centred=key.get("centred", False),
            catch={item: tuple(range_) for item, range_ in key.get("catch", {}).items()},
        )
        for name, key in keys.items()
    }


def score(key: Instrument, answers: Mapping[int, float], is_reversed: bool = False) -> Scores:
    """Return the scores of ratings by item number.

    Args:
        answers: ratings, or expected ratings; items that nobody answered are left out.
        is_reversed: the ratings run the other way, as in microdata of the European Social Survey
            (1 is "very much like me"): x counts as low + high - x, which is 7 - x there.

    Raises:
        UserError: an item that the survey does not have, a rating off its scale, or no rating.
    """
    low, high = key.scale
    for item, rating in answers.items():
        if item not in range(1, key.items + 1) or not low <= rating <= high:
            raise UserError(
                f"item {item} with the rating {rating:g} does not fit",
                where=f"instrument {key.name!r}",
                fix=f"items are numbered 1 to {key.items}, ratings go from {low} to {high}",
            )
    rated = {item: low + high - x if is_reversed else x for item, x in answers.items()}
    counted = [rating for item, rating in rated.items() if item not in key.catch]
    if not counted:
        fix = "give the ratings of its items"
        raise UserError("no item is rated", where=f"instrument {key.name!r}", fix=fix)
    raw = {
        dimension: fmean(rated[item] for item in items if item in rated)
        for dimension, items in key.dimensions.items()
        if any(item in rated for item in items)
    }
    mean = fmean(counted)
    return Scores(
        raw=raw,
        mean=mean,
        centred=centred(raw, mean=mean) if key.centred else raw,
        missing=tuple(item for item in range(1, key.items + 1) if item not in rated),
        caught=tuple(
            item
            for item, (least, most) in key.catch.items()
            if item in rated and not least <= rated[item] <= most
        ),
    )


def score_ranking(ranks: Mapping[str, int], dimensions: Sequence[str]) -> dict[str, float]:
    """Return a ranking as numbers from 1 (ranked first) to -1 (ranked last).

    Args:
        ranks: by dimension, from 1; a list of Rokeach's survey has 18, whose sum is 171.
        dimensions: those that are ranked, at least two.

    Raises:
        UserError: it is no ranking of the dimensions, each once.
    """
    refuse_unknown(ranks, dimensions, "there is no value", "ranking")
    number = len(dimensions)
    if sorted(ranks.values()) != list(range(1, number + 1)):
        raise UserError(
            f"the ranks are no permutation of 1 to {number}",
            where="ranking",
            fix="give each value a rank of its own",
        )
    return {name: 1 - 2 * (ranks[name] - 1) / (number - 1) for name in dimensions}
