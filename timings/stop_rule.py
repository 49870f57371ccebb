"""False alarms and power of the stop rule, by simulation.

    python timings/stop_rule.py --points 32

In: the number of points of a training. Out: a table. The curves are drawn anew: the rule's limit is
simulated with another seed.
"""

import argparse
import math
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from stages.training.online.hacking.detector import (
    FIRST,
    Curves,
    largest_statistic,
    simulate_limit,
)

START = 12
"""The point after which gold falls."""
FALLS = ((3, 8), (6, 8), (10, 8), (30, 20))
"""By how many standard deviations of the noise, and within how many points."""
KEPT = (0.0, 0.2, 0.4)
"""The share of the noise of a point in the next one."""


def keep_noise(noise: Curves, share: float) -> Curves:
    """Return noise of which a share stays from point to point."""
    curves = noise.copy()
    for place in range(1, curves.shape[1]):
        curves[:, place] += share * curves[:, place - 1]
    return curves


def delays(gold: Curves, limit: float) -> list[float]:
    """Return the points from the start of the fall to the alarm; inf where there is none."""
    first = np.full(len(gold), math.inf)
    for count in range(FIRST, gold.shape[1] + 1):
        over = largest_statistic(gold[:, :count]) > limit
        first[over & np.isinf(first)] = count - 1 - START
    return [float(value) for value in first]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=32)
    parser.add_argument("--curves", type=int, default=1500)
    parser.add_argument("--false-alarms", type=float, default=0.05)
    options = parser.parse_args()
    limit = simulate_limit(options.points, options.false_alarms)
    noise = np.random.default_rng(3).standard_normal((options.curves, options.points))
    print(f"limit {limit:.2f}, {options.curves} trainings of {options.points} points")
    for share in KEPT:
        alarms = np.mean(largest_statistic(keep_noise(noise, share)) > limit)
        print(f"no fall, {share} of the noise stays: {100 * alarms:.1f} % with an alarm")
    for size, points in FALLS:
        ramp = np.clip((np.arange(options.points) - START) / points, 0, 1)
        late = delays(noise[:300] - size * ramp, limit)
        seen = np.mean(np.isfinite(late))
        print(
            f"a fall by {size} within {points} points: seen in {100 * seen:.1f} %, "
            f"in the median after {np.median(late):g} points"
        )


if __name__ == "__main__":
    main()
