"""The effect of a variant of a constitution against the reference: intervals, tests, corrections.

In: one value for each (seed, prompt) of each run, as returned by `intervals.by_prompt`, all runs
over the same seeds and prompts. Out: `Effect`s, as plain data.

The intervals are those of `variance`: prompts and seeds have their own degrees of freedom, and the
effect of a seed is estimated from all runs together. Yes/no outcomes get one imagined change in
each direction, as in Bonett and Price (2012), for the effective number of trials of prompts and
seeds; with one seed this is their interval.

Simulated coverage of 95 % intervals (binary, base rates 5 to 50 %, 100 to 500 prompts, 12 variants;
tests repeat it): 94 to 98 %, the high end with two seeds or below 15 changes. Of three seeds that
matter (5 points), a bootstrap of seeds and prompts covers 89 %, one Satterthwaite quantile for the
sum 93 %; of two, 84 and 88 %. Where it is worse:

- A variant that a seed moves three times as much as the others is covered in 76 to 84 %. `seeds_p`
  detects half of such cases with five seeds and a quarter with two. Use `pools` to group similar
  variants (leave-one-out in one pool, only-one in another).
- A pool of one variant: 94 to 100 %, wide: t of 2 degrees of freedom is 4.3, of 1 it is 12.7.
- One seed: `over` says "prompts". Where a seed moves a run by 5 points, the interval over 500
  prompts of one seed holds the effect over seeds in 47 %, and the data of one seed cannot show it.
- Below 10 prompts or 5 changes, trust only the exact tests.

A share of changed labels is not a paired difference (the reference never changes): that is
`shares.changes`.

Left out: Bayesian hierarchical models; prompts in groups (several variants of one request count as
independent).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import NormalDist

import numpy as np

from stages.guards.errors import UserError
from stages.statistics.corrections import holm, max_t, sign_flip
from stages.statistics.effect import Effect, Runs, cohens_h
from stages.statistics.intervals import bonett_price, mcnemar_exact
from stages.statistics.variance import Array, Parts, Spread, components

ONE_SD = 2 * NormalDist().cdf(1) - 1  # the confidence of an interval of one standard deviation


def effects(
    reference: Runs,
    variants: Mapping[str, Runs],
    confidence: float = 0.95,
    pools: Mapping[str, str] | None = None,
    correction: str = "holm",
) -> dict[str, Effect]:
    """Compare every variant with the reference, over the seeds and prompts that all of them have.

    Args:
        pools: by variant, the name of its pool; the effect of a seed is estimated from the
            reference and all variants of a pool. None: one pool.
        correction: of the p-values for many variants, "holm" or, with one seed, "max_t".

    Raises:
        UserError: no seed, or fewer than two prompts, is common to all; or max-T with several
            seeds, which it cannot account for.
    """
    if not variants:
        return {}
    all_runs = [reference, *variants.values()]
    seeds, prompts = common_seeds_and_prompts(all_runs)
    tables = []
    for runs in all_runs:
        tables.append([[runs[seed][prompt] for prompt in prompts] for seed in seeds])
    cube = np.array(tables, dtype=float)
    pool_names = [pools[name] for name in variants] if pools else None
    results = effects_of_cube(cube, list(variants), seeds, confidence, pool_names, correction)
    return {effect.variant: effect for effect in results}


def common_seeds_and_prompts(all_runs: Sequence[Runs]) -> tuple[list[str], list[str]]:
    """The seeds and prompts for which all runs have a value, in the order of the first run.

    Raises:
        UserError: there is no seed, or there are fewer than two prompts.
    """
    first = all_runs[0]
    seeds = [seed for seed in first if all(seed in runs for runs in all_runs)]
    shared: set[str] = set()
    if seeds:
        shared = set.intersection(*(set(runs[seed]) for runs in all_runs for seed in seeds))
    prompts = [prompt for prompt in first[seeds[0]] if prompt in shared] if seeds else []
    if len(prompts) < 2:
        subject = f"only {len(prompts)} prompts are" if seeds else "no seed is"
        raise UserError(
            f"{subject} common to the reference and all variants",
            fix="measure all on the same seeds and prompts",
        )
    return seeds, prompts


def effects_of_cube(
    cube: Array,
    names: Sequence[str],
    seeds: Sequence[str],
    confidence: float = 0.95,
    pools: Sequence[str] | None = None,
    correction: str = "holm",
) -> list[Effect]:
    """Like `effects`, for an array.

    Args:
        cube: values by (run, seed, prompt); run 0 is the reference.
        names: of the runs after the reference.
        pools: of the runs after the reference, see `effects`.
    """
    shares = bool(cube.min() >= 0 and cube.max() <= 1)
    binary = bool(np.isin(cube, (0.0, 1.0)).all())
    parts = _pooled_components(cube, pools or ["all"] * len(names))
    single = []
    for name, run, part in zip(names, cube[1:], parts, strict=True):
        single.append(_effect(name, cube[0], run, part, seeds, 1 - confidence, shares, binary))
    adjusted = _adjust_p_values(single, cube, correction)
    alpha_all = (1 - confidence) / len(single)
    results = []
    for effect, p_adjusted in zip(single, adjusted, strict=True):
        low, high = _interval(effect.centre, effect.spread, alpha_all, shares)
        corrected = replace(
            effect,
            p_adjusted=p_adjusted,
            correction=correction,
            low_all=low,
            high_all=high,
        )
        results.append(corrected)
    return results


def _adjust_p_values(single: Sequence[Effect], cube: Array, correction: str) -> list[float]:
    """Correct the p-values of the effects for all of them."""
    if correction != "max_t":
        return holm([effect.p for effect in single])
    if cube.shape[1] > 1:
        raise UserError(
            "max-T accounts only for the choice of prompts, and these runs have several seeds",
            fix="take correction=holm, or compare the runs of one seed",
        )
    names = [effect.variant for effect in single]
    drawn = max_t(dict(zip(names, cube[1:, 0] - cube[0, 0], strict=True)))
    # a drawn p may fall a little below the exact one
    return [max(drawn[effect.variant], effect.p) for effect in single]


def _pooled_components(cube: Array, pools: Sequence[str]) -> list[Parts]:
    """The variance parts of each run but the first, each from the runs of its own pool."""
    parts: dict[int, Parts] = {}
    for pool in dict.fromkeys(pools):
        members = [i for i, name in enumerate(pools, 1) if name == pool]
        parts |= zip(members, components(cube[[0, *members]]), strict=True)
    return [parts[i] for i in sorted(parts)]


def _effect(
    name: str,
    reference: Array,
    run: Array,
    parts: Parts,
    seeds: Sequence[str],
    alpha: float,
    shares: bool,
    binary: bool,
) -> Effect:
    """One variant's effect, not yet corrected for the others."""
    d = run - reference
    n_seeds, n_prompts = d.shape
    value = float(d.mean())
    before = float(reference.mean())
    after = float(run.mean())
    unit = 1.0 if shares else float(np.abs(d).max())
    if binary and n_seeds == 1:
        fell = int((d < 0).sum())
        rose = int((d > 0).sum())
        centre, spread = _bonett_price_spread(fell, rose, n_prompts)
        p = mcnemar_exact(fell, rose)
        test = "mcnemar"
    else:
        centre, spread = _add_imagined_changes(value, parts, unit)
        p = sign_flip(d[0]) if n_seeds == 1 else spread.p_value(centre)
        test = "sign_flip" if n_seeds == 1 else "t"
    low, high = _interval(centre, spread, alpha, shares)
    by_seed = [float(mean) for mean in d.mean(axis=1)]
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
        by_seed=dict(zip(seeds, by_seed, strict=True)),
        cohens_h=cohens_h(after, before) if shares else None,
        discordance=float((d != 0).mean()),
        rose=float(d.clip(min=0).mean()),
        fell=float((-d).clip(min=0).mean()),
        trials=parts.trials * _graded_worth(d) if shares else None,
        seed_sd=parts.seed_sd,
        seeds_p=parts.seeds_p,
        p=p,
        test=test,
        p_adjusted=p,
        correction="",
        low_all=low,
        high_all=high,
        centre=centre,
        spread=spread,
    )


