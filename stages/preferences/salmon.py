"""SALMON's labels: of a random subset of principles, the strongest verdict decides.

Sun et al. 2023, arXiv 2310.05910, section 3.2: some principles of the subset are negated, and the
one with the largest normalised margin decides. Pure functions of (judge matrix, constitution,
seed).

Re-derived from the published algorithm; none of the original code. Where it differs:
- draws are hashes of (seed, pair, pass, principle), not one random stream: dropping a principle
  changes few other draws;
- a constitution's weights count in the draw of the subset; with equal weights it is uniform, as in
  the paper;
- a principle whose verdicts hardly vary cannot be normalised: it is left out and reported, instead
  of dominating the rest;
- of equal scores the first by id decides, in the released code the first that was drawn;
- all principles of the constitution can be drawn; the code judges eleven and draws from eight.

The constants are in conf/pipeline/salmon.yaml. All departures: docs/methods.md.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import pvariance

from stages.preferences.aggregate import strongest
from stages.principles.assign import assign_many
from stages.principles.constitution import Principle
from stages.runtime.rows import Judgement
from stages.runtime.store import derive_fraction

MIN_VARIANCE = 1e-6
"""Of logit differences; a smaller variance is too close to 0 to divide by."""

Subset = list[tuple[Principle, bool]]
"""(principle, whether it is negated), in the order in which a reward model reads them."""


def scales(matrix: Sequence[Judgement], normalise: str) -> dict[str, float]:
    """Return what each principle's margins are divided by, over both orders of all pairs.

    `variance` is what the released code divides by, `std` what the paper's wording suggests, `none`
    is 1. Principles whose variance is below `MIN_VARIANCE` are not in the result, except with
    `none`.
    """
    margins: dict[str, list[float]] = {}
    for cell in matrix:
        margins.setdefault(cell.principle, []).extend((cell.margin_ab, cell.margin_ba))
    if normalise == "none":
        return dict.fromkeys(margins, 1.0)
    divisors = {}
    for principle, values in margins.items():
        variance = pvariance(sorted(values))  # sorted: the same for any order of the rows
        if variance >= MIN_VARIANCE:
            divisors[principle] = variance if normalise == "variance" else math.sqrt(variance)
    return divisors


def subset_size(fraction: float, geometric: float, largest: int) -> int:
    """Return a number of principles.

    It is geometric with probability `geometric`, given that it is at most `largest`. With 0.2 and 8
    as in SALMON the mean is 3.39.

    Args:
        fraction: in [0, 1), in place of a random draw. Inverting the truncated distribution equals
            drawing until the size fits.
    """
    miss = 1 - geometric
    if not miss:
        return 1
    size = math.ceil(math.log1p(-fraction * (1 - miss**largest)) / math.log(miss))
    return min(max(size, 1), largest)


def choose_principles(
    principles: Sequence[Principle],
    row_id: str,
    seed: int,
    geometric: float = 0.2,
    largest: int = 8,
    negation: float = 0.5,
) -> Subset:
    """Return a row's subset; the order of `principles` has no effect.

    Args:
        geometric, largest: see `subset_size`.
        negation: the probability that a drawn principle is negated, if it has an opposite.
    """
    fraction = derive_fraction(seed, row_id, "subset size")
    size = subset_size(fraction, geometric, min(largest, len(principles)))
    subset = []
    for principle in assign_many(principles, f"{row_id}|subset", seed, size):
        negated = derive_fraction(seed, row_id, "negation", principle.id) < negation
        subset.append((principle, negated and principle.opposite is not None))
    return subset


def decide(scores: Mapping[str, float], negated: Mapping[str, bool]) -> tuple[str, float]:
    """Return the principle with the largest |score|, and its score, flipped if it is negated.

    Of equals the first by id decides, so the order of the principles has no effect.
    """
    names = sorted(scores)
    best = names[strongest([scores[name] for name in names])]
    return best, -scores[best] if negated[best] else scores[best]
