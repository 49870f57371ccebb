"""What a variant of a constitution changed, against the reference: intervals over prompts and over
seeds, tests, Holm.

In: one value for each (seed, prompt) of each run, as `statistics.by_prompt` gives them, all runs
over the same seeds and
prompts. Out: `Effect`s, as plain data.

The intervals are those of `variance`: prompts and seeds each with their own degrees of freedom, and
what a seed moves estimated from all runs together. Yes/no outcomes get an imagined change each way,
as in Bonett and Price (2012), in as many trials as prompts and seeds are worth; with one seed it is
their interval.

Simulated coverage of 95 % intervals (binary, base rates 5 to 50 %, 100 to 500 prompts, 12 variants;
tests repeat it): 94 to 98 %, the high end with two seeds or below 15 changes. Of three seeds that
matter (5 points), a bootstrap of seeds and prompts covers 89 %, one Satterthwaite quantile for the
sum 93 %; of two, 84 and 88 %. Where it is worse:

- A variant that a seed moves three times as much as the others is covered in 76 to 84 %. `seeds_p`
  warns of half of such cases with five seeds and of a quarter with two. Give `pools`: what is alike
  together (leave-one-out here, only-one there).
- A pool of one variant: 94 to 100 %, wide: t of 2 degrees of freedom is 4.3, of 1 it is 12.7.
- One seed: `over` says "prompts". Where a seed moves a run by 5 points, the interval over 500
  prompts of one seed holds the effect over seeds in 47 %, and nothing in one seed's data tells.
- Below 10 prompts or 5 changes trust only the exact tests.

A share of changed labels is no paired difference (the reference never changes): that is
`shares.changes`.
Left out: Bayesian hierarchical models; prompts in groups (several variants of one request count as
independent).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np

from stages.runtime.errors import UserError
from stages.statistics.corrections import holm, max_t, sign_flip
from stages.statistics.paired import bonett_price, mcnemar_exact
from stages.statistics.variance import Array, Parts, Spread, components

Runs = Mapping[str, Mapping[str, float]]  # seed: {prompt: value}, of one variant
ONE_SD = 2 * NormalDist().cdf(1) - 1


@dataclass(frozen=True)
class Effect:
    """A variant minus the reference.

    Args:
        over: what the interval speaks for: "prompts" (one seed: these runs only) or "prompts and
            seeds".
        p: two-sided; `test` says of which test: "mcnemar" (exact; one seed, yes/no outcomes),
            "sign_flip" (one seed, other values) or "t" (inverts the interval). The first two may
            disagree with the interval at the edge; verdicts go by p.
        p_adjusted: adjusted for all variants given together, by `correction`: "holm" (1979),
            "max_t" (Westfall and Young).
        low_all, high_all: hold for all variants at once (Bonferroni).
        discordance: share of (seed, prompt) cells whose value differs.
        seed_sd: how much the seed moves the difference, as a standard deviation; None with one
            seed.
        seeds_p: of the F test that a seed moves this variant no more than the others; small: do not
            pool it with them.
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
    seeds_p: float | None
    p: float
    test: str
    p_adjusted: float
    correction: str
    low_all: float
    high_all: float
    centre: float
    spread: Spread

    def plain(self) -> dict[str, Any]:
        """As JSON has it, which knows no infinity: null for a variance that is known."""
        spread = {
            name: value if math.isfinite(value) else None
            for name, value in asdict(self.spread).items()
        }
        return asdict(self) | {"spread": spread}


def effects(
    reference: Runs,
    variants: Mapping[str, Runs],
    confidence: float = 0.95,
    pools: Mapping[str, str] | None = None,
    correction: str = "holm",
) -> dict[str, Effect]:
    """Every variant against the reference, over the seeds and prompts that all of them have.

    Args:
        pools: by variant a name; what a seed moves is estimated from the reference and all variants
            of a name. None: all.
        correction: of the p-values for many variants, "holm" or, with one seed, "max_t".

    Raises:
        UserError: no seed, or fewer than two prompts, is common to all; max-T with several seeds,
        of which it knows nothing.
    """
    if not variants:
        return {}
    seeds, prompts = common([reference, *variants.values()])
    cube = np.array(
        [
            [[runs[s][p] for p in prompts] for s in seeds]
            for runs in (reference, *variants.values())
        ],
        dtype=float,
    )
    named = [pools[name] for name in variants] if pools else None
    return {
        effect.variant: effect
        for effect in of_cube(cube, list(variants), seeds, confidence, named, correction)
    }


