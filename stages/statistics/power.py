"""What an ablation can find: the smallest effect that it detects with a given chance.

In: how many prompts and seeds, and assumptions. Out: a `Detectable`, as plain data, which repeats
the assumptions. It needs no run.

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
BISECTIONS = 40


@dataclass(frozen=True)
class Detectable:
    """The smallest detectable effect, with the assumptions under which it holds.

    Args:
        effect: in the units of a share, in either direction; None: nothing that the base rate
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

    def reaches(effect: float) -> bool:
        chance = detection_power(
            effect,
            n_prompts,
            n_seeds,
            assumed,
            consistent,
            seed_sd,
            comparisons,
            alpha,
            pool,
        )
        return chance >= power

    low, high = 0.0, max(base_rate, 1 - base_rate)
    detectable = reaches(high)
    if detectable:
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            if reaches(middle):
                high = middle
            else:
                low = middle
    return Detectable(
        effect=high if detectable else None,
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
    """The chance that a true difference of `effect` is found.

    At an effect above the discordance, that grows to the effect.
    """
    from scipy.special import ndtr, stdtrit
    from scipy.stats import chi2

    if n_seeds == 1:
        consistent, seed_sd = 1.0, 0.0
    change = max(discordance, abs(effect)) - effect**2
    cells = n_prompts * n_seeds

    # the variance of the mean difference, in parts
    of_prompts = consistent * change / n_prompts
    of_cells = (1 - consistent) * change / cells
    of_seeds = seed_sd**2 / n_seeds
    total = of_prompts + of_cells + of_seeds

    # the square of the interval's half-width, over what the seeds' variance may be estimated as
    level = alpha / comparisons
    t2_prompts = float(stdtrit(n_prompts - 1, level / 2)) ** 2
    half2 = np.full(DRAWS, t2_prompts * (of_prompts + of_cells))
    df = (comparisons if pool else 1) * (n_seeds - 1)
    if df:
        drawn = chi2.ppf((np.arange(DRAWS) + 0.5) / DRAWS, df) / df
        t2_seeds = float(stdtrit(df, level / 2)) ** 2
        seeds2 = np.maximum(t2_seeds * (of_seeds + of_cells) * drawn, t2_prompts * of_cells)
        half2 = seeds2 + t2_prompts * of_prompts

    trials: float = n_prompts
    if total:
        trials = min(max(change / (total * cells), 1 / n_seeds), 1.0) * cells
    # the imagined changes; their shrinkage cancels
    half = np.sqrt(half2 + t2_prompts * 2 / trials**2)
    sd = math.sqrt(total) or 1e-9
    above = ndtr((abs(effect) - half) / sd)
    below = ndtr((-abs(effect) - half) / sd)
    return float(np.mean(above + below))
