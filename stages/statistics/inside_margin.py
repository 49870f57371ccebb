"""The exact test that a paired difference of yes/no shares lies inside a margin.

In: how many prompts rose and fell. Out: a p-value.

A normal approximation fails where few prompts changed: of 45 prompts whose true difference is 5
points, none changes in a tenth of all samples, and no change looks like proof. Here the chance of
a result as far inside the margin is added up over all possible results: an exact unconditional
test, ordered by the score statistic of Tango (1998, Statistics in Medicine 17, 891), its size the
largest over the share of prompts that fall (as Suissa and Shuster 1991 for equality). scipy and
statsmodels have such tests for independent groups only.
"""

from functools import lru_cache
from typing import Any

import numpy as np

from stages.statistics.variance import Array

GRID = 60  # shares of falling prompts, denser near 0, where the chance changes fastest
SAME = 1e-9  # results with the same statistic, up to rounding


@lru_cache(maxsize=4096)
def inside_margin(rose: int, fell: int, n: int, margin: float) -> float:
    """The larger p of the two exact one-sided tests that the difference lies within +-margin.

    Args:
        rose, fell: how many of the `n` prompts changed from no to yes, and from yes to no.

    Returns:
        1 where the difference is estimated outside.
    """
    more = max(rose, fell)  # the test against the nearer end of the margin has the larger p
    less = min(rose, fell)
    if more - less >= n * margin:
        return 1.0
    observed = float(score(more, less, n, margin))
    falling = np.arange(n + 1)
    most = _most_rising(falling, n, margin, observed)
    return _largest_chance(falling[most >= 0], most[most >= 0], n, margin)


def score(rose: Any, fell: Any, n: int, margin: float) -> Array:
    """Tango's score statistic: how far the difference is from `margin`, in standard errors.

    Source: Tango 1998, equations 9 to 11. The share of falling prompts is the most likely one if
    the difference is `margin`.
    """
    rose = np.asarray(rose, dtype=float)
    fell = np.asarray(fell, dtype=float)
    half = rose + fell + margin * (rose - fell) - 2 * n * margin
    root = np.sqrt(half**2 + 8 * n * fell * margin * (1 - margin))
    falling = np.clip((half + root) / (4 * n), 0.0, (1 - margin) / 2)
    variance = n * (2 * falling + margin * (1 - margin))
    return np.asarray((rose - fell - n * margin) / np.sqrt(variance))


def _most_rising(falling: Any, n: int, margin: float, observed: float) -> Any:
    """For each number of falling prompts, the largest one of rising prompts that is as far inside.

    -1 where there is none. The statistic grows with the rising prompts, so this is a bisection.
    """
    low = np.full(n + 1, -1)
    high = n - falling
    while (low < high).any():
        middle = (low + high + 1) // 2
        inside = score(middle, falling, n, margin) <= observed + SAME
        low, high = np.where(inside, middle, low), np.where(inside, high, middle - 1)
    return low


def _largest_chance(falling: Any, most: Any, n: int, margin: float) -> float:
    """The chance of these results if the difference is `margin`, the largest over the grid."""
    # the binomial of `scipy.stats.binom` without its checks, ten times faster
    from scipy.special import bdtr, gammaln, xlog1py, xlogy

    shares = (1 - margin) / 2 * np.linspace(0.0, 1.0, GRID)[:, None] ** 2
    others = n - falling
    log_choices = gammaln(n + 1) - gammaln(falling + 1) - gammaln(others + 1)
    log_chances = log_choices + xlogy(falling, shares) + xlog1py(others, -shares)
    rising = np.minimum((shares + margin) / (1 - shares), 1.0)
    of_rising = bdtr(most.astype(float), others, rising)
    return float((np.exp(log_chances) * of_rising).sum(axis=1).max())
