"""What an ablation can find, said before it runs: the smallest effect that it detects with a given
chance.

In: how many prompts and seeds, and assumptions. Out: a `Detectable`, as plain data, which repeats
the assumptions.

It answers for the intervals of `differences`: an effect counts as found when its interval at Holm's
first step, alpha / comparisons, excludes 0. The power is integrated over what few seeds may make of
the seeds' variance, so two seeds get the large effect that two seeds deserve. With one seed and no
imagined changes it is the formula of Connett, Smith and McHugh (1987) for McNemar's test. Holm's
later steps are easier, so the power of the second and further effects is higher. With one seed the
promise is for the interval; McNemar's exact p is a little harder to please (tests: within some
points).
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

DRAWS = 400  # of the seeds' variance, evenly over its distribution


@dataclass(frozen=True)
class Detectable:
    """`effect` is in the units of a share, in either direction; None: nothing that the base rate
    leaves room for.
    """

    effect: float | None
    over: str
    n_prompts: int
    n_seeds: int
    base_rate: float
    discordance: float
    consistent: float
    seed_sd: float
    comparisons: int
    alpha: float
    power: float

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def minimum_detectable(
    n_prompts: int,
    n_seeds: int = 1,
    *,
    base_rate: float,
    discordance: float | None = None,
    consistent: float = 0.0,
    seed_sd: float = 0.0,
    comparisons: int = 1,
    alpha: float = 0.05,
    power: float = 0.8,
    pool: bool = True,
) -> Detectable:
    """The smallest true difference that is found with the chance `power`.

    Args:
        base_rate: the reference's share.
        discordance: share of prompts whose outcome differs between variant and reference; None: as
            if both answers were drawn independently at the base rate, 2 p (1 - p), more than any
            pair of related runs has.
        consistent: share of the change that is the same in every seed: 0, each seed changes prompts
            of its own; 1, all the same ones (then more seeds do not replace prompts).
        seed_sd: how much a seed moves the difference, as a standard deviation (`Effect.seed_sd`);
            unseen with one seed.
        comparisons: variants tested together; pooled, they also share their estimate of what a seed
            does.
    """
    assumed = 2 * base_rate * (1 - base_rate) if discordance is None else discordance
    room = max(base_rate, 1 - base_rate)

    def chance(effect: float) -> float:
        return detection_power(
            effect, n_prompts, n_seeds, assumed, consistent, seed_sd, comparisons, alpha, pool
        )

    low, high = 0.0, room
    if chance(high) < power:
        found = None
    else:
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (low, middle) if chance(middle) >= power else (middle, high)
        found = high
    return Detectable(
        effect=found,
        over="prompts" if n_seeds == 1 else "prompts and seeds",
        n_prompts=n_prompts,
        n_seeds=n_seeds,
        base_rate=base_rate,
        discordance=assumed,
        consistent=consistent,
        seed_sd=seed_sd,
        comparisons=comparisons,
        alpha=alpha,
        power=power,
    )


def detection_power(
    effect: float,
    n_prompts: int,
    n_seeds: int,
    discordance: float,
    consistent: float = 0.0,
    seed_sd: float = 0.0,
    comparisons: int = 1,
    alpha: float = 0.05,
    pool: bool = True,
) -> float:
    """The chance that a true difference of `effect` is found. At an effect above it, the
    discordance grows to the effect.
    """
    from scipy.special import ndtr, stdtrit
    from scipy.stats import chi2

    change = max(discordance, abs(effect)) - effect**2
    if n_seeds == 1:
        consistent, seed_sd = 1.0, 0.0
    prompts = consistent * change / n_prompts
    cells = (1 - consistent) * change / (n_prompts * n_seeds)
    seeds = seed_sd**2 / n_seeds
    df = (comparisons if pool else 1) * (n_seeds - 1)
    level = alpha / comparisons
    of_prompts = float(stdtrit(n_prompts - 1, level / 2)) ** 2
    half2 = np.full(DRAWS, of_prompts * (prompts + cells))
    if df:
        drawn = chi2.ppf((np.arange(DRAWS) + 0.5) / DRAWS, df) / df
        of_seeds = float(stdtrit(df, level / 2)) ** 2
        half2 = (
            np.maximum(of_seeds * (seeds + cells) * drawn, of_prompts * cells)
            + of_prompts * prompts
        )
    total = prompts + cells + seeds
    trials = (
        min(max(change / (total * n_prompts * n_seeds), 1 / n_seeds), 1.0) * n_prompts * n_seeds
        if total
        else n_prompts
    )
    half = np.sqrt(
        half2 + of_prompts * 2 / trials**2
    )  # the imagined changes; their shrinkage cancels
    sd = math.sqrt(total) or 1e-9
    return float(np.mean(ndtr((abs(effect) - half) / sd) + ndtr((-abs(effect) - half) / sd)))
