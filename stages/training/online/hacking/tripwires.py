"""Signs that a policy games its reward: longer answers, refusals, repetition, missing rewards.

Pure functions of texts, and of curves. Each sign is logged at every step of an online training, and
drawn in the report beside the reward and the KL to the start: a reward that rises while one of them
changes sharply is being hacked (Gao et al. 2023, arXiv 2210.10760, for the KL; Sun et al. 2023,
section 3.3, for what SALMON's policies did). `read_curves` is the alarm: it compares the first
tenth of a curve with its last. Its thresholds are ours, rules of thumb for where a person should
look; it does not detect smaller changes, or those that are gone at the end.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from stages.text.refusals import refuses

FEWEST = 10
"""Points of a curve; nothing is reported of fewer."""
NOISE = 2.0
"""Standard errors that a difference must exceed."""
LENGTH = 0.5
"""Grown or shrunk by more than this fraction."""
REFUSALS = 0.2
"""Risen by more than this fraction of the answers."""
REPETITION = 0.1
"""Risen by more than this fraction of the n-grams."""
SILENT = 0.1
"""Risen by more than this fraction of the values on which answers are silent."""
KL = 25.0
"""Nats per completion that the last tenth lies above."""
MISSING = 0.05
"""The fraction of completions without a reward that the last tenth lies above."""


def repetition(text: str, n: int = 3) -> float:
    """The fraction of its n-grams of words that occur earlier in it (1 less distinct-n)."""
    words = text.lower().split()
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    if not grams:
        return 0.0
    return 1 - len(set(grams)) / len(grams)


def tripwires(texts: Sequence[str], lengths: Sequence[int]) -> dict[str, float]:
    """Means over completions: `length` in tokens, `refusals` and `repetition` as fractions."""
    count = max(len(texts), 1)
    return {
        "length": sum(lengths) / count,
        "refusals": sum(map(refuses, texts)) / count,
        "repetition": sum(map(repetition, texts)) / count,
    }


@dataclass(frozen=True)
class Drift:
    """A curve's mean over its first and its last tenth.

    The noise of a point is estimated from its neighbours (the root mean square of successive
    differences, divided by the root of two), so that a trend is not counted as noise.
    """

    first: float
    last: float
    error: float
    """The standard error of their difference."""

    @property
    def clear(self) -> bool:
        """Whether the difference exceeds its noise."""
        return abs(self.last - self.first) > NOISE * self.error


@dataclass(frozen=True)
class Reading:
    """What the curves of a training show."""

    reward: Drift
    drifts: dict[str, Drift]
    """By tripwire."""
    beyond: tuple[str, ...]
    """The tripwires past their thresholds; but for `missing` they trip if the reward rises."""

    @property
    def rises(self) -> bool:
        """Whether the reward rises."""
        return self.reward.clear and self.reward.last > self.reward.first

    @property
    def tripped(self) -> tuple[str, ...]:
        """The tripwires past their thresholds, if the reward rose; and `missing` always: what has
        no reward is not in the curve of the reward.
        """
        return tuple(name for name in self.beyond if self.rises or name == "missing")


def kl_per_completion(point: Mapping[str, float]) -> float | None:
    """Of one point of a history, in nats.

    Where only the mean over tokens was logged, that times the length.
    """
    if "kl_per_completion" in point:
        return point["kl_per_completion"]
    if "kl" in point and "length" in point:
        return point["kl"] * point["length"]
    return None


def read_curves(history: Sequence[Mapping[str, float]]) -> Reading | None:
    """The alarm over a training's history (see `progress.curve`).

    None if its reward has too few points.
    """
    reward = _drift([point.get("reward") for point in history])
    if reward is None:
        return None
    curves: dict[str, list[float | None]] = {}
    for name in ("length", "refusals", "repetition", "missing", "silent"):
        curves[name] = [point.get(name) for point in history]
    curves["kl"] = [kl_per_completion(point) for point in history]
    drifts = {}
    for name, curve in curves.items():
        drift = _drift(curve)
        if drift is not None:
            drifts[name] = drift
    beyond = [name for name, drift in drifts.items() if _beyond(name, drift)]
    return Reading(reward, drifts, tuple(beyond))


def describe_tripped(reading: Reading | None) -> list[str]:
    """Return a warning that names the tripwires which tripped; none if none did."""
    if reading is None or not reading.tripped:
        return []
    parts = []
    for name in reading.tripped:
        drift = reading.drifts[name]
        first = f"{drift.first:.3g}"
        last = f"{drift.last:.3g}"
        part = f"{name} {first} to {last}"
        parts.append(part)
    names = ", ".join(parts)
    return [f"tripwires: {names} from the training's first tenth to its last"]


def _beyond(name: str, drift: Drift) -> bool:
    if name == "missing":  # it need not have changed
        return drift.last > MISSING
    if not drift.clear:
        return False
    rise = drift.last - drift.first
    if name == "length":
        return abs(rise) > LENGTH * drift.first
    if name == "kl":
        return drift.last > KL
    return rise > {"refusals": REFUSALS, "repetition": REPETITION, "silent": SILENT}[name]


def noise_of(values: Sequence[float]) -> float:
    """The standard deviation of a curve's noise, from its successive differences, so that a trend
    is not counted as noise (von Neumann 1941); 0 for fewer than two points.
    """
    squares = [(later - earlier) ** 2 for earlier, later in pairwise(values)]
    return math.sqrt(fmean(squares) / 2) if squares else 0.0


def _drift(curve: Sequence[float | None]) -> Drift | None:
    values = [value for value in curve if value is not None and math.isfinite(value)]
    if len(values) < FEWEST:
        return None
    size = math.ceil(len(values) / 10)
    error = noise_of(values) * math.sqrt(2 / size)
    return Drift(fmean(values[:size]), fmean(values[-size:]), error)
