"""Arithmetic on value profiles: centring, groups, coarser theories, circle fit, comparisons.

A profile maps each dimension to a number. Plain functions; a comparison of two profiles is over the
dimensions of the second one, all of which the first must have.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

Profile = Mapping[str, float]


@dataclass(frozen=True)
class CircleFit:
    """A wave on the circle of a theory, fitted to a profile: level + amplitude cos(a - phase)."""

    level: float
    amplitude: float
    phase: float
    """Degrees from 0 to 360: where on the circle the profile is highest."""
    r_squared: float
    """The share of the profile's variance that the wave has; nan of a flat profile."""


def to_unit(means: Profile, low: float = 1.0, high: float = 6.0) -> dict[str, float]:
    """Return means of a scale as numbers from -1 (`low`) to 1 (`high`), the middle as 0."""
    middle, half = (low + high) / 2, (high - low) / 2
    return {name: (mean - middle) / half for name, mean in means.items()}


def centred(
    scores: Profile, items: Mapping[str, int] | None = None, mean: float | None = None
) -> dict[str, float]:
    """Return scores less the mean rating of all items (MRAT): people use a scale unequally.

    Identities: with `items` the sum of items times centred scores is 0, and so is the plain sum
    where all dimensions have equally many items (PVQ-RR, but not PVQ-21 or PVQ-40). With another
    `mean` (SVS, where some rated items belong to no value) neither holds.

    Args:
        items: how many items each score is the mean of; None: equally many.
        mean: the mean of all rated items, where they are more than those of the scores.

    Source: Schwartz, Coding and analysing PVQ-RR data (2021), steps A to C.
    """
    if mean is None:
        counts = {name: items[name] if items else 1 for name in scores}
        total = sum(counts.values())
        mean = math.fsum(counts[name] * score for name, score in scores.items()) / total
    return {name: score - mean for name, score in scores.items()}


def group_scores(profile: Profile, groups: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Return the mean of each group's dimensions; also the scores of a coarser theory."""
    return {group: fmean(profile[name] for name in names) for group, names in groups.items()}


def axis_scores(
    profile: Profile,
    groups: Mapping[str, Sequence[str]],
    axes: Mapping[str, tuple[str, str]],
) -> dict[str, float]:
    """Return for each axis the score of its positive group less that of its negative group."""
    scores = group_scores(profile, groups)
    return {
        axis: scores[positive] - scores[negative] for axis, (positive, negative) in axes.items()
    }


def pearson(profile: Profile, target: Profile) -> float:
    """Return Pearson's correlation over dimensions; nan where one of the profiles is flat."""
    return _correlation("pearsonr", profile, target)


def spearman(profile: Profile, target: Profile) -> float:
    """Return Spearman's rank correlation over dimensions; nan where one profile is flat."""
    return _correlation("spearmanr", profile, target)


def mean_absolute_error(profile: Profile, target: Profile) -> float:
    """Return the mean distance of a profile from a target over dimensions."""
    return fmean(abs(profile[name] - wanted) for name, wanted in target.items())


def normalised_square_error(
    profile: Profile, target: Profile, low: float = 1.0, high: float = 6.0
) -> float:
    """Return the mean square error of two profiles on a scale that is stretched to 0 to 1.

    Source: Value Injection Method, Kang et al. 2023 (arXiv 2310.17857), its "NMSE".
    """
    return fmean(((profile[name] - wanted) / (high - low)) ** 2 for name, wanted in target.items())


def circle_fit(profile: Profile, angles: Mapping[str, float]) -> CircleFit:
    """Return the wave that is nearest to a profile: least squares on 1, cos and sin of the angles.

    Args:
        angles: degrees of at least three different places.
    """
    import numpy

    turns = numpy.radians(list(angles.values()))
    values = numpy.array([profile[name] for name in angles], dtype=float)
    design = numpy.column_stack([numpy.ones_like(turns), numpy.cos(turns), numpy.sin(turns)])
    level, cosine, sine = numpy.linalg.lstsq(design, values, rcond=None)[0]
    rest = values - design @ (level, cosine, sine)
    spread = float(((values - values.mean()) ** 2).sum())
    is_flat = spread <= 1e-24 * max(1.0, float((values**2).sum()))
    return CircleFit(
        level=float(level),
        amplitude=math.hypot(cosine, sine),
        phase=math.degrees(math.atan2(sine, cosine)) % 360 % 360,  # -1e-17 % 360 is 360
        r_squared=math.nan if is_flat else 1 - float((rest**2).sum()) / spread,
    )


def direction_error(first: CircleFit, second: CircleFit) -> float:
    """Return the degrees, from 0 to 180, between the places where two waves are highest."""
    return abs((first.phase - second.phase + 180) % 360 - 180)


def round_stochastically(profile: Profile, rng: random.Random) -> dict[str, int]:
    """Return whole numbers whose expectation is the profile: 4.7 is 5 with probability 0.7.

    Source: Value Injection Method, Kang et al. 2023 (arXiv 2310.17857), question answering.
    """
    rounded = {}
    for name, value in profile.items():
        floor = math.floor(value)
        rounded[name] = floor + (rng.random() < value - floor)
    return rounded


def supports(target: Profile, values: Iterable[str], least: float = 3.0) -> bool:
    """Return whether a person of this target would give an argument that rests on these values.

    That is so where every one of them has at least `least`, gamma of the Value Injection Method
    (Kang et al. 2023, arXiv 2310.17857, argument generation), on the survey's scale of 1 to 6.
    """
    return min(target[name] for name in values) >= least


def _correlation(name: str, profile: Profile, target: Profile) -> float:
    from scipy import stats

    first, second = [profile[key] for key in target], list(target.values())
    if len(set(first)) == 1 or len(set(second)) == 1:
        return math.nan
    return float(getattr(stats, name)(first, second).statistic)
