"""Why a mean difference of two runs varies: the prompts, the seeds, and the chance of single
answers.

A mean difference varies for two reasons: other prompts could have been asked, and another seed
would have trained another model. Its variance is the sum of two parts (two-way random effects
without replication; Searle, Casella and McCulloch 1992), and two or three seeds know almost nothing
of the second. So each part keeps its own degrees of freedom,

    half-width ** 2  =  t(seeds) ** 2 * V_seeds  +  t(prompts) ** 2 * V_prompts        (Banerjee
    1960, Sankhya 22, 357)

which is exact where one part is all there is and errs on the wide side in between. How much a seed
moves one run is estimated from all runs of the ablation together, as the interaction of variant and
seed, with variants * (seeds - 1)
degrees of freedom: 12 variants and 3 seeds have 24, one variant has 2. V_seeds is never taken for
less than the chance of single answers explains.

How well the intervals cover is told in `differences`.
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
    """The variance of a mean difference in parts, each with its degrees of freedom (infinite:
    known).

    Args:
        seeds: what the seeds explain, the chance of single answers included; 0 with one seed.
        chance: what the chance of single answers explains alone, known from all prompts: `seeds`
            cannot be less.
        prompts: what the choice of prompts explains.
    """

    seeds: float
    chance: float
    prompts: float
    df_seeds: float
    df_prompts: float

    def half(self, alpha: float) -> float:
        """Half the width of the interval with confidence 1 - alpha."""
        from scipy.special import (
            # inverse of Student's t; `scipy.stats.t.ppf` without its checks, 50 times faster
            stdtrit,
        )

        of_seeds, of_prompts = (
            float(stdtrit(df, alpha / 2)) ** 2 for df in (self.df_seeds, self.df_prompts)
        )
        return math.sqrt(
            max(of_seeds * self.seeds, of_prompts * self.chance) + of_prompts * self.prompts
        )

    def p(self, distance: float) -> float:
        """Two-sided: the alpha whose interval just reaches as far as `distance`."""
        from scipy.optimize import brentq

        if distance == 0 or self.half(LEAST_P) <= abs(distance):
            return 1.0 if distance == 0 else LEAST_P
        found = brentq(lambda x: self.half(math.exp(x)) - abs(distance), math.log(LEAST_P), 0.0)
        return math.exp(float(found))


@dataclass(frozen=True)
class Parts:
    spread: Spread
    trials: float
    seed_sd: float | None = None
    seeds_p: float | None = None


def components(cube: Array) -> list[Parts]:
    """Of a (run, seed, prompt) cube: what makes each run but the first vary, compared with that.

    `trials` is how many independent prompts a table of one seed would need for the same variance:
    the prompts, if every seed changes the same ones, up to prompts times seeds, if each changes its
    own.
    """
    runs, n_seeds, n_prompts = cube.shape
    d, many = cube[1:] - cube[0], float(n_prompts - 1)
    if n_seeds == 1:
        by_prompt = d[:, 0].var(axis=1, ddof=1) / n_prompts
        return [Parts(Spread(0.0, 0.0, float(v), 1.0, many), n_prompts) for v in by_prompt]
    cells = n_seeds * n_prompts
    by_prompt = d.mean(axis=1).var(axis=1, ddof=1) * n_seeds  # mean squares
    chance = _leftover(d) / ((n_seeds - 1) * many)
    own = np.array([_seed_variance(cube[[0, i]]) for i in range(1, runs)])
    by_seed = np.full(runs - 1, _seed_variance(cube))
    seeds = np.maximum(chance / cells + by_seed / n_seeds, 0.0)
    prompts = np.maximum(by_prompt - chance, 0.0) / cells
    total = np.maximum(seeds, chance / cells) + prompts
    worth = np.divide(d.var(axis=(1, 2)), total * cells, out=np.zeros(runs - 1), where=total > 0)
    trials = np.clip(worth, 1 / n_seeds, 1.0) * cells
    df = float((runs - 1) * (n_seeds - 1))
    alike = _alike(cube, own, chance / n_prompts) if runs > 2 else [None] * (runs - 1)
    return [
        Parts(
            Spread(float(seeds[i]), float(chance[i]) / cells, float(prompts[i]), df, many),
            trials=float(trials[i]),
            seed_sd=math.sqrt(max(float(by_seed[i]), 0.0)),
            seeds_p=alike[i],
        )
        for i in range(runs - 1)
    ]


def _alike(cube: Array, own: Array, chance: Array) -> list[float]:
    """For each run but the first the p of the F test that a seed moves it no more than it moves the
    others.
    """
    from scipy.special import fdtrc

    runs, n_seeds, n_prompts = cube.shape
    inner, outer = _interaction(cube)
    # the sum of squares around a mean without run i: what is left takes its own mean, hence the
    # factor
    others = [_added(runs - 1, n_seeds, n_prompts, *(x.sum() - x[i] * runs / (runs - 1) for x in (inner, outer)))
              for i in range(1, runs)]  # fmt: skip
    base = chance + np.maximum(others, 0.0)
    ratio = np.divide(np.maximum(chance + own, 0.0), base, out=np.ones(runs - 1), where=base > 0)
    return [float(p) for p in fdtrc(n_seeds - 1, (runs - 2) * (n_seeds - 1), ratio)]


def _seed_variance(cube: Array) -> float:
    """What a seed adds to the variance of a difference of two runs, beyond the chance of single
    answers.

    Without bias, so below 0 now and then. From the interaction of run and seed, so what a seed does
    to all runs alike drops out.
    """
    inner, outer = _interaction(cube)
    return _added(len(cube), cube.shape[1], cube.shape[2], inner.sum(), outer.sum())


def _interaction(cube: Array) -> tuple[Array, Array]:
    """Sums of squares of each run: of single answers, and of its seeds' means, without what runs
    and seeds do alone.
    """
    inner = cube - cube.mean(
        axis=2, keepdims=True
    )  # run and seed gone; what remains is of the prompt
    inner = inner - inner.mean(axis=0) - inner.mean(axis=1, keepdims=True) + inner.mean(axis=(0, 1))
    table = cube.mean(axis=2)
    outer = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
    return (inner**2).sum(axis=(1, 2)), (outer**2).sum(axis=1)


def _added(runs: int, n_seeds: int, n_prompts: int, inner: float, outer: float) -> float:
    df = (runs - 1) * (n_seeds - 1)
    return 2 * (float(outer) / df - float(inner) / (df * (n_prompts - 1)) / n_prompts)


def _leftover(tables: Array) -> Any:
    """Sum of squares that neither rows nor columns explain, of the last two axes."""
    rows, columns = tables.mean(axis=-1, keepdims=True), tables.mean(axis=-2, keepdims=True)
    return ((tables - rows - columns + tables.mean(axis=(-2, -1), keepdims=True)) ** 2).sum(
        axis=(-2, -1)
    )
