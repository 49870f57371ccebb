"""Shares of labels that a variant changes: not a difference of two runs.

The reference changes none of its own labels. In: for each variant, by seed and prompt the share of
its labels that are not the reference's. Out: `Effect`s and `Finding`s, as for differences.

The prompt is the unit: its pairs and seeds are averaged, which errs on the wide side. Intervals are
Wilson's (1927). That *some* label changes is not the question, one is enough; the question is
whether more of them change than a margin, or fewer. So p is of the exact binomial test against the
margin, one-sided, each side corrected by Holm.
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

    The verdict is "works" if the share is shown to be above the margin, "equivalent" if below it,
    else "undecided". Variants without any label are left out.
    """
    values: dict[str, dict[str, float]] = {}
    for name, runs in variants.items():
        averages = by_prompt(cell for cells in runs.values() for cell in cells.items())
        if averages:
            values[name] = averages
    tails = [_tails(cells, margin) for cells in values.values()]
    above = holm([p for p, _ in tails])
    below = holm([p for _, p in tails])
    effects, findings = {}, {}
    for i, (name, cells) in enumerate(values.items()):
        estimate = _share(cells, confidence)
        wide = _share(cells, 1 - (1 - confidence) / len(values))
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


def _share(cells: Mapping[str, float], confidence: float = 0.95) -> Estimate:
    return cast(Estimate, share(cells, confidence))


def _tails(cells: Mapping[str, float], margin: float) -> tuple[float, float]:
    """The chances of at least, and of at most, as many changes if the true share is `margin`.

    Parts of a change are rounded against the claim.
    """
    from scipy.stats import binom

    changed, n = sum(cells.values()), len(cells)
    at_least = binom.sf(math.floor(changed + 1e-9) - 1, n, margin)
    at_most = binom.cdf(math.ceil(changed - 1e-9), n, margin)
    return float(at_least), float(at_most)
