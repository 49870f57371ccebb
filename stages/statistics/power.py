"""The power of an ablation: the smallest effect that it detects with a given chance.

In: how many prompts and seeds, and assumptions. Out: plain numbers. No run is
needed.

The results are for the intervals of `differences`: an effect is detected when its interval at
Holm's first step, alpha / comparisons, excludes 0. The power is integrated over the distribution of
the estimated variance of the seeds, so with two seeds only a large effect is detectable. With one
seed and no imagined changes it is the formula of Connett, Smith and McHugh (1987) for McNemar's
test. Holm's later steps are easier, so the power of the second and further effects is higher. With
one seed the result is for the interval; McNemar's exact test detects a little less (tests: within
some points).

Each seed is assumed to change different prompts. Where all seeds change the same ones, more seeds
do not replace prompts, and only a larger effect is found.
"""

import math

import numpy as np

DRAWS = 400  # of the seeds' variance, evenly over its distribution
BISECTIONS = 40
POWER = 0.8  # the chance with which a detectable effect is found


def minimum_detectable(
    n_prompts: int,
    n_seeds: int = 1,
    *,
    base_rate: float,
    discordance: float | None = None,
    seed_sd: float = 0.0,
    comparisons: int = 1,
    alpha: float = 0.05,
) -> float | None:
    """The smallest true difference of shares, in either direction, found with the chance `POWER`.

    Args:
        base_rate: the reference's share.
        discordance: share of prompts whose outcome differs between variant and reference; None: as
            if both answers were drawn independently at the base rate, 2 p (1 - p), more than any
            pair of related runs has.
        seed_sd: how much a seed moves the difference, as a standard deviation (`Effect.seed_sd`);
            not measurable with one seed.
        comparisons: variants tested together; they share the estimate of the seeds' variance.

    Returns:
        None if no effect that the base rate allows is detected.
    """
    assumed = 2 * base_rate * (1 - base_rate) if discordance is None else discordance

    def reaches(effect: float) -> bool:
        options = (n_prompts, n_seeds, assumed, seed_sd, comparisons, alpha)
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


def detection_power(
    effect: float,
    n_prompts: int,
    n_seeds: int,
    discordance: float,
    seed_sd: float = 0.0,
    comparisons: int = 1,
    alpha: float = 0.05,
) -> float:
    """The chance that a true difference of `effect` is found.

    If the effect is larger than the discordance, the discordance is taken to be the effect.
    """
    from scipy.special import ndtr, stdtrit
    from scipy.stats import chi2

    change = max(discordance, abs(effect)) - effect**2
    n_values = n_prompts * n_seeds

    # the variance of the mean difference, in parts
    of_values = change / n_values
    of_seeds = seed_sd**2 / n_seeds if n_seeds > 1 else 0.0
    total = of_values + of_seeds

    # the square of the interval's half-width, over the distribution of the seeds' variance
    level = alpha / comparisons
    t2_prompts = float(stdtrit(n_prompts - 1, level / 2)) ** 2
    half2 = np.full(DRAWS, t2_prompts * of_values)
    df = comparisons * (n_seeds - 1)
    if df:
        drawn = chi2.ppf((np.arange(DRAWS) + 0.5) / DRAWS, df) / df
        t2_seeds = float(stdtrit(df, level / 2)) ** 2
        half2 = np.maximum(t2_seeds * (of_seeds + of_values) * drawn, half2)

    trials: float = n_prompts
    if total:
        trials = min(max(change / (total * n_values), 1 / n_seeds), 1.0) * n_values
    # the imagined changes; their shrinkage cancels
    half = np.sqrt(half2 + t2_prompts * 2 / trials**2)
    sd = math.sqrt(total) or 1e-9
    above = ndtr((abs(effect) - half) / sd)
    below = ndtr((-abs(effect) - half) / sd)
    return float(np.mean(above + below))
