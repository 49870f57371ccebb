"""Draw the content of a lesson, balanced by dimension and label."""

import random
from typing import Any

from stages.world.grammar import DIMENSIONS, KINDS, level
from stages.world.pretraining.lessons.plan import Curriculum
from stages.world.pretraining.revisions import revise
from stages.world.requests import Request, make_request
from stages.world.responses import Sentence, act_names, make_response

BRANCHES = 6
"""The most questions that one lesson asks about the same texts."""

ASIDE_RATE = 0.055
"""How often a response breaks a dimension by an aside.

Clean cases of other kinds are asked about at the same rate.
"""

CLEAN_HELP_RATE = 0.35
"""How often helpfulness is asked about where it is not broken; many responses break it."""


def draw_request(rng: random.Random, plan: Curriculum, kind: str | None = None) -> Request:
    """A request in the words of the plan."""
    return make_request(rng, plan.split, kind, plan.nonsense)


def draw_response(
    rng: random.Random,
    plan: Curriculum,
    request: Request,
    **options: Any,
) -> list[Sentence]:
    """A response of the base mixture; `options` go to `make_response`."""
    held_out = plan.split == "held_out"
    return make_response(rng, request, held_out, plan.nonsense, asides=plan.asides, **options)


def draw_exchange(
    rng: random.Random,
    plan: Curriculum,
    kind: str | None = None,
) -> tuple[Request, list[Sentence]]:
    """A request and a response of the base mixture."""
    request = draw_request(rng, plan, kind)
    return request, draw_response(rng, plan, request)


def balanced_dimensions(rng: random.Random, request: Request, acts: list[str]) -> list[str]:
    """Dimensions to ask about, chosen so that each of them is broken in about half of the cases.

    Broken ones are always asked about. Others are asked about where the request tempts to break
    them, and elsewhere as rarely as an aside breaks them; so neither the request nor the dimension
    reveals the label.
    """
    chosen = []
    for dimension in DIMENSIONS:
        if level(acts, dimension) < 0:
            is_chosen = True
        elif dimension == "helpfulness":
            is_chosen = rng.random() < CLEAN_HELP_RATE
        else:
            is_tempting = KINDS[request.kind].dimension == dimension
            is_chosen = is_tempting or rng.random() < ASIDE_RATE
        if is_chosen:
            chosen.append(dimension)
    rng.shuffle(chosen)
    return chosen


def with_opposites(
    rng: random.Random, dimensions: list[str], chance: float
) -> list[tuple[str, bool]]:
    """Dimensions to ask about, repeated until the branches are used.

    Args:
        rng: The source of chance.
        dimensions: What to ask about; at least one.
        chance: How often a dimension is followed by its opposite.

    Returns:
        A dimension and whether its opposite is asked about, for each branch.
    """
    questions: list[tuple[str, bool]] = []
    while len(questions) < BRANCHES:
        for dimension in dimensions:
            questions.append((dimension, False))
            if rng.random() < chance:
                questions.append((dimension, True))
    return questions[:BRANCHES]


def preferred(first: list[str], second: list[str], dimension: str) -> int:
    """1 if the first acts serve a dimension better, -1 if the second do, 0 if neither does."""
    first_level = level(first, dimension)
    second_level = level(second, dimension)
    if dimension not in ("helpfulness", "kindness"):
        # Only a violation counts: to serve such a dimension is no better than to leave it alone.
        first_level = min(first_level, 0)
        second_level = min(second_level, 0)
    return (first_level > second_level) - (first_level < second_level)


def draw_pair(
    rng: random.Random, plan: Curriculum, dimension: str
) -> tuple[Request, list[Sentence], list[Sentence]]:
    """A request and two responses, one of which follows the dimension better."""
    tempting_kind = kind_that_tempts(dimension)
    while True:
        kind = tempting_kind if rng.random() < 0.4 else None
        request = draw_request(rng, plan, kind)
        first = draw_response(rng, plan, request)
        second = draw_response(rng, plan, request)
        if rng.random() < plan.near_pairs:
            second = revise(rng, request, first, dimension)
        if rng.random() < 0.5:
            first, second = second, first
        if _is_useful(rng, act_names(first), act_names(second), dimension):
            return request, first, second


def kind_that_tempts(dimension: str) -> str:
    """The kind of request that tempts a model to break a dimension."""
    kinds = {kind.dimension: name for name, kind in KINDS.items()}
    return kinds[dimension]


def _is_useful(
    rng: random.Random,
    first: list[str],
    second: list[str],
    dimension: str,
) -> bool:
    """Whether two responses differ; kindness served but not broken is asked about less often."""
    if not preferred(first, second, dimension):
        return False
    if dimension != "kindness":
        return True
    first_breaks = level(first, dimension) < 0
    second_breaks = level(second, dimension) < 0
    return first_breaks != second_breaks or rng.random() < 0.3
