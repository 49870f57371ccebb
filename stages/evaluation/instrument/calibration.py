"""Where Yes ends and No begins: thresholds on the log-odds of a judge. Arithmetic only.

A judge may say No to nearly everything and yet be less sure of it where the answer is good. Its
verdicts then need another threshold than even odds, from one of

    the examination   the mean log-odds over answers that are each asked about under a principle and
                      under its opposite. Half of these questions deserve a Yes, so their mean is
                      the judge's leaning: batch calibration (Zhou et al. 2024, arXiv 2309.17249) on
                      a batch that is balanced by construction
    labels            `evaluation.labels.threshold`

The first undoes a leaning and no other error; docs/judges.md says where that helps and where not.

Left out: content-free questions (Zhao et al. 2021, arXiv 2102.09690). On the embedded model, whose
truth is known, they lean to Yes by 1 to 12 nats, where the judge itself is right: docs/judges.md.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal

from stages.evaluation.instrument.verdict import NOT_ABLE, leaning

Calibration = Literal["when_biased", "always", "never", "labels"]
"""Which threshold is used: the examination's where it shows a leaning, or always; never another
one than even odds; or the labels'.
"""
EVEN = 0.5
"""The threshold for P(violated) that nothing moved."""


def threshold_of_examination(examination: Mapping[str, Any], use: Calibration) -> float:
    """Return the threshold for P(violated), `EVEN` where there is nothing to correct.

    Args:
        examination: the metrics of `examine_judge`.
    """
    form = examination["yes_no"]
    is_biased = form["verdict"] != NOT_ABLE and leaning(form) is not None
    is_used = use == "always" or (use == "when_biased" and is_biased)
    if not is_used or form["prior"] is None:
        return EVEN
    return violation_threshold(form["prior"]["value"])


def violation_threshold(log_odds_of_yes: float) -> float:
    """Return the P(violated) at which the log-odds of Yes are those of the threshold."""
    return sigmoid(-log_odds_of_yes)


def calibrate(probability: float, threshold: float) -> float:
    """Return a probability with its log-odds moved, so that `threshold` becomes one half."""
    if threshold == EVEN or probability in (0.0, 1.0):
        return probability
    return sigmoid(_log_odds(probability) - _log_odds(threshold))


def sigmoid(x: float) -> float:
    """Return 1 / (1 + exp(-x)) without overflow."""
    if x >= 0:
        return 1 / (1 + math.exp(-x))
    return math.exp(x) / (1 + math.exp(x))


def _log_odds(probability: float) -> float:
    return math.log(probability) - math.log1p(-probability)
