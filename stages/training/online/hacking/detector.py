"""When does a watched gold score fall while the trained reward rises? A sequential test.

In: two curves, point by point. Out: the first point of an alarm, or none. The statistic of a point
is the drop of gold from its best earlier stretch to now, in standard errors, the largest over
stretches of 4, 8, 16, ... points before and of 2, 4, 8, ... points up to now; and there is an alarm
only where the reward is higher now than in that best stretch. The noise comes from the run: from
its successive differences up to now, so that a trend is not counted as noise, and from how far
these follow from each other, since noise that stays for some points does not average out.

The limit of the statistic is simulated: under constant gold with independent normal noise, a share
of `false_alarms` of whole trainings of this length exceeds it at any point. That is a share of
trainings, not of points. A gold score that rises raises fewer alarms, and so does the condition on
the reward.

Sources: the drop of a running mean from its best, Page 1954 (Continuous inspection schemes,
Biometrika 41); scanning over the lengths of both stretches, Siegmund and Venkatraman 1995 (Annals
of Statistics 23); noise by successive differences, von Neumann 1941.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

FIRST = 10
"""The number of points from which an alarm is possible."""
SHORTEST_BEFORE = 4
SHORTEST_NOW = 2
LONGEST = 256
"""Points of a stretch."""
SIMULATED = 3000
"""Curves from which a limit is read, as far as they have fewer points in all than `MOST_VALUES`."""
MOST_VALUES = 1_000_000
FEWEST_SIMULATED = 500
MOST_KEPT = 0.8
"""Of the noise of a point in the next one."""
ROUNDING = 1e-9
"""Noise below this part of a curve's largest value is that of sums, and no noise is known then."""

Curves = NDArray[np.float64]
"""One curve a row."""


@dataclass(frozen=True)
class Alarm:
    """A point at which gold has fallen from its best while the reward has risen."""

    point: int
    """Its number, from 0."""
    best: int
    """The last point of the best stretch before it."""
    gold_best: float
    """The mean of gold over the best stretch."""
    gold_now: float
    reward_best: float
    """The mean of the reward over the same stretch."""
    reward_now: float
    statistic: float


def find_alarm(
    gold: Sequence[float],
    reward: Sequence[float],
    limit: float,
) -> Alarm | None:
    """Return the first alarm of a training, or None.

    Args:
        gold, reward: one number a point.
        limit: see `simulate_limit`.
    """
    for count in range(FIRST, len(gold) + 1):
        alarm = check_last(gold[:count], reward[:count], limit)
        if alarm is not None:
            return alarm
    return None


def check_last(
    gold: Sequence[float],
    reward: Sequence[float],
    limit: float,
) -> Alarm | None:
    """Return the alarm at the last point of the curves, if there is one.

    Args:
        gold, reward, limit: as for `find_alarm`.
    """
    if len(gold) < FIRST:
        return None
    curve = np.asarray([gold], dtype=np.float64)
    rewards = np.asarray(reward, dtype=np.float64)
    noise = float(_noise(curve)[0, -1])
    alarms = []
    for before, now in _lengths(len(gold)):
        means = _running_means(curve[:, :-now], before)[0]
        best = int(np.argmax(means)) + before
        alarm = Alarm(
            point=len(gold) - 1,
            best=best - 1,
            gold_best=float(means.max()),
            gold_now=float(curve[0, -now:].mean()),
            reward_best=float(rewards[best - before : best].mean()),
            reward_now=float(rewards[-now:].mean()),
            statistic=0.0,
        )
        error = noise * math.sqrt(1 / before + 1 / now)
        drop = alarm.gold_best - alarm.gold_now
        # Without noise nothing has changed so far, and a drop is rounding.
        statistic = drop / error if error else 0.0
        if statistic > limit and alarm.reward_now > alarm.reward_best:
            alarms.append(replace(alarm, statistic=statistic))
    return max(alarms, key=lambda alarm: alarm.statistic, default=None)


@cache
def simulate_limit(
    points: int,
    false_alarms: float,
    seed: int = 0,
) -> float:
    """Return the limit that the statistic exceeds in a share `false_alarms` of trainings of
    `points` points whose gold is constant but for its noise; inf where there are too few points.
    """
    if points < FIRST:
        return math.inf
    count = max(FEWEST_SIMULATED, min(SIMULATED, MOST_VALUES // points))
    noise = np.random.default_rng(seed).standard_normal((count, points))
    return float(np.quantile(largest_statistic(noise), 1 - false_alarms))


def largest_statistic(curves: Curves) -> NDArray[np.float64]:
    """Return the largest statistic of each curve, whatever the reward does meanwhile."""
    noise = _noise(curves)
    largest = np.full(len(curves), -np.inf)
    for before, now in _lengths(curves.shape[1]):
        count = curves.shape[1] - before - now + 1
        best = np.maximum.accumulate(_running_means(curves, before), axis=1)[:, :count]
        latest = _running_means(curves, now)[:, before:]
        error = noise[:, before + now - 1 :] * math.sqrt(1 / before + 1 / now)
        late = ((best - latest) / error)[:, max(0, FIRST - before - now) :]
        if late.shape[1]:
            largest = np.maximum(largest, late.max(axis=1))
    return largest


def _lengths(points: int) -> list[tuple[int, int]]:
    """The lengths of the stretch before and of the one up to now that fit into a curve."""
    pairs = []
    before = SHORTEST_BEFORE
    while before <= LONGEST:
        now = SHORTEST_NOW
        while now <= LONGEST and before + now <= points:
            pairs.append((before, now))
            now *= 2
        before *= 2
    return pairs


def _running_means(
    curves: Curves,
    length: int,
) -> Curves:
    sums = np.cumsum(curves, axis=1)
    sums = np.concatenate([np.zeros((len(curves), 1)), sums], axis=1)
    return (sums[:, length:] - sums[:, :-length]) / length


def _noise(curves: Curves) -> Curves:
    """The noise of a mean of many points, at each point by what there is until then.

    Of noise that keeps a share r of itself from point to point, successive differences d have
    the correlation -(1 - r) / 2 with the next, so r follows from them. The variance of a sum of n
    points is about n (1 + r) / (1 - r) times that of one. r below 0 counts as 0. From the first
    point of a possible alarm on the least noise so far counts, so that a steep fall, whose
    differences are large, is not taken for noise; but for none at all, as of a gold score that is
    1 for a long time, after which the smallest change would be a fall.
    """
    differences = np.diff(curves, axis=1)
    counts = np.arange(1, differences.shape[1] + 1)
    variance = np.cumsum(differences**2, axis=1) / counts
    products = np.zeros_like(differences)
    products[:, 1:] = differences[:, 1:] * differences[:, :-1]
    following = np.cumsum(products, axis=1) / np.maximum(counts - 1, 1)
    ratio = np.divide(following, variance, out=np.zeros_like(variance), where=variance > 0)
    kept = np.clip(1 + 2 * ratio, 0.0, MOST_KEPT)
    noise = np.sqrt(variance / 2 * (1 + kept)) / (1 - kept)
    noise = np.concatenate([noise[:, :1], noise], axis=1)
    noise[noise <= ROUNDING * np.abs(curves).max(axis=1, keepdims=True)] = 0.0
    later = noise[:, FIRST - 1 :]
    least = np.minimum.accumulate(np.where(later > 0, later, np.inf), axis=1)
    least = np.where(np.isinf(least), 0.0, least)
    return np.concatenate([noise[:, : FIRST - 1], least], axis=1)
