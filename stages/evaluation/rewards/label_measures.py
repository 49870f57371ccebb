"""How well scores from -1 to 1 agree with labels: confusion, F1 and calibration, with intervals.

In: labels and scores as tables, answers by principles; NaN where there is none. Out: plain numbers.
A score is taken for the label 1 from a threshold on, for -1 from its negative on, else for 0. The
dialogue is the unit of all intervals: its answers and their principles are drawn together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from stages.statistics.intervals import Intervals

CLASSES = (-1, 0, 1)
Estimate = dict[str, Any]


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
    def rated(self) -> int:
        """How many dialogues have an answer with a label and a score."""
        import numpy as np

        present = (~np.isnan(self.labels + self.scores)).any(axis=1)
        return len({name for name, one in zip(self.dialogues, present, strict=True) if one})

    def where_rated(self, other: "Cells") -> "Cells":
        """These scores where another model has one too."""
        import numpy as np

        return replace(self, scores=np.where(np.isnan(other.scores), np.nan, self.scores))

    def classes(self, threshold: float) -> tuple[Any, Any]:
        """The classes of labels and of scores, and NaN where either is missing."""
        import numpy as np

        absent = np.isnan(self.labels) | np.isnan(self.scores)
        pairs = []
        for values in (self.labels, self.scores):
            classes = np.sign(values) * (np.abs(values) >= threshold)
            pairs.append(np.where(absent, np.nan, classes))
        return pairs[0], pairs[1]


def measure_principle(cells: Cells, place: int, threshold: float, bins: int) -> dict[str, Any]:
    """Support, precision, recall and F1 of each class, and calibration, of one principle.

    Returns:
        `support` and, by class, `precision`, `recall` and `f1` (a class that nobody labels and
        nothing is taken for has none); `f1_classes`, the mean over the classes with support;
        `accuracy` and `calibration_error`; None where there is nothing to compare.
    """
    import numpy as np
    from sklearn.metrics import precision_recall_fscore_support

    labels, said = (each[:, place] for each in cells.classes(threshold))
    present = ~np.isnan(labels)
    if not present.any():
        return {"n": 0}
    labels, said = labels[present], said[present]
    numbers = precision_recall_fscore_support(labels, said, labels=CLASSES, zero_division=0)
    classes = {}
    for name, precision, recall, f1, support in zip(CLASSES, *numbers, strict=True):
        if support or (said == name).any():
            parts = {"precision": precision, "recall": recall, "f1": f1}
            rounded = {part: round(float(value), 4) for part, value in parts.items()}
            classes[str(name)] = {"support": int(support), **rounded}
    supported = [each["f1"] for each in classes.values() if each["support"]]
    return {
        "n": int(present.sum()),
        "support": {name: each["support"] for name, each in classes.items()},
        "classes": classes,
        "f1_classes": round(float(np.mean(supported)), 4),
        "accuracy": round(float((labels == said).mean()), 4),
        "calibration_error": calibration(
            cells.labels[present, place], cells.scores[present, place], bins
        )[0],
    }


def calibration(labels: Any, scores: Any, bins: int) -> tuple[float, list[dict[str, float]]]:
    """How far the mean score of a bin lies from the mean label there, weighted by the bin's size.

    Returns:
        The expected calibration error, on the labels' scale, and the bins that are not empty:
        `score`, `label` (means) and `n`.

    Source: Guo et al. 2017 (arXiv 1706.04599), section 3, with labels from -1 to 1.
    """
    import numpy as np

    edges = np.linspace(-1, 1, bins + 1)
    places = np.clip(np.digitize(scores, edges) - 1, 0, bins - 1)
    rows = []
    error = 0.0
    for place in sorted(set(places.tolist())):
        inside = places == place
        score, label = float(scores[inside].mean()), float(labels[inside].mean())
        rows.append({"score": round(score, 4), "label": round(label, 4), "n": int(inside.sum())})
        error += float(inside.mean()) * abs(score - label)
    return round(error, 4), rows


def macro_draws(cells: Cells, places: Sequence[int], threshold: float, intervals: Intervals) -> Any:
    """Macro-F1 over some principles, of the answers and of each bootstrap draw of dialogues.

    Returns:
        Array (1 + draws, 2): the mean F1 of the class 1, and the mean over the principles of the
        mean F1 of the classes with support among the answers. The first row is of the answers.
    """
    import numpy as np

    dialogues = sorted(set(cells.dialogues))
    positions = {name: number for number, name in enumerate(dialogues)}
    labels, said = cells.classes(threshold)
    counts = np.zeros((len(dialogues), len(places), 3, 3))
    for row, dialogue in enumerate(cells.dialogues):
        for number, place in enumerate(places):
            if not np.isnan(labels[row, place]):
                pair = (int(labels[row, place]) + 1, int(said[row, place]) + 1)
                counts[positions[dialogue], number][pair] += 1
    generator = np.random.default_rng(intervals.seed)
    n = len(dialogues)
    weights = generator.multinomial(n, np.full(n, 1 / n), size=intervals.resamples)
    weights = np.concatenate([np.ones((1, n)), weights])
    confusion = np.tensordot(weights, counts, axes=1)
    right = np.diagonal(confusion, axis1=2, axis2=3)
    sizes = confusion.sum(axis=3) + confusion.sum(axis=2)
    f1 = np.divide(2 * right, sizes, out=np.zeros_like(right), where=sizes > 0)
    supported = counts.sum(axis=(0, 3)) > 0
    by_principle = (f1 * supported).sum(axis=2) / np.maximum(supported.sum(axis=1), 1)
    return np.stack([f1[:, :, 2].mean(axis=1), by_principle.mean(axis=1)], axis=1)


def estimate(draws: Any, n: int, intervals: Intervals) -> Estimate:
    """A value, the first of the draws, with the percentile interval of the others."""
    low, high = intervals.percentiles(draws[1:])
    return {"value": float(draws[0]), "low": low, "high": high, "n": n}
