"""Shares of labels that a variant changes: no difference of two runs, for the reference changes
none of its own labels.

In: for each variant, by seed and prompt the share of its labels that are not the reference's. Out:
`Effect`s and `Finding`s, as
for differences. The prompt is the unit: its pairs and seeds are averaged, which errs on the wide
side. Intervals are Wilson's (1927). That *some* label changes is no question, one is enough; the
question is whether more of them change than a margin, or fewer, so p is of the exact binomial test
against the margin, one-sided, each side corrected by Holm.
"""

import math
from collections.abc import Mapping
from typing import cast

from stages.ablation.redundancy import Finding
from stages.statistics.corrections import holm
from stages.statistics.differences import Effect, Runs
from stages.statistics.paired import Estimate, by_prompt, share
from stages.statistics.variance import Spread


def changes(
    variants: Mapping[str, Runs], margin: float, confidence: float = 0.95
) -> tuple[dict[str, Effect], dict[str, Finding]]:
    """Every variant's share, whether it is above the margin ("works"), below it ("equivalent"), or
    neither is shown.
    """
    values = {
        name: by_prompt(cell for cells in runs.values() for cell in cells.items())
        for name, runs in variants.items()
    }
    found = {name: cells for name, cells in values.items() if cells}
    tails = [_tails(cells, margin) for cells in found.values()]
    above, below = (holm(list(side)) for side in zip(*tails, strict=True)) if tails else ([], [])
    made, told = {}, {}
    for place, (name, cells) in enumerate(found.items()):
        wilson, wide = (
            cast(Estimate, share(cells, level))
            for level in (confidence, 1 - (1 - confidence) / len(found))
        )
        seeds = list(variants[name])
        made[name] = Effect(
            variant=name, value=wilson.value, low=wilson.low, high=wilson.high, confidence=confidence, n_prompts=wilson.n,
            n_seeds=len(seeds), over="prompts", reference=0.0, mean=wilson.value,
            by_seed={seed: cast(Estimate, share(variants[name][seed])).value for seed in seeds}, cohens_h=None,
            discordance=wilson.value, seed_sd=None, seeds_p=None, p=tails[place][0], test="binomial",
            p_adjusted=above[place], correction="holm", low_all=wide.low, high_all=wide.high, centre=wilson.value,
            spread=Spread(0.0, 0.0, wilson.value * (1 - wilson.value) / wilson.n, 1.0, math.inf),
        )  # fmt: skip
        differs, inside = above[place] <= 1 - confidence, below[place] <= 1 - confidence
        verdict = "works" if differs else "equivalent" if inside else "undecided"
        told[name] = Finding(
            name, verdict, differs, inside, margin, above[place], below[place], "prompts"
        )
    return made, told


def _tails(cells: Mapping[str, float], margin: float) -> tuple[float, float]:
    """The chance of so many or more, and of so many or fewer, under a true share of `margin`; parts
    count against the claim.
    """
    from scipy.stats import binom

    changed, n = sum(cells.values()), len(cells)
    return float(binom.sf(math.floor(changed + 1e-9) - 1, n, margin)), float(
        binom.cdf(math.ceil(changed - 1e-9), n, margin)
    )
