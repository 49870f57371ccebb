"""SALMON's labels (Sun et al. 2023, arXiv 2310.05910, section 3.2): a random subset of principles,
some turned to their opposites, and the one that speaks loudest decides. Pure functions of (judge
matrix, constitution, seed).

Re-derived from the published algorithm; none of the original code. Where it differs:
- draws are hashes of (seed, pair, pass, principle), not one random stream: dropping a principle
  moves few other draws;
- a constitution's weights count in the draw of the subset; with equal weights it is uniform, as in
  the paper;
- a principle whose verdicts hardly vary cannot be normalised: it is left out, and told, instead of
  outshouting the rest.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import pvariance

from stages.preferences.aggregate import strongest
from stages.principles.assign import assign_many
from stages.principles.constitution import Principle
from stages.runtime.rows import Judgement
from stages.runtime.store import derive_seed

LEAST_VARIANCE = 1e-6  # of logit differences; below it there is nothing to divide by
Subset = list[
    tuple[Principle, bool]
]  # (principle, whether it is negated), in the order in which a reward model reads them


def scales(matrix: Sequence[Judgement], normalise: str) -> dict[str, float]:
    """What each principle's margins are divided by, over both orders of all pairs.

    `variance` is what the released code divides by, `std` what the paper's wording suggests, `none`
    is 1. Principles whose variance is below `LEAST_VARIANCE` are not in the result, except with
    `none`.
    """
    columns: dict[str, list[float]] = {}
    for cell in matrix:
        columns.setdefault(cell.principle, []).extend((cell.margin_ab, cell.margin_ba))
    if normalise == "none":
        return dict.fromkeys(columns, 1.0)
    found = {
        name: pvariance(sorted(values)) for name, values in columns.items()
    }  # sorted: the same whatever the row order
    return {
        name: variance if normalise == "variance" else math.sqrt(variance)
        for name, variance in found.items()
        if variance >= LEAST_VARIANCE
    }


def subset_size(place: float, geometric: float, most: int) -> int:
    """How many principles: geometric with chance `geometric`, given that it is at most `most`.

    `place` in [0, 1) stands for the throw; inverting the truncated distribution equals drawing
    until the size fits. With 0.2 and 8 as in SALMON the mean is 3.39.
    """
    miss = 1 - geometric
    size = math.ceil(math.log1p(-place * (1 - miss**most)) / math.log(miss)) if miss else 1
    return min(max(size, 1), most)


def chance(seed: int, *parts: str | int) -> float:
    """A number in [0, 1) that belongs to these names; draws with other names are independent of it."""
    return derive_seed(seed, *parts) / 2**31


def draw(
    principles: Sequence[Principle],
    row_id: str,
    seed: int,
    geometric: float = 0.2,
    most: int = 8,
    negation: float = 0.5,
) -> Subset:
    """A row's subset, each of it negated with the chance `negation` if it has an opposite. Their
    order has no effect.
    """
    size = subset_size(chance(seed, row_id, "subset size"), geometric, min(most, len(principles)))
    drawn = assign_many(principles, f"{row_id}|subset", seed, size)
    return [
        (p, p.opposite is not None and chance(seed, row_id, "negation", p.id) < negation)
        for p in drawn
    ]


def decide(scores: Mapping[str, float], negated: Mapping[str, bool]) -> tuple[str, float]:
    """The principle with the largest |score|, and its score as it counts: turned round where it is
    negated.

    Of equals the first by id decides, so the order of the principles has no effect.
    """
    names = sorted(scores)
    best = names[strongest([scores[name] for name in names])]
    return best, -scores[best] if negated[best] else scores[best]
