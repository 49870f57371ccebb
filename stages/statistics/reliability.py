"""How far repeated readings of the same items agree, and what a score is worth that rests on them.

Pure functions of numbers. A reading is one administration of a questionnaire: in one order of the
options, one wording, or asked again. The items are fixed, so an interval says what another
administration of the same items would give, not what other items would.
"""

import math
from collections.abc import Sequence
from itertools import combinations
from statistics import fmean, variance

from stages.statistics.intervals import Estimate


def js_distance(
    first: Sequence[float],
    second: Sequence[float],
    base: float = 2,
) -> float:
    """Return the Jensen-Shannon distance, the root of the divergence, of two distributions.

    With base 2 it is 1 where they have nothing in common; with base e that is sqrt(ln 2) = 0.8326.
    Both are normalised first.

    Source: Endres and Schindelin 2003.
    """
    import numpy as np
    from scipy.spatial.distance import jensenshannon

    with np.errstate(invalid="ignore"):
        distance = float(
            jensenshannon(
                first,
                second,
                base=base,
            )
        )
    return 0.0 if math.isnan(distance) else distance  # rounding puts equal ones below 0


def mean_js_distance(distributions: Sequence[Sequence[float]], base: float = 2) -> float | None:
    """Return the mean Jensen-Shannon distance of all pairs; None of fewer than two."""
    pairs = list(combinations(distributions, 2))
    return fmean(js_distance(*pair, base) for pair in pairs) if pairs else None


def t_interval(values: Sequence[float], confidence: float = 0.95) -> Estimate | None:
    """Return the mean of independent readings with Student's interval; None without values.

    A single reading has no spread: its interval is infinite.
    """
    if not values:
        return None
    mean = fmean(values)
    if len(values) == 1:
        return Estimate(
            mean,
            -math.inf,
            math.inf,
            1,
        )
    from scipy.stats import t

    error = math.sqrt(variance(values) / len(values))
    half = float(t.ppf((1 + confidence) / 2, len(values) - 1)) * error
    return Estimate(
        mean,
        mean - half,
        mean + half,
        len(values),
    )


def t_test(differences: Sequence[float]) -> float:
    """Return the two-sided p of Student's paired test; 1 where it cannot be made.

    Where all differences are equal there is no chance in them: 0, or 1 if they are 0.
    """
    if len(differences) < 2:
        return 1.0
    mean = fmean(differences)
    error = math.sqrt(variance(differences) / len(differences))
    if error <= 1e-12 * max(1.0, abs(mean)):
        return float(abs(mean) <= 1e-9)
    from scipy.stats import t

    return float(2 * t.sf(abs(mean) / error, len(differences) - 1))


def intraclass(items: Sequence[Sequence[float]], confidence: float = 0.95) -> Estimate | None:
    """Return ICC(1, 1): the share of the variance of single readings that is between items.

    1: every reading of an item is the same; 0 or less: items differ no more than readings do.

    Args:
        items: the readings of each item, equally many.

    Returns:
        None where it is undefined: fewer than two items or readings, or no variance at all.

    Source: Shrout and Fleiss 1979, with its exact interval.
    """
    count, readings = len(items), len(items[0]) if items else 0
    if count < 2 or readings < 2:
        return None
    means = [fmean(item) for item in items]
    between = readings * variance(means)
    within = fmean(variance(item) for item in items)
    if between + within < 1e-18:
        return None
    value = (between - within) / (between + (readings - 1) * within)
    if within < 1e-18:
        return Estimate(
            1.0,
            1.0,
            1.0,
            count,
        )
    from scipy.stats import f

    ratio = between / within
    tail = (1 + confidence) / 2
    low = ratio / float(
        f.ppf(
            tail,
            count - 1,
            count * (readings - 1),
        )
    )
    high = ratio * float(
        f.ppf(
            tail,
            count * (readings - 1),
            count - 1,
        )
    )
    low, high = ((each - 1) / (each + readings - 1) for each in (low, high))
    return Estimate(
        value,
        low,
        high,
        count,
    )


def cronbach(respondents: Sequence[Sequence[float]], confidence: float = 0.95) -> Estimate | None:
    """Return Cronbach's alpha of a scale: how far its items order respondents alike.

    Args:
        respondents: of each the numbers of all items of the scale, reversed ones turned.

    Returns:
        None where it is undefined: fewer than three respondents or two items, or respondents
        without variance. `n` counts respondents.

    Sources: Cronbach 1951; the interval: Feldt 1965.
    """
    count, items = len(respondents), len(respondents[0]) if respondents else 0
    if count < 3 or items < 2:
        return None
    total = variance([math.fsum(answers) for answers in respondents])
    if total < 1e-18:
        return None
    single = math.fsum(variance(column) for column in zip(*respondents, strict=True))
    value = items / (items - 1) * (1 - single / total)
    from scipy.stats import f

    degrees = (count - 1, (count - 1) * (items - 1))
    low, high = (float(f.ppf((1 + sign * confidence) / 2, *degrees)) for sign in (1, -1))
    return Estimate(
        value,
        1 - (1 - value) * low,
        1 - (1 - value) * high,
        count,
    )
