"""Shares of labels that a variant changes, which are not differences of two runs.

The reference changes none of its own labels. In: for each variant, by seed and prompt, the share of
its labels that differ from the reference's. Out: `Effect`s and `Finding`s, as for differences.

The prompt is the unit: its pairs and seeds are averaged, so the interval is rather too wide.
Intervals are Wilson's (1927). The question is not whether *any* label changes, as one change
answers it, but whether more labels change than a margin, or fewer. So p is from the exact binomial
test against the margin, one-sided, each side corrected by Holm.
"""

import math
from collections.abc import Mapping
from typing import cast

from stages.statistics.corrections import holm
from stages.statistics.effect import Effect, Runs
from stages.statistics.equivalence import Finding, finding_of
from stages.statistics.intervals import Estimate, by_prompt, share
from stages.statistics.variance import Spread


def changes(
    variants: Mapping[str, Runs], margin: float, confidence: float = 0.95
) -> tuple[dict[str, Effect], dict[str, Finding]]:
    """Every variant's share of changed labels, with its interval and its verdict.

    The verdict is "differs" if the share is shown to be above the margin, "equivalent" if below it,
    else "undecided". Variants without any label are left out.
    """
    values: dict[str, dict[str, float]] = {}
    for name, runs in variants.items():
        averages = by_prompt(item for seed_values in runs.values() for item in seed_values.items())
        if averages:
            values[name] = averages
    tails = [_tails(averages, margin) for averages in values.values()]
    above = holm([p for p, _ in tails])
    below = holm([p for _, p in tails])
    effects, findings = {}, {}
    for i, (name, averages) in enumerate(values.items()):
        estimate = _share(averages, confidence)
        wide = _share(averages, 1 - (1 - confidence) / len(values))
        variance = estimate.value * (1 - estimate.value) / estimate.n
        effects[name] = Effect(
            variant=name,
            value=estimate.value,
            low=estimate.low,
            high=estimate.high,
            confidence=confidence,
            n_prompts=estimate.n,
            n_seeds=len(variants[name]),
            over="prompts",
            reference=0.0,
            mean=estimate.value,
            by_seed={seed: _share(runs).value for seed, runs in variants[name].items()},
            discordance=estimate.value,
            rose=estimate.value,
            p=tails[i][0],
            test="binomial",
            p_adjusted=above[i],
            correction="holm",
            low_all=wide.low,
            high_all=wide.high,
            centre=estimate.value,
            spread=Spread(0.0, 0.0, variance, df_seeds=1.0, df_prompts=math.inf),
        )
        findings[name] = finding_of(effects[name], below[i], margin, 1 - confidence)
    return effects, findings


def _share(values: Mapping[str, float], confidence: float = 0.95) -> Estimate:
    return cast(Estimate, share(values, confidence))


def _tails(values: Mapping[str, float], margin: float) -> tuple[float, float]:
    """The chances of at least, and of at most, as many changes if the true share is `margin`.

    Fractions of a change are rounded so that the test is conservative.
    """
    from scipy.stats import binom

    changed, n = sum(values.values()), len(values)
    at_least = binom.sf(math.floor(changed + 1e-9) - 1, n, margin)
    at_most = binom.cdf(math.ceil(changed - 1e-9), n, margin)
    return float(at_least), float(at_most)