def of_cube(
    cube: Array,
    names: Sequence[str],
    seeds: Sequence[str],
    confidence: float = 0.95,
    pools: Sequence[str] | None = None,
    correction: str = "holm",
) -> list[Effect]:
    """The same of a (run, seed, prompt) array, whose run 0 is the reference."""
    shares = bool(cube.min() >= 0 and cube.max() <= 1)
    binary = bool(np.isin(cube, (0.0, 1.0)).all())
    parts = _pooled(cube, pools or ["all"] * len(names))
    found = [
        _effect(name, cube[0], run, part, seeds, 1 - confidence, shares, binary)
        for name, run, part in zip(names, cube[1:], parts, strict=True)
    ]
    if correction == "max_t":
        if len(seeds) > 1:
            fix = "take correction=holm, or compare the runs of one seed"
            raise UserError(
                "max-T knows only what the choice of prompts does, and here are several seeds",
                fix=fix,
            )
        shared = max_t(dict(zip(names, cube[1:, 0] - cube[0, 0], strict=True)))
        adjusted = [
            max(shared[e.variant], e.p) for e in found
        ]  # a drawn p may fall a little below the exact one
    else:
        adjusted = holm([e.p for e in found])
    done = []
    for effect, p_adjusted in zip(found, adjusted, strict=True):
        low, high = _interval(effect.centre, effect.spread, (1 - confidence) / len(found), shares)
        done.append(
            replace(
                effect, p_adjusted=p_adjusted, correction=correction, low_all=low, high_all=high
            )
        )
    return done


def _pooled(cube: Array, pools: Sequence[str]) -> list[Parts]:
    found: dict[int, Parts] = {}
    for pool in dict.fromkeys(pools):
        places = [i for i, name in enumerate(pools, 1) if name == pool]
        found |= zip(places, components(cube[[0, *places]]), strict=True)
    return [found[i] for i in sorted(found)]


def common(all_runs: Sequence[Runs]) -> tuple[list[str], list[str]]:
    """Seeds and prompts that all runs share, in the first one's order; seeds and prompts are
    crossed.

    Raises:
        UserError: there is no seed, or there are fewer than two prompts.
    """
    seeds = [s for s in all_runs[0] if all(s in runs for runs in all_runs)]
    first = all_runs[0][seeds[0]] if seeds else {}
    prompts = [p for p in first if all(p in runs[s] for runs in all_runs for s in seeds)]
    if len(prompts) < 2:
        what = f"only {len(prompts)} prompts are" if seeds else "no seed is"
        raise UserError(
            f"{what} common to the reference and all variants",
            fix="measure all on the same seeds and prompts",
        )
    return seeds, prompts


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
    d = run - reference
    spread, trials = parts.spread, parts.trials
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
    if binary and n_seeds == 1:
        fell, rose = int((d < 0).sum()), int((d > 0).sum())
        low, high = bonett_price(fell, rose, n_prompts, confidence=ONE_SD)
        centre, spread = (low + high) / 2, Spread(0.0, 0.0, ((high - low) / 2) ** 2, 1.0, math.inf)
        p, test = mcnemar_exact(fell, rose), "mcnemar"
    elif n_seeds == 1:
        p, test = sign_flip(d[0]), "sign_flip"
    else:
        p, test = spread.p(centre), "t"
    low, high = _interval(centre, spread, alpha, shares)
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


def _interval(centre: float, spread: Spread, alpha: float, shares: bool) -> tuple[float, float]:
    half = spread.half(alpha)
    low, high = centre - half, centre + half
    return (max(low, -1.0), min(high, 1.0)) if shares else (low, high)


def cohens_h(one: float, other: float) -> float:
    """Difference of two shares on the arcsine scale: 0.2 is small, 0.5 medium, 0.8 large (Cohen
    1988).
    """
    from statsmodels.stats.proportion import proportion_effectsize

    return float(proportion_effectsize(min(max(one, 0.0), 1.0), min(max(other, 0.0), 1.0)))
