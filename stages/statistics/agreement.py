"""How far raters agree beyond chance: Cohen's kappa of two, Krippendorff's alpha of several."""

import math
import warnings
from collections.abc import Hashable, Sequence
from typing import Any

from stages.statistics.intervals import Estimate


def kappa(pairs: Sequence[tuple[Hashable, Hashable]]) -> float | None:
    """Cohen's kappa of two raters, from each item's two labels.

    Returns:
        None where it is undefined: no pairs, or a single label in all of them.

    Source: Cohen 1960.
    """
    labels = sorted({label for pair in pairs for label in pair}, key=repr)
    if len(labels) < 2:
        return None
    from statsmodels.stats.inter_rater import cohens_kappa

    place = {label: i for i, label in enumerate(labels)}
    table = [[0] * len(labels) for _ in labels]
    for first, second in pairs:
        table[place[first]][place[second]] += 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = float(cohens_kappa(table, return_results=False))
    return None if math.isnan(value) else value


def krippendorff(
    judges: Sequence[Sequence[Hashable | None]],
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate | None:
    """Krippendorff's alpha of nominal judgements, by evalica; the interval resamples items.

    Args:
        judges: each judge's judgements, items in the same order; None where a judge has none.

    Returns:
        None where alpha is undefined: no item with two judgements, or only one label
        was used. `n` counts the items with two or more judgements. The bounds of the interval are
        percentiles; near 1 and with few items it is too narrow, like any bootstrap near a bound.
    """
    items = []
    for item in zip(*judges, strict=True):
        if sum(label is not None for label in item) > 1:
            items.append(item)
    labels = sorted({label for item in items for label in item if label is not None}, key=repr)
    if len(labels) < 2:
        return None
    import evalica
    import numpy as np
    import pandas as pd

    place: dict[Any, float] = {label: float(i) for i, label in enumerate(labels)}
    place[None] = math.nan
    table = np.array([[place[label] for label in item] for item in items]).T

    def alpha(columns: Any) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a resample with a single label has no alpha
            return float(evalica.alpha(pd.DataFrame(table[:, columns])).alpha)

    rng = np.random.default_rng(seed)
    resampled = [alpha(rng.integers(0, len(items), len(items))) for _ in range(resamples)]
    tail = 50 * (1 - confidence)
    low, high = np.nanpercentile(resampled, [tail, 100 - tail])
    return Estimate(alpha(np.arange(len(items))), float(low), float(high), len(items))
