"""Rates and paired differences corrected for a judge's misses and false alarms.

A judge that says yes to a share `p` of the answers, finds a share `sensitivity` of the violations
and clears a share `specificity` of the rest, has seen

    rate = (p + specificity - 1) / (sensitivity + specificity - 1)

violations. Both shares come from labels: a policy's own, or another policy's, if the judge errs
there alike (see `transport`). The estimate is written as the mean of one number a prompt (the delta
method), so that pairs of policies, labels of the same prompts and labels of unequal probability
need no rules of their own. One imagined hit and one imagined miss are added to each share, and the
interval is moved as Lang and Reiczigel do, which keeps it honest where labels are few. Errors that
are too rare to be seen cancel in a difference as far as the policies' labels are alike: without
that, intervals of two policies that share most answers covered 98 to 99 %.

Sources: Rogan and Gladen 1978; Lang and Reiczigel 2014 (Preventive Veterinary Medicine 113).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stages.statistics.judges.gold_labels import (
    FEWEST_LABELS,
    Labelled,
    common_prompts,
    effective_count,
    t_quantile,
    values_of,
)

LEAST_SENSE = 2.0
"""Standard errors by which `sensitivity + specificity` must exceed 1: else the judge tells
nothing.
"""


@dataclass(frozen=True)
class Share:
    """How often the judge is right about answers of one kind."""

    value: float
    adjusted: float
    """With one imagined hit and one imagined miss."""
    count: float
    """How many labels it rests on."""
    errors: Any
    """By prompt, its part in the error of `value`."""

    @property
    def variance(self) -> float:
        return self.adjusted * (1 - self.adjusted) / (self.count + 2)


@dataclass(frozen=True)
class Corrected:
    """An estimate with its interval."""

    value: float
    low: float
    high: float
    n: int
    """Prompts that the judge saw."""
    labels: int
    """Labels behind sensitivity and specificity."""

    def plain(self) -> dict[str, Any]:
        return vars(self).copy()


@dataclass(frozen=True)
class _Rate:
    value: float
    centre: float
    """The middle of the interval."""
    errors: Any
    """By prompt, its part in the error of `value`."""
    unseen: float
    """Variance that the labels are too few to show."""
    labels: float


def corrected_rate(
    policy: Labelled, confidence: float = 0.95, errors_of: Labelled | None = None
) -> Corrected | None:
    """The rate of one policy.

    Args:
        errors_of: the policy whose labels state how the judge errs; null: the same.

    Returns:
        None where the labels of either kind are fewer than `FEWEST_LABELS`, or the judge cannot
        tell violations from the rest.
    """
    return _contrast(
        [(policy, errors_of or policy)],
        [1.0],
        confidence,
        (0.0, 1.0),
    )


def corrected_difference(
    before: Labelled,
    after: Labelled,
    confidence: float = 0.95,
    errors_of: tuple[Labelled | None, Labelled | None] = (None, None),
) -> Corrected | None:
    """`after` minus `before`, over the prompts that the judge saw of both; None as above.

    Args:
        errors_of: the policies whose labels state how the judge errs on `before` and on `after`.
    """
    sides = [(before, errors_of[0] or before), (after, errors_of[1] or after)]
    return _contrast(
        sides,
        [-1.0, 1.0],
        confidence,
        (-1.0, 1.0),
    )


def error_shares(policy: Labelled, prompts: Sequence[str]) -> tuple[Share, Share] | None:
    """Return sensitivity and specificity; None with too few labels of either kind."""
    weights = policy.gold_weights(prompts)
    gold = values_of(policy.gold, prompts)
    judged = values_of(policy.judged, prompts)
    sensitivity = _share(judged, weights * gold)
    specificity = _share(1 - judged, weights * (1 - gold))
    if sensitivity is None or specificity is None:
        return None
    return sensitivity, specificity


def _share(right: Any, weights: Any) -> Share | None:
    count = effective_count(weights)
    if count < FEWEST_LABELS:
        return None
    value = float((weights * right).sum() / weights.sum())
    errors = weights / weights.mean() * (right - value)
    adjusted = (value * count + 1) / (count + 2)
    return Share(
        value,
        adjusted,
        count,
        errors,
    )


def _contrast(
    sides: Sequence[tuple[Labelled, Labelled]],
    signs: Sequence[float],
    confidence: float,
    bounds: tuple[float, float],
) -> Corrected | None:
    """A weighted sum of rates; its error is the sum of two means that may share prompts."""
    judged_prompts = common_prompts([policy for policy, _ in sides])
    sources = [source for _, source in sides]
    prompts = list(dict.fromkeys([*judged_prompts, *_all_labels(sources)]))
    value = centre = 0.0
    errors: Any = 0.0
    counts = []
    unseen = []
    for (policy, source), sign in zip(sides, signs, strict=True):
        rate = _rate(policy, source, judged_prompts, prompts, confidence)
        if rate is None:
            return None
        value += sign * rate.value
        centre += sign * rate.centre
        errors = errors + sign * rate.errors
        unseen.append(rate.unseen)
        counts.append(rate.labels)
    total = len(prompts)
    variance = float((errors**2).sum()) / total**2 + sum(unseen)
    if len(sides) > 1:
        variance -= 2 * _alike(*sources) * math.sqrt(math.prod(unseen))
    half = t_quantile(confidence, min(counts)) * math.sqrt(variance)
    lowest, highest = bounds
    value = min(max(value, lowest), highest)
    low = min(max(centre - half, lowest), value)
    high = max(min(centre + half, highest), value)
    return Corrected(
        value,
        low,
        high,
        len(judged_prompts),
        round(min(counts)),
    )


def _alike(first: Labelled, second: Labelled) -> float:
    """How far errors that no label shows are the same on both sides of a difference.

    It is the share of the prompts with both labels on which people and judge say the same of both,
    with one imagined difference each way: mostly answers that the two policies share.
    """
    both = [prompt for prompt in first.labels if prompt in second.gold]
    same = 0
    for prompt in both:
        values = (first.judged[prompt], first.gold[prompt])
        same += values == (second.judged.get(prompt), second.gold[prompt])
    return same / (len(both) + 2)


def _all_labels(policies: Sequence[Labelled]) -> list[str]:
    return [prompt for policy in policies for prompt in policy.labels]


def _rate(
    policy: Labelled,
    source: Labelled,
    judged_prompts: Sequence[str],
    prompts: Sequence[str],
    confidence: float,
) -> _Rate | None:
    import numpy as np

    shares = error_shares(source, prompts)
    if shares is None:
        return None
    sensitivity, specificity = shares
    sense = sensitivity.adjusted + specificity.adjusted - 1
    if sense < LEAST_SENSE * math.sqrt(sensitivity.variance + specificity.variance):
        return None
    said = values_of(policy.judged, judged_prompts)
    yes = float(said.mean())
    plain_sense = sensitivity.value + specificity.value - 1
    value = (yes + specificity.value - 1) / plain_sense
    z = t_quantile(confidence, math.inf)
    drawn_in = (yes * len(said) + z**2 / 2) / (len(said) + z**2)
    middle = min(max((drawn_in + specificity.adjusted - 1) / sense, 0.0), 1.0)
    shift = 2 * z**2 * (middle * sensitivity.variance - (1 - middle) * specificity.variance)

    seen = np.zeros(len(prompts))
    seen[: len(judged_prompts)] = (said - yes) * len(prompts) / len(judged_prompts)
    errors = (seen - middle * sensitivity.errors + (1 - middle) * specificity.errors) / sense
    unseen = middle**2 * _unseen(sensitivity, len(prompts))
    unseen += (1 - middle) ** 2 * _unseen(specificity, len(prompts))
    labels = sensitivity.count + specificity.count
    return _Rate(
        value,
        middle + shift,
        errors,
        unseen / sense**2,
        labels,
    )


def _unseen(share: Share, prompts: int) -> float:
    """By how much the variance of a share is above the one that its labels show."""
    shown = float((share.errors**2).sum()) / prompts**2
    return max(share.variance - shown, 0.0)
