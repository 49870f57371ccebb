"""What a variant of a constitution changed, against the reference: intervals over prompts and over seeds, tests, Holm.

In: one value for each (seed, prompt) of each run, as `statistics.by_prompt` gives them, all runs over the same seeds and
prompts. Out: `Effect`s, as plain data.

A mean difference varies for two reasons: other prompts could have been asked, and another seed would have trained another
model. Its variance is the sum of the two (two-way random effects without replication, Searle, Casella and McCulloch 1992,
chapter 4), and two or three seeds know almost nothing of the second part. So the parts keep their own degrees of freedom,

    half-width ** 2  =  t(seeds) ** 2 * V_seeds  +  t(prompts) ** 2 * V_prompts        (Banerjee 1961, Sankhya A 23)

which is exact where one part is all there is, and errs on the wide side in between; one Satterthwaite quantile for the
sum is too narrow there, and a bootstrap of two or three seeds is far too narrow (with n draws it loses the factor
(n - 1) / n of the variance, and t's longer tails). What a seed moves in a single run is estimated from all runs of the
ablation together, as the variant-by-seed interaction with (variants) * (seeds - 1) degrees of freedom: 12 variants and 3
seeds have 24. With one variant these are seeds - 1, and the interval is as wide as that deserves.

V_seeds never falls below what the answers' own chance explains. Yes/no outcomes get an imagined change each way, as in
Bonett and Price (2012), in as many trials as the prompts and seeds are worth; with one seed it is their interval.

Known to be worse: (1) pooling assumes that a seed moves every variant equally much; a variant that it moves three times as
much gets an interval that is too narrow (`pool=False` then, at the price of few degrees of freedom). (2) Below 10 prompts
or 5 changes nothing here is trustworthy but the exact tests. (3) With one seed `over` says "prompts": another seed may
give another number, and neither interval nor p-value knows how different. Left out: Bayesian hierarchical models.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.evaluation.ablation_tests import holm
from stages.evaluation.statistics import bonett_price, mcnemar_exact
from stages.runtime.errors import UserError

Array = NDArray[np.float64]
Runs = Mapping[str, Mapping[str, float]]  # seed: {prompt: value}, of one variant
LEAST_P = 1e-12


@dataclass(frozen=True)
class Spread:
    """The variance of a mean difference in parts, each with its degrees of freedom (infinite: known).

    Args:
        seeds: what the seeds explain, the chance of single answers included; 0 with one seed.
        chance: what the chance of single answers explains alone, known from all prompts: `seeds` cannot be less.
        prompts: what the choice of prompts explains.
    """

    seeds: float
    chance: float
    prompts: float
    df_seeds: float
    df_prompts: float

    def half(self, alpha: float) -> float:
        """Half the width of the interval with confidence 1 - alpha."""
        from scipy.special import stdtrit  # inverse of Student's t; `scipy.stats.t.ppf` without its checks, 50 times faster

        of_seeds, of_prompts = (float(stdtrit(df, alpha / 2)) ** 2 for df in (self.df_seeds, self.df_prompts))
        return math.sqrt(max(of_seeds * self.seeds, of_prompts * self.chance) + of_prompts * self.prompts)

    def p(self, distance: float) -> float:
        """Two-sided: the alpha whose interval just reaches as far as `distance`."""
        from scipy.optimize import brentq

        if distance == 0 or self.half(LEAST_P) <= abs(distance):
            return 1.0 if distance == 0 else LEAST_P
        found = brentq(lambda x: self.half(math.exp(x)) - abs(distance), math.log(LEAST_P), 0.0)
        return math.exp(float(found))


@dataclass(frozen=True)
class Effect:
    """A variant minus the reference.

    Args:
        over: what the interval speaks for: "prompts" (one seed: these runs only) or "prompts and seeds".
        p: two-sided; `test` says of which test: "mcnemar" (exact; one seed, yes/no outcomes) or "t" (inverts the interval).
        p_holm: adjusted for all variants given together (Holm 1979).
        low_all, high_all: hold for all variants at once (Bonferroni).
        discordance: share of (seed, prompt) cells whose value differs.
        seed_sd: how much the seed moves the difference, as a standard deviation; None with one seed.
        cohens_h: of the two shares (Cohen 1988); None where values are no shares.
        centre: the middle of the interval; differs from `value` by the imagined changes.
    """

    variant: str
    value: float
    low: float
    high: float
    confidence: float
    n_prompts: int
    n_seeds: int
    over: str
    reference: float
    mean: float
    by_seed: dict[str, float]
    cohens_h: float | None
    discordance: float
    seed_sd: float | None
    p: float
    test: str
    p_holm: float
    low_all: float
    high_all: float
    centre: float
    spread: Spread

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def effects(reference: Runs, variants: Mapping[str, Runs], confidence: float = 0.95, pool: bool = True) -> dict[str, Effect]:
    """Every variant against the reference, over the seeds and prompts that all of them have.

    Args:
        pool: estimate what a seed moves from all runs together; False: from each variant and the reference alone.

    Raises:
        UserError: no seed, or fewer than two prompts, is common to all.
    """
    if not variants:
        return {}
    seeds, prompts = common([reference, *variants.values()])
    cube = np.array([[[runs[s][p] for p in prompts] for s in seeds] for runs in (reference, *variants.values())], dtype=float)
    return {effect.variant: effect for effect in of_cube(cube, list(variants), seeds, confidence, pool)}


def of_cube(
    cube: Array, names: Sequence[str], seeds: Sequence[str], confidence: float = 0.95, pool: bool = True
) -> list[Effect]:
    """The same of a (run, seed, prompt) array, whose run 0 is the reference."""
    shares = bool(cube.min() >= 0 and cube.max() <= 1)
    binary = bool(np.isin(cube, (0.0, 1.0)).all())
    parts = components(cube, pool)
    found = [
        _effect(name, cube[0], run, part, seeds, 1 - confidence, shares, binary)
        for name, run, part in zip(names, cube[1:], parts, strict=True)
    ]
    adjusted = holm([e.p for e in found])
    done = []
    for effect, p_holm in zip(found, adjusted, strict=True):
        low, high = _interval(effect.centre, effect.spread, (1 - confidence) / len(found), shares)
        done.append(replace(effect, p_holm=p_holm, low_all=low, high_all=high))
    return done


def common(all_runs: Sequence[Runs]) -> tuple[list[str], list[str]]:
    """Seeds and prompts that all runs share, in the first one's order; seeds and prompts are crossed.

    Raises:
        UserError: there is no seed, or there are fewer than two prompts.
    """
    seeds = [s for s in all_runs[0] if all(s in runs for runs in all_runs)]
    first = all_runs[0][seeds[0]] if seeds else {}
    prompts = [p for p in first if all(p in runs[s] for runs in all_runs for s in seeds)]
    if len(prompts) < 2:
        what = f"only {len(prompts)} prompts are" if seeds else "no seed is"
        raise UserError(f"{what} common to the reference and all variants", mend="measure all on the same seeds and prompts")
    return seeds, prompts


def _effect(
    name: str,
    reference: Array,
    run: Array,
    parts: tuple[Spread, float, float | None],
    seeds: Sequence[str],
    alpha: float,
    shares: bool,
    binary: bool,
) -> Effect:
    d = run - reference
    spread, trials, seed_sd = parts
    n_seeds, n_prompts = d.shape
    value, before, after = (float(x.mean()) for x in (d, reference, run))
    unit = 1.0 if shares else float(np.abs(d).max())
    shrink = trials / (trials + 2)
    centre = value * shrink
    spread = replace(
        spread,
        seeds=spread.seeds * shrink**2,
        chance=spread.chance * shrink**2,
        prompts=spread.prompts * shrink**2 + 2 * unit**2 / (trials + 2) ** 2,
    )
    low, high = _interval(centre, spread, alpha, shares)
    p, test = None, "t"
    if binary and n_seeds == 1:
        fell, rose = int((d < 0).sum()), int((d > 0).sum())
        p, test = mcnemar_exact(fell, rose), "mcnemar"
        low, high = (max(-1.0, min(1.0, x)) for x in bonett_price(fell, rose, n_prompts, 1 - alpha))
    p = spread.p(centre) if p is None else p
    return Effect(
        variant=name,
        value=value,
        low=low,
        high=high,
        confidence=1 - alpha,
        n_prompts=n_prompts,
        n_seeds=n_seeds,
        over="prompts" if n_seeds == 1 else "prompts and seeds",
        reference=before,
        mean=after,
        by_seed=dict(zip(seeds, (float(x) for x in d.mean(axis=1)), strict=True)),
        cohens_h=cohens_h(after, before) if shares else None,
        discordance=float((d != 0).mean()),
        seed_sd=seed_sd,
        p=p,
        test=test,
        p_holm=p,
        low_all=low,
        high_all=high,
        centre=centre,
        spread=spread,
    )


def _interval(centre: float, spread: Spread, alpha: float, shares: bool) -> tuple[float, float]:
    half = spread.half(alpha)
    low, high = centre - half, centre + half
    return (max(low, -1.0), min(high, 1.0)) if shares else (low, high)


def components(cube: Array, pool: bool = True) -> list[tuple[Spread, float, float | None]]:
    """Of a (run, seed, prompt) cube: for each run but the first, compared with that, its variance, trials and seed sd.

    `trials` is how many independent prompts a table of one seed would need for the same variance: the prompts, if every
    seed changes the same ones, up to prompts times seeds, if each changes its own.
    """
    runs, n_seeds, n_prompts = cube.shape
    d, many = cube[1:] - cube[0], float(n_prompts - 1)
    if n_seeds == 1:
        return [(Spread(0.0, 0.0, float(v) / n_prompts, 1.0, many), n_prompts, None) for v in d[:, 0].var(axis=1, ddof=1)]
    cells = n_seeds * n_prompts
    by_prompt = d.mean(axis=1).var(axis=1, ddof=1) * n_seeds  # mean squares
    chance = _leftover(d) / ((n_seeds - 1) * many)
    by_seed = _seed_variance(cube) if pool else np.array([float(_seed_variance(cube[[0, i]])) for i in range(1, runs)])
    seeds = np.maximum(chance / cells + by_seed / n_seeds, 0.0)
    prompts = np.maximum(by_prompt - chance, 0.0) / cells
    total = np.maximum(seeds, chance / cells) + prompts
    worth = np.divide(d.var(axis=(1, 2)), total * cells, out=np.zeros(runs - 1), where=total > 0)
    trials = np.clip(worth, 1 / n_seeds, 1.0) * cells
    df = float((runs - 1 if pool else 1) * (n_seeds - 1))
    moved = np.broadcast_to(np.sqrt(np.maximum(by_seed, 0.0)), runs - 1)
    return [
        (Spread(float(seeds[i]), float(chance[i]) / cells, float(prompts[i]), df, many), float(trials[i]), float(moved[i]))
        for i in range(runs - 1)
    ]


def _seed_variance(cube: Array) -> Any:
    """What a seed adds to the variance of a difference of two runs, beyond the chance of single answers.

    Without bias, so below 0 now and then. From the interaction of run and seed, so what a seed does to all runs alike
    drops out.
    """
    runs, n_seeds, n_prompts = cube.shape
    df = (runs - 1) * (n_seeds - 1)
    inner = cube - cube.mean(axis=2, keepdims=True)  # run and seed gone; what remains is of the prompt
    inner = inner - inner.mean(axis=0) - inner.mean(axis=1, keepdims=True) + inner.mean(axis=(0, 1))
    chance = float((inner**2).sum()) / (df * (n_prompts - 1))
    return 2 * (float(_leftover(cube.mean(axis=2))) / df - chance / n_prompts)


def _leftover(tables: Array) -> Any:
    """Sum of squares that neither rows nor columns explain, of the last two axes."""
    rows, columns = tables.mean(axis=-1, keepdims=True), tables.mean(axis=-2, keepdims=True)
    return ((tables - rows - columns + tables.mean(axis=(-2, -1), keepdims=True)) ** 2).sum(axis=(-2, -1))


def cohens_h(one: float, other: float) -> float:
    """Difference of two shares on the arcsine scale: 0.2 is small, 0.5 medium, 0.8 large (Cohen 1988)."""
    from statsmodels.stats.proportion import proportion_effectsize

    return float(proportion_effectsize(min(max(one, 0.0), 1.0), min(max(other, 0.0), 1.0)))


def prompt_means(reference: Runs, variant: Runs) -> list[float]:
    """A prompt's difference, averaged over the seeds: what the sign flips take."""
    seeds, prompts = common([reference, variant])
    return [fmean(variant[s][p] - reference[s][p] for s in seeds) for p in prompts]
