"""Why a mean difference of two runs varies: prompts, seeds, and the chance of single answers.

A mean difference varies for two reasons: other prompts could have been used, and another seed
would have trained another model. Its variance is the sum of two parts (two-way random effects
without replication; Searle, Casella and McCulloch 1992), and two or three seeds contain almost no
information on the second. So each part keeps its own degrees of freedom (Banerjee 1960, Sankhya 22,
357),

    half-width ** 2  =  t(seeds) ** 2 * V_seeds  +  t(prompts) ** 2 * V_prompts

which is exact if there is only one part, and otherwise a little too wide. How much a seed
moves one run is estimated from all runs of the ablation together, as the interaction of variant and
seed, with variants * (seeds - 1) degrees of freedom: 12 variants and 3 seeds have 24, one variant
has 2. V_seeds is at least the variance that the chance of single answers explains.

How well the intervals cover is reported in `differences`.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
LEAST_P = 1e-12


@dataclass(frozen=True)
class Spread:
    """The variance of a mean difference in parts, each with its degrees of freedom.

    Args:
        seeds: the variance due to seeds, the chance of single answers included; 0 with one seed.
        chance: the variance due to the chance of single answers alone, estimated from all prompts;
            `seeds` cannot be less.
        prompts: the variance due to the choice of prompts.
        df_seeds, df_prompts: degrees of freedom; infinite where the variance is known.
    """

    seeds: float
    chance: float
    prompts: float
    df_seeds: float
    df_prompts: float

    def half_width(self, alpha: float) -> float:
        """Half the width of the interval with confidence 1 - alpha."""
        # the inverse of Student's t: `scipy.stats.t.ppf` without its checks, 50 times faster
        from scipy.special import stdtrit

        t2_seeds = float(stdtrit(self.df_seeds, alpha / 2)) ** 2
        t2_prompts = float(stdtrit(self.df_prompts, alpha / 2)) ** 2
        of_seeds = max(t2_seeds * self.seeds, t2_prompts * self.chance)
        return math.sqrt(of_seeds + t2_prompts * self.prompts)

    def p_value(self, distance: float) -> float:
        """The two-sided p: the alpha whose interval has the half-width `distance`."""
        from scipy.optimize import brentq

        if distance == 0:
            return 1.0
        if self.half_width(LEAST_P) <= abs(distance):
            return LEAST_P

        def excess(log_alpha: float) -> float:
            return self.half_width(math.exp(log_alpha)) - abs(distance)

        return math.exp(float(brentq(excess, math.log(LEAST_P), 0.0)))


@dataclass(frozen=True)
class Parts:
    """The sources of variance of one run's mean difference.

    Args:
        trials: how many independent prompts a table of one seed would need for the same variance:
            the prompts, if every seed changes the same ones, up to prompts times seeds, if each
            changes its own.
        seed_sd: how much the seed moves the difference, as a standard deviation; None with one
            seed.
        seeds_p: the p-value of the F test that a seed moves this run no more than the others; None
            with one seed or one run.
    """

    spread: Spread
    trials: float
    seed_sd: float | None = None
    seeds_p: float | None = None


def components(cube: Array) -> list[Parts]:
    """The sources of variance of each run but the first, compared with the first.

    Args:
        cube: values by (run, seed, prompt).
    """
    runs, n_seeds, n_prompts = cube.shape
    if n_seeds == 1:
        return _parts_of_one_seed(cube)
    df_prompts = float(n_prompts - 1)
    df_seeds = float((runs - 1) * (n_seeds - 1))
    n_values = n_seeds * n_prompts
    d = cube[1:] - cube[0]

    # mean squares of each run: between prompts, and what neither prompt nor seed explains
    between = d.mean(axis=1).var(axis=1, ddof=1) * n_seeds
    residual = _sum_of_squares(_centre(d, (2, 1))) / ((n_seeds - 1) * df_prompts)
    seed_variance = _seed_variance(cube)

    # variances of each run's mean difference
    chance = residual / n_values
    seeds = np.maximum(chance + seed_variance / n_seeds, 0.0)
    prompts = np.maximum(between - residual, 0.0) / n_values
    total = np.maximum(seeds, chance) + prompts

    single = d.var(axis=(1, 2))
    worth = np.divide(single, total * n_values, out=np.zeros(runs - 1), where=total > 0)
    trials = np.clip(worth, 1 / n_seeds, 1.0) * n_values
    seeds_p = _seed_p_values(cube, residual / n_prompts)
    parts = []
    for i in range(runs - 1):
        spread = Spread(float(seeds[i]), float(chance[i]), float(prompts[i]), df_seeds, df_prompts)
        seed_sd = math.sqrt(max(seed_variance, 0.0))
        parts.append(Parts(spread, float(trials[i]), seed_sd, seeds_p[i]))
    return parts


def _parts_of_one_seed(cube: Array) -> list[Parts]:
    n_prompts = cube.shape[2]
    d = cube[1:, 0] - cube[0, 0]
    parts = []
    for variance in d.var(axis=1, ddof=1) / n_prompts:
        spread = Spread(0.0, 0.0, float(variance), 1.0, float(n_prompts - 1))
        parts.append(Parts(spread, n_prompts))
    return parts


def _seed_p_values(cube: Array, chance: Array) -> list[float | None]:
    """For each run but the first, the p of the F test that a seed moves it no more than the others.

    Args:
        chance: for each run but the first, the variance of one seed's mean difference due to the
            chance of single answers.
    """
    from scipy.special import fdtrc

    runs, n_seeds, n_prompts = cube.shape
    if runs < 3:
        return [None] * (runs - 1)
    seed_variances = np.array([_seed_variance(cube[[0, i]]) for i in range(1, runs)])
    inner, outer = _interaction(cube)
    # The sum of squares around a mean without run i: the rest takes its own mean, hence the factor.
    inner_others = inner.sum() - inner[1:] * runs / (runs - 1)
    outer_others = outer.sum() - outer[1:] * runs / (runs - 1)
    others = _seed_component(runs - 1, n_seeds, n_prompts, inner_others, outer_others)
    base = chance + np.maximum(others, 0.0)
    observed = np.maximum(chance + seed_variances, 0.0)
    ratio = np.divide(observed, base, out=np.ones(runs - 1), where=base > 0)
    return [float(p) for p in fdtrc(n_seeds - 1, (runs - 2) * (n_seeds - 1), ratio)]


def _seed_variance(cube: Array) -> float:
    """What a seed adds to the variance of a difference of two runs, beyond single answers' chance.

    Unbiased, so sometimes below 0. Computed from the interaction of run and seed, so an effect of
    a seed that is the same for all runs cancels.
    """
    runs, n_seeds, n_prompts = cube.shape
    inner, outer = _interaction(cube)
    return float(_seed_component(runs, n_seeds, n_prompts, inner.sum(), outer.sum()))


def _interaction(cube: Array) -> tuple[Array, Array]:
    """Sums of squares of each run, of single answers and of its seeds' means.

    The main effects of runs and seeds are removed from both.
    """
    means = cube.mean(axis=2, keepdims=True)
    inner = _centre(cube - means, (0, 1))  # what remains is due to the prompt
    return _sum_of_squares(inner), _sum_of_squares(_centre(means, (0, 1)))


def _seed_component(runs: int, n_seeds: int, n_prompts: int, inner: Any, outer: Any) -> Any:
    """Twice the variance of a run's seed effect, from the two sums of squares of `_interaction`."""
    df = (runs - 1) * (n_seeds - 1)
    return 2 * (outer / df - inner / (df * (n_prompts - 1)) / n_prompts)


def _centre(values: Array, axes: tuple[int, int]) -> Array:
    """The values without the main effects of two axes."""
    first, second = (values.mean(axis=axis, keepdims=True) for axis in axes)
    return values - first - second + values.mean(axis=axes, keepdims=True)


def _sum_of_squares(cube: Array) -> Array:
    """The sum of squares of each run."""
    return np.asarray((cube**2).sum(axis=(1, 2)))
