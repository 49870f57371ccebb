"""Rates and paired differences from many judged prompts and a few labels: PPI and PPI++.

The mean of people's labels is unbiased and wide; the mean of the judge's values is narrow and
biased. Prediction-powered inference adds to the first what the judge knows of the prompts without a
label, and stays unbiased however wrong the judge is:

    estimate = mean(gold, labelled) + power * (mean(judged, all) - mean(judged, labelled))

`power` in [0, 1] is tuned for the narrowest interval (PPI++); 0 is gold alone, 1 is plain PPI. With
a difference of two policies the same is done for the difference, prompt by prompt, so that what two
policies share on a prompt cancels. Every estimate is the mean of one number a prompt; its variance
is theirs, with Student's quantile for the number of labels.

Where labels and judge differ on few prompts, the variance that was seen is too small: an imagined
difference is added, as Bonett and Price (2012) do for changes.

Sources: Angelopoulos et al. 2023 (arXiv 2301.09633), Angelopoulos, Duchi and Zrnic 2023 (arXiv
2311.01453); Zrnic and Candes 2024 (arXiv 2403.03208) for labels of unequal probability.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stages.statistics.intervals import FEW_CHANGES
from stages.statistics.judges.gold_labels import (
    FEWEST_LABELS,
    Labelled,
    common_prompts,
    effective_count,
    t_quantile,
    values_of,
)

IMAGINED = 1
"""Differences between people and judge that are imagined where few were seen."""


@dataclass(frozen=True)
class Powered:
    """An estimate with its interval."""

    value: float
    low: float
    high: float
    n: int
    """Prompts that the judge saw."""
    labels: int
    """Of these, prompts with a label."""
    power: float
    """How far the judge's values count: 0 not at all, 1 fully."""

    def plain(self) -> dict[str, Any]:
        return vars(self).copy()


def powered_rate(
    policy: Labelled, confidence: float = 0.95, power: float | None = None
) -> Powered | None:
    """The rate of one policy; None with fewer than `FEWEST_LABELS` labels.

    Args:
        power: null: tuned; 0: gold alone; 1: plain PPI.
    """
    estimate = _contrast(
        [policy],
        [1.0],
        confidence,
        power,
    )
    return _bounded(
        estimate,
        0.0,
        1.0,
    )


def powered_difference(
    before: Labelled, after: Labelled, confidence: float = 0.95, power: float | None = None
) -> Powered | None:
    """`after` minus `before`, over the prompts that the judge saw of both; None as above."""
    estimate = _contrast(
        [before, after],
        [-1.0, 1.0],
        confidence,
        power,
    )
    return _bounded(
        estimate,
        -1.0,
        1.0,
    )


def _contrast(
    policies: Sequence[Labelled], signs: Sequence[float], confidence: float, power: float | None
) -> Powered | None:
    """A weighted sum of rates, as the mean of one number a prompt."""
    import numpy as np

    prompts = common_prompts(policies)
    by_people = np.zeros(len(prompts))
    by_judge = np.zeros(len(prompts))
    counts = []
    labels = []
    differing = []
    for policy, sign in zip(
        policies,
        signs,
        strict=True,
    ):
        weights = policy.gold_weights(prompts)
        labels.append(int((weights > 0).sum()))
        if labels[-1] < FEWEST_LABELS:
            return None
        gold = values_of(policy.gold, prompts)
        judged = values_of(policy.judged, prompts)
        counts.append(effective_count(weights))
        differing.append(int(((weights > 0) & (gold != judged)).sum()))
        by_people += sign * _centred(gold, weights)
        by_judge += sign * (judged - _centred(judged, weights))
    if power is None:
        power = _tuned_power(by_people, by_judge)
    numbers = by_people + power * by_judge
    fewest = min(counts)
    variance = float(numbers.var(ddof=1)) / len(numbers) * fewest / (fewest - 1)
    if min(differing) < FEW_CHANGES:
        variance += IMAGINED / fewest**2
    half = t_quantile(confidence, fewest) * math.sqrt(variance)
    value = float(numbers.mean())
    return Powered(
        value,
        value - half,
        value + half,
        len(prompts),
        min(labels),
        power,
    )


def _centred(values: Any, weights: Any) -> Any:
    """One number a prompt whose mean is the weighted mean, and whose spread is its error's."""
    mean = (weights * values).mean()
    return mean + weights * (values - mean)


def _tuned_power(by_people: Any, by_judge: Any) -> float:
    """The power in [0, 1] with the smallest variance of the sum."""
    import numpy as np

    spread = float(by_judge.var())
    if spread == 0:
        return 0.0
    together = float(np.mean((by_people - by_people.mean()) * (by_judge - by_judge.mean())))
    return min(max(-together / spread, 0.0), 1.0)


def _bounded(estimate: Powered | None, lowest: float, highest: float) -> Powered | None:
    if estimate is None:
        return None
    inside = {}
    for name in ("value", "low", "high"):
        inside[name] = min(max(getattr(estimate, name), lowest), highest)
    return Powered(
        n=estimate.n,
        labels=estimate.labels,
        power=estimate.power,
        **inside,
    )
