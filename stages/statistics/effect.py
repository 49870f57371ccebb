"""The effect of one variant against the reference, as plain data."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from stages.statistics.variance import Spread

Runs = Mapping[str, Mapping[str, float]]  # seed: {prompt: value}, of one variant


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A variant minus the reference.

    Args:
        value, low, high: the mean difference and its interval with `confidence`.
        over: the population of the interval: "prompts" (one seed: these runs only) or "prompts
            and seeds".
        reference, mean: the means of the reference and of the variant.
        by_seed: the mean difference of each seed.
        cohens_h: of the two shares (Cohen 1988); None where values are not shares.
        discordance: share of the (seed, prompt) values that differ.
        rose, fell: the means of what rose and of what fell, both above 0; their difference is
            `value`.
        trials: how many independent prompts with yes/no outcomes would tell as much (see
            `variance.Parts`); None where values are not shares.
        seed_sd: how much the seed moves the difference, as a standard deviation; None with one
            seed.
        seeds_p: of the F test that a seed moves this variant no more than the others; small: do not
            pool it with them.
        p: two-sided; `test` names the test: "mcnemar" (exact; one seed, yes/no outcomes),
            "sign_flip" (one seed, other values) or "t" (inverts the interval). The first two may
            disagree with the interval near 0; verdicts depend on p.
        p_adjusted: adjusted for all variants of the family, by `correction`: "holm" (1979), "max_t"
            (Westfall and Young).
        low_all, high_all: the interval that holds for all variants at once (Bonferroni).
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
    cohens_h: float | None = None
    discordance: float
    rose: float = 0.0
    fell: float = 0.0
    trials: float | None = None
    seed_sd: float | None = None
    seeds_p: float | None = None
    p: float
    test: str
    p_adjusted: float
    correction: str
    low_all: float
    high_all: float
    centre: float
    spread: Spread

    @property
    def overlap(self) -> float | None:
        """How far all seeds change the same prompts, see `power`; None where nothing shows it."""
        of_answers = self.n_seeds * self.spread.chance
        total = self.spread.prompts + of_answers
        return self.spread.prompts / total if self.n_seeds > 1 and total > 0 else None

    def plain(self) -> dict[str, Any]:
        """Plain data for JSON, which has no infinity: None for the degrees of a known variance."""
        spread = {}
        for name, value in asdict(self.spread).items():
            spread[name] = value if math.isfinite(value) else None
        return asdict(self) | {"spread": spread}


def cohens_h(first: float, second: float) -> float:
    """The difference of two shares on the arcsine scale: 0.2 is small, 0.5 medium, 0.8 large.

    Source: Cohen 1988.
    """
    from statsmodels.stats.proportion import proportion_effectsize

    return float(proportion_effectsize(min(max(first, 0.0), 1.0), min(max(second, 0.0), 1.0)))
