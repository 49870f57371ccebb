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

import numpy as np

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
    """Return means of a scale as numbers from -1 to 1, the middle of the scale as 0.

    Args:
        means: survey means by dimension.
        low: the end of the scale that becomes -1; it may be the larger number.
        high: the end that becomes 1.

    Source: on the scale 1 to 6 it is t = (mean - 3.5) / 2.5, with which the national targets of
        BaseAlign agree (Yao et al. 2024, arXiv 2311.10766, its code).
    """
    middle = (low + high) / 2
    half = (high - low) / 2
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
        counts = [items[name] if items else 1 for name in scores]
        mean = float(np.average(list(scores.values()), weights=counts))
    return {name: score - mean for name, score in scores.items()}


def group_scores(profile: Profile, groups: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Return the mean of each group's dimensions; also the scores of a coarser theory.

    Args:
        profile: its scores; centred ones stay centred.
        groups: by name, the dimensions of each group (`ValueTheory.groups`), or what each dimension
            of a coarser theory is made of (`ValueTheory.coarser`). A dimension in none of them,
            such as face among the ten values, has no part in the result.
    """
    return {group: fmean(profile[name] for name in names) for group, names in groups.items()}


def axis_scores(
    profile: Profile,
    groups: Mapping[str, Sequence[str]],
    axes: Mapping[str, tuple[str, str]],
) -> dict[str, float]:
    """Return the coordinates of a profile for a plot.

    Args:
        profile: its scores.
        groups: by name, the dimensions of each group.
        axes: by name, the group at the positive end and the one at the negative end.

    Returns:
        For each axis the score of its positive group less that of its negative group.
    """
    scores = group_scores(profile, groups)
    coordinates = {}
    for axis, (positive, negative) in axes.items():
        coordinates[axis] = scores[positive] - scores[negative]
    return coordinates


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
    """Return the mean square error of two profiles on a scale that is squeezed to 0 to 1.

    Args:
        profile: its scores.
        target: the scores that it is to have.
        low: the lowest number of the scale that both are on.
        high: the highest.

    Source: Value Injection Method, Kang et al. 2023 (arXiv 2310.17857), its "NMSE".
    """
    errors = [profile[name] - wanted for name, wanted in target.items()]
    return fmean(error**2 for error in errors) / (high - low) ** 2


def circle_fit(profile: Profile, angles: Mapping[str, float]) -> CircleFit:
    """Return the wave that is nearest to a profile: least squares on 1, cos and sin of the angles.

    Args:
        profile: its scores; only those of dimensions on the circle are read.
        angles: degrees of at least three different places. Where they are nominal, equal steps in
            the order of the circle, the phase and r_squared are nominal, too.

    Source: the circumplex of Schwartz 1992, on which neighbours go together and opposites conflict.
    """
    turns = np.radians(list(angles.values()))
    values = np.array([profile[name] for name in angles], dtype=float)
    design = np.column_stack([np.ones_like(turns), np.cos(turns), np.sin(turns)])
    solution = np.linalg.lstsq(design, values, rcond=None)[0]
    level, cosine, sine = solution.tolist()
    phase = math.degrees(math.atan2(sine, cosine))
    r_squared = math.nan
    if np.ptp(values) > 1e-12 * abs(values).max():
        r_squared = 1 - np.var(values - design @ solution) / np.var(values)
    return CircleFit(
        level=level,
        amplitude=math.hypot(cosine, sine),
        phase=phase % 360 % 360,  # -1e-17 % 360 is 360
        r_squared=float(r_squared),
    )


def direction_error(first: CircleFit, second: CircleFit) -> float:
    """Return the degrees, from 0 to 180, between the places where two waves are highest."""
    return abs((first.phase - second.phase + 180) % 360 - 180)


def round_stochastically(profile: Profile, rng: random.Random) -> dict[str, int]:
    """Return whole numbers whose expectation is the profile: 4.7 is 5 with probability 0.7.

    Args:
        profile: scores on a survey's scale.
        rng: where the chances come from; each dimension takes one draw, also a whole number.

    Source: Value Injection Method, Kang et al. 2023 (arXiv 2310.17857), question answering.
    """
    rounded = {}
    for name, value in profile.items():
        floor = math.floor(value)
        rounded[name] = floor + (rng.random() < value - floor)
    return rounded


def supports(target: Profile, values: Iterable[str], least: float = 3.0) -> bool:
    """Return whether a person of this target would give an argument that rests on these values.

    That is so where every one of the values has at least `least`.

    Args:
        target: the person's survey means, on the scale of 1 to 6.
        values: what the argument rests on, at least one.
        least: gamma of the method.

    Source: Value Injection Method, Kang et al. 2023 (arXiv 2310.17857), argument generation.
    """
    return min(target[name] for name in values) >= least


def _correlation(name: str, profile: Profile, target: Profile) -> float:
    from scipy import stats

    first = [profile[key] for key in target]
    second = list(target.values())
    if len(set(first)) == 1 or len(set(second)) == 1:
        return math.nan
    return float(getattr(stats, name)(first, second).statistic)
