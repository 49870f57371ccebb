"""The threshold from which a judge's score counts as a yes, from labels.

In: scores, people's values and weights, one each a label. Out: the threshold and how well it does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Threshold:
    """A score above `value` is a yes."""

    value: float
    sensitivity: float
    """The share of the violations above it."""
    specificity: float
    """The share of the rest that is not."""

    def plain(self) -> dict[str, Any]:
        return vars(self).copy()


def best_threshold(
    scores: Sequence[float], gold: Sequence[float], weights: Sequence[float] | None = None
) -> Threshold | None:
    """Return the threshold with the highest sensitivity + specificity.

    It lies in the middle between two scores; of equally good ones the middle one is taken. It is
    the best on these labels, and does a little worse on others.

    Args:
        gold: 1 for a violation, 0 for none, or a share between.
        weights: of each label; null: all alike.

    Returns:
        None without labels of both kinds, or where all scores are equal.

    Source: Youden 1950.
    """
    import numpy as np

    score = np.asarray(scores, dtype=float)
    violated = np.asarray(gold, dtype=float)
    weight = np.ones(len(score)) if weights is None else np.asarray(weights, dtype=float)
    positive = weight * violated
    negative = weight * (1 - violated)
    steps = np.unique(score)
    if not positive.sum() or not negative.sum() or len(steps) < 2:
        return None
    thresholds = (steps[:-1] + steps[1:]) / 2
    order = np.argsort(score, kind="stable")
    below = np.searchsorted(
        score[order],
        thresholds,
        side="right",
    )
    missed = np.concatenate([[0.0], np.cumsum(positive[order])])[below]
    cleared = np.concatenate([[0.0], np.cumsum(negative[order])])[below]
    sensitivity = 1 - missed / positive.sum()
    specificity = cleared / negative.sum()
    sums = sensitivity + specificity
    best = np.flatnonzero(np.isclose(sums, sums.max()))
    chosen = best[len(best) // 2]
    return Threshold(
        float(thresholds[chosen]),
        float(sensitivity[chosen]),
        float(specificity[chosen]),
    )
