"""How well scores from -1 to 1 agree with labels: confusion, F1 and calibration, with intervals.

In: labels and scores as tables, answers by principles; NaN where there is none. Out: plain numbers.
A score is taken for the label 1 from a threshold on, for -1 from its negative on, else for 0. The
dialogue is the unit of all intervals: its answers and their principles are drawn together.

F1 of a class that nothing is taken for is 0, and so is that of a class that nobody labels where
something is taken for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from stages.statistics.intervals import Intervals

CLASSES = (-1, 0, 1)
PARTS = ("precision", "recall", "f1", "support")
"""What is measured of a class."""


@dataclass(frozen=True)
class Cells:
    """Labels and scores of some answers under some principles."""

    dialogues: Sequence[str]
    """Of each answer."""
    labels: Any
    """Array (answers, principles)."""
    scores: Any
    """Array (answers, principles)."""

    @property
    def present(self) -> Any:
        """Array (answers, principles): whether there are a label and a score."""
        import numpy as np

        return ~np.isnan(self.labels + self.scores)

    @property
    def rated(self) -> int:
        """How many dialogues have an answer with a label and a score."""
        rows = self.present.any(axis=1).nonzero()[0]
        return len({self.dialogues[row] for row in rows})

    def where_rated(self, other: "Cells") -> "Cells":
        """These scores where another model has one too."""
        import numpy as np

        scores = np.where(other.present, self.scores, np.nan)
        return replace(self, scores=scores)


def to_classes(values: Any, threshold: float) -> Any:
    """Return the class of each label or score.

    Args:
        values: an array of any shape, from -1 to 1.
        threshold: from here on a value is not 0.
    """
    import numpy as np

    is_far = np.abs(values) >= threshold
    return (np.sign(values) * is_far).astype(int)


def measure_principle(cells: Cells, place: int, threshold: float, bins: int) -> dict[str, Any]:
    """Support, precision, recall and F1 of each class, and calibration, of one principle.

    Args:
        place: of the principle.
        bins: of the scores.

    Returns:
        `n`, `support` and, by class, `classes` with PARTS; `accuracy` and `calibration_error`.
        Without an answer to compare only `n`.
    """
    from sklearn.metrics import precision_recall_fscore_support

    present = cells.present[:, place]
    labels = cells.labels[present, place]
    scores = cells.scores[present, place]
    if not len(labels):
        return {"n": 0}
    truth = to_classes(labels, threshold)
    said = to_classes(scores, threshold)
    numbers = precision_recall_fscore_support(
        truth,
        said,
        labels=CLASSES,
        zero_division=0,
    )
    classes = {}
    for number, name in enumerate(CLASSES):
        values = [round(float(each[number]), 4) for each in numbers]
        classes[str(name)] = dict(zip(PARTS, values, strict=True))
    error, _ = calibration(labels, scores, bins)
    return {
        "n": len(labels),
        "support": {name: int(each["support"]) for name, each in classes.items()},
        "classes": classes,
        "accuracy": round(float((truth == said).mean()), 4),
        "calibration_error": error,
    }


def calibration(labels: Any, scores: Any, bins: int) -> tuple[float, list[dict[str, float]]]:
    """How far the mean score of a bin lies from the mean label there, weighted by the bin's size.

    Args:
        labels, scores: arrays of one length.
        bins: how many of equal width.

    Returns:
        The expected calibration error, on the labels' scale, and the bins that are not empty:
        `score`, `label` (means) and `n`.

    Source: Guo et al. 2017 (arXiv 1706.04599), section 3, with labels from -1 to 1.
    """
    import numpy as np

    places = np.floor((scores + 1) / 2 * bins)
    places = np.minimum(places, bins - 1)
    rows = []
    error = 0.0
    for place in np.unique(places):
        inside = places == place
        score = float(scores[inside].mean())
        label = float(labels[inside].mean())
        row = {
            "score": round(score, 4),
            "label": round(label, 4),
            "n": int(inside.sum()),
        }
        rows.append(row)
        error += float(inside.mean()) * abs(score - label)
    return round(error, 4), rows


def macro_draws(cells: Cells, places: Sequence[int], threshold: float, intervals: Intervals) -> Any:
    """Macro-F1 over some principles, of the answers and of each bootstrap draw of dialogues.

    Args:
        places: of the principles.

    Returns:
        Array (1 + draws, 2): the mean F1 of the class 1, and the mean over the principles of the
        mean F1 of the classes with support among the answers. The first row is of the answers.
    """
    import numpy as np

    counts = _confusions(cells, places, threshold)
    dialogues = len(counts)
    generator = np.random.default_rng(intervals.seed)
    weights = generator.multinomial(
        dialogues,
        np.full(dialogues, 1 / dialogues),
        size=intervals.resamples,
    )
    weights = np.vstack([np.ones(dialogues), weights])
    drawn = np.tensordot(weights, counts, axes=1)
    right = np.diagonal(drawn, axis1=2, axis2=3)
    sizes = drawn.sum(axis=3) + drawn.sum(axis=2)
    # Where a size is 0, nothing is right.
    f1 = 2 * right / np.maximum(sizes, 1)
    has_support = counts.sum(axis=(0, 3)) > 0
    classes = np.maximum(has_support.sum(axis=1), 1)
    by_principle = (f1 * has_support).sum(axis=2) / classes
    important = f1[:, :, CLASSES.index(1)]
    means = [important.mean(axis=1), by_principle.mean(axis=1)]
    return np.stack(means, axis=1)


def _confusions(cells: Cells, places: Sequence[int], threshold: float) -> Any:
    """Array (dialogues, principles, labels, classes of scores) of counts."""
    import numpy as np

    dialogues = sorted(set(cells.dialogues))
    numbers = {name: number for number, name in enumerate(dialogues)}
    counts = np.zeros((len(dialogues), len(places), 3, 3))
    for number, place in enumerate(places):
        rows = cells.present[:, place].nonzero()[0]
        truth = to_classes(cells.labels[rows, place], threshold) + 1
        said = to_classes(cells.scores[rows, place], threshold) + 1
        for row, label, score in zip(rows, truth, said, strict=True):
            dialogue = numbers[cells.dialogues[row]]
            counts[dialogue, number, label, score] += 1
    return counts


def estimate(draws: Any, n: int, intervals: Intervals) -> dict[str, Any]:
    """A value with the percentile interval of its draws.

    Args:
        draws: the value, then those of the bootstrap.
        n: dialogues.
    """
    low, high = intervals.percentiles(draws[1:])
    return {
        "value": float(draws[0]),
        "low": low,
        "high": high,
        "n": n,
    }