def _graded_worth(d: Array) -> float:
    """How many yes/no changes tell as much as one graded change of the same mean; 1 for yes/no.

    With one imagined whole change each way: changes that were not seen may be larger.
    """
    return float((np.abs(d).sum() + 2) / ((d**2).sum() + 2))


def _bonett_price_spread(fell: int, rose: int, n_prompts: int) -> tuple[float, Spread]:
    """The middle and the variance of Bonett and Price's interval; its quantile is the normal's."""
    low, high = bonett_price(fell, rose, n_prompts, confidence=ONE_SD)
    spread = Spread(0.0, 0.0, ((high - low) / 2) ** 2, df_seeds=1.0, df_prompts=math.inf)
    return (low + high) / 2, spread


def _add_imagined_changes(value: float, parts: Parts, unit: float) -> tuple[float, Spread]:
    """The middle of the interval and the variance, with a change of `unit` added each way."""
    trials = parts.trials
    spread = parts.spread
    shrink = trials / (trials + 2)
    spread = replace(
        spread,
        seeds=spread.seeds * shrink**2,
        chance=spread.chance * shrink**2,
        prompts=spread.prompts * shrink**2 + 2 * unit**2 / (trials + 2) ** 2,
    )
    return value * shrink, spread


def _interval(centre: float, spread: Spread, alpha: float, shares: bool) -> tuple[float, float]:
    half = spread.half_width(alpha)
    low = centre - half
    high = centre + half
    if shares:
        return max(low, -1.0), min(high, 1.0)
    return low, high
