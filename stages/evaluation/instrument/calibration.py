"""Where Yes ends and No begins: thresholds on the log-odds of a judge. Arithmetic only.

A judge may say No to nearly everything and yet be less sure of it where the answer is good. Its
verdicts then need another threshold than even odds, from one of

    the examination   the mean log-odds over answers that are each asked about under a principle and
                      under its opposite. Half of these questions deserve a Yes, so their mean is
                      the judge's leaning: batch calibration (Zhou et al. 2024, arXiv 2309.17249) on
                      a batch that is balanced by construction
    labels            the log-odds that separate labelled answers best

Left out: content-free questions (Zhao et al. 2021, arXiv 2102.09690). On the embedded model, whose
truth is known, they lean to Yes by 1 to 12 nats, where the judge itself is right: docs/judges.md.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

from stages.evaluation.instrument.verdict import DEBIASED

Calibration = Literal["when_biased", "always", "never"]
"""When the examination's threshold is used: where it shows a bias, always, or never."""


def threshold_of_examination(examination: Mapping[str, Any], use: Calibration) -> float:
    """Return the threshold for P(violated), 0.5 where there is nothing to correct.

    Args:
        examination: the metrics of `examine_judge`.
    """
    form = examination["yes_no"]
    if use == "never" or form["prior"] is None:
        return 0.5
    if use == "when_biased" and form["verdict"] != DEBIASED:
        return 0.5
    return violation_threshold(form["prior"]["value"])


def violation_threshold(log_odds_of_yes: float) -> float:
    """Return the P(violated) at which the log-odds of Yes are those of the threshold."""
    return sigmoid(-log_odds_of_yes)


def calibrate(probability: float, threshold: float) -> float:
    """Return a probability with its log-odds moved, so that `threshold` becomes one half."""
    if threshold == 0.5 or probability in (0.0, 1.0):
        return probability
    return sigmoid(_log_odds(probability) - _log_odds(threshold))


def threshold_from_labels(log_odds: Sequence[float], labels: Sequence[bool]) -> float | None:
    """Return the log-odds of Yes that separate labelled answers best.

    It is halfway between two neighbours and has the largest sum of sensitivity and specificity
    (Youden 1950), which does not depend on how many of the labels are Yes. Of equally good ones it
    is the one nearest to 0.

    Args:
        log_odds: of Yes, one for each answer.
        labels: whether each deserves a Yes.

    Returns:
        None where one of the labels is missing.
    """
    good = sum(labels)
    bad = len(labels) - good
    if not good or not bad:
        return None
    levels = sorted(set(log_odds))
    halves = [(low + high) / 2 for low, high in pairwise(levels)]
    candidates = [levels[0] - 1, *halves, levels[-1] + 1]

    def quality(threshold: float) -> tuple[float, float]:
        pairs = list(zip(log_odds, labels, strict=True))
        hits = sum(label and value > threshold for value, label in pairs)
        rejections = sum(not label and value <= threshold for value, label in pairs)
        return hits / good + rejections / bad, -abs(threshold)

    return max(candidates, key=quality)


def sigmoid(x: float) -> float:
    """Return 1 / (1 + exp(-x)) without overflow."""
    if x >= 0:
        return 1 / (1 + math.exp(-x))
    return math.exp(x) / (1 + math.exp(x))


def _log_odds(probability: float) -> float:
    return math.log(probability) - math.log1p(-probability)
