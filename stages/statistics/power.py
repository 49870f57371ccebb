"""The power of an ablation: the smallest effect that it detects with a given chance.

In: how many prompts and seeds, and assumptions. Out: plain numbers. No run is needed.

The results are for the tests of `differences`, at Holm's first step, alpha / comparisons; Holm's
later steps are easier, so the power of the second and further effects is higher. With one seed it
is McNemar's exact test: its power is added up over the possible numbers of changed prompts (without
the exactness this is the formula of Connett, Smith and McHugh 1987). With several seeds an effect
is detected when its interval excludes 0; the power is integrated over the distribution of the
estimated variance of the seeds, so with two seeds only a large effect is detectable.

How many changes there are, how far all seeds change the same prompts (`overlap`), and how much a
seed moves the effect are assumptions. What is not said is taken at its worst: as many changes as
between two runs that have nothing in common, and the overlap that needs the largest effect. Where
all seeds change the same prompts, more seeds do not replace prompts; where each changes its own,
the few seeds must tell how much chance there is.
"""

import math

import numpy as np

from stages.statistics.variance import Array

DRAWS = 400  # of the seeds' variance, evenly over its distribution
BISECTIONS = 30
POWER = 0.8  # the chance with which a detectable effect is found
OVERLAPS = (0.0, 0.25, 0.5, 0.75, 1.0)  # tried where the overlap is not known


def minimum_detectable(
    n_prompts: int,
    n_seeds: int = 1,
    *,
    base_rate: float,
    discordance: float | None = None,
    seed_sd: float = 0.0,
    overlap: float | None = None,
    comparisons: int = 1,
    alpha: float = 0.05,
) -> float | None:
    """The smallest true difference of shares, in either direction, found with the chance `POWER`.

    Args:
        base_rate: the reference's share.
        discordance: share of prompts whose outcome differs between variant and reference; None: as
            if both answers were drawn independently, more than any pair of related runs has.
        seed_sd: how much a seed moves the difference, as a standard deviation (`Effect.seed_sd`);
            not measurable with one seed.
        overlap: how far all seeds change the same prompts, from 0 (each its own) to 1 (all the
            same): the part of the variance of single differences that is the prompt's. None: the
            worst.
        comparisons: variants tested together; they share the estimate of the seeds' variance.

    Returns:
        None if no effect that the base rate allows is detected.
    """

    def reaches(effect: float) -> bool:
        change = discordance
        if change is None:
            change = independent_discordance(base_rate, effect)
        options = (n_prompts, n_seeds, change, seed_sd, comparisons, alpha, overlap)
        return detection_power(effect, *options) >= POWER

    low = 0.0
    high = max(base_rate, 1 - base_rate)
    if not reaches(high):
        return None
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if reaches(middle):
            high = middle
        else:
            low = middle
    return high


def independent_discordance(base_rate: float, effect: float) -> float:
    """The share of prompts that differ if both answers are drawn independently.

    Of the two directions of the effect, the one towards one half, where it is larger.
    """
    direction = 1 if base_rate < 0.5 else -1
    moved = min(max(base_rate + direction * effect, 0.0), 1.0)
    return base_rate * (1 - moved) + moved * (1 - base_rate)


def detection_power(
    effect: float,
    n_prompts: int,
    n_seeds: int,
    discordance: float,
    seed_sd: float = 0.0,
    comparisons: int = 1,
    alpha: float = 0.05,
    overlap: float | None = None,
) -> float:
    """The chance that a true difference of `effect` is found.

    If the effect is larger than the discordance, the discordance is taken to be the effect. With
    one seed `seed_sd` and `overlap` have no meaning.
    """
    change = max(discordance, abs(effect))
    level = alpha / comparisons
    if n_seeds == 1:
        return _power_of_mcnemar(abs(effect), n_prompts, change, level)
    variance = change - effect**2
    df_seeds = comparisons * (n_seeds - 1)
    powers = []
    for part in OVERLAPS if overlap is None else (overlap,):
        of_prompts = part * variance / n_prompts
        chance = (1 - part) * variance / (n_prompts * n_seeds)
        sizes = (n_prompts, n_seeds, df_seeds)
        half = _half_widths(of_prompts, chance, seed_sd, variance, sizes, level)
        powers.append(_chance_beyond(effect, half, of_prompts + chance + seed_sd**2 / n_seeds))
    return min(powers)


def _half_widths(
    of_prompts: float,
    chance: float,
    seed_sd: float,
    variance: float,
    sizes: tuple[int, int, int],
    level: float,
) -> Array:
    """Half the width of the interval of `differences`, over the estimates of the seeds' variance.

    Args:
        of_prompts, chance: as in `variance.Spread`.
        variance: of a single difference.
        sizes: the numbers of prompts and seeds, and the degrees of freedom of the seeds' variance.
    """
    from scipy.special import stdtrit
    from scipy.stats import chi2

    n_prompts, n_seeds, df_seeds = sizes
    of_seeds = chance + seed_sd**2 / n_seeds
    drawn = chi2.ppf((np.arange(DRAWS) + 0.5) / DRAWS, df_seeds) / df_seeds
    t2_seeds = float(stdtrit(df_seeds, level / 2)) ** 2
    t2_prompts = float(stdtrit(n_prompts - 1, level / 2)) ** 2
    half2 = np.maximum(t2_seeds * of_seeds * drawn, t2_prompts * chance) + t2_prompts * of_prompts
    n_values = n_prompts * n_seeds
    total = of_seeds + of_prompts
    trials: float = n_prompts
    if total:
        trials = min(max(variance / (total * n_values), 1 / n_seeds), 1.0) * n_values
    # the imagined changes; their shrinkage cancels
    return np.asarray(np.sqrt(half2 + t2_prompts * 2 / trials**2))


def _chance_beyond(effect: float, half: Array, variance: float) -> float:
    """The chance that an estimate is further from 0 than `half`, on average over its values."""
    from scipy.special import ndtr

    sd = math.sqrt(variance) or 1e-9
    above = ndtr((abs(effect) - half) / sd)
    below = ndtr((-abs(effect) - half) / sd)
    return float(np.mean(above + below))


def _power_of_mcnemar(effect: float, n_prompts: int, discordance: float, level: float) -> float:
    """The power of McNemar's exact test.

    For each number of changed prompts, the chance that so many of them changed one way that the
    test rejects.
    """
    from scipy.stats import binom

    changed = np.arange(1, n_prompts + 1)
    # the largest number on the smaller side with which the test still rejects; -1: there is none
    fewest = binom.ppf(level / 2, changed, 0.5)
    fewest = np.where(binom.cdf(fewest, changed, 0.5) <= level / 2, fewest, fewest - 1)
    rises = (discordance + effect) / (2 * discordance) if discordance else 0.5
    rejects = binom.cdf(fewest, changed, rises) + binom.cdf(fewest, changed, 1 - rises)
    return float(binom.pmf(changed, n_prompts, discordance) @ rejects)
