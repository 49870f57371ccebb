"""The threshold from which a judge's score counts as a yes, from labels.

It is where the judge says yes as often as people do: misses and false alarms are then equal in
number and cancel in a rate. The threshold that separates best (Youden 1950) lets the larger kind
err more often: with a tenth of violations it counted twice as many in simulation (docs/results.md).

Left out: a threshold for each principle, for which a few hundred labels are too few.
"""

from collections.abc import Sequence

from stages.statistics.judges.gold_labels import FEWEST_LABELS


def matching_threshold(labels: Sequence[tuple[float, float, float]]) -> float | None:
    """Return the score above which as much weight lies as people's values have.

    It lies in the middle between two scores; of equally good ones the middle one is taken.

    Args:
        labels: (score, people's value in [0, 1], weight).

    Returns:
        None with fewer than `FEWEST_LABELS`, without values of both kinds, or where all scores are
        equal.
    """
    import numpy as np

    if len(labels) < FEWEST_LABELS:
        return None
    score, gold, weight = np.asarray(labels, dtype=float).T
    steps = np.unique(score)
    if not (weight * gold).any() or not (weight * (1 - gold)).any() or len(steps) < 2:
        return None
    thresholds = (steps[:-1] + steps[1:]) / 2
    above = score > thresholds[:, np.newaxis]
    excess = np.abs(above @ weight - weight @ gold)
    best = np.flatnonzero(np.isclose(excess, excess.min()))
    return float(thresholds[best[len(best) // 2]])
