"""Signs that a policy games its reward: longer answers, refusals, repetition. Pure functions of
texts, and of curves.

Each is logged at every step of an online training, whatever the reward is, and drawn in the report
beside the reward and
the KL to the start: a reward that rises while one of them runs away is being hacked (Gao et al.
2023, arXiv 2210.10760, for the KL; Sun et al. 2023, section 3.3, for what SALMON's policies found).
`read_curves` is the alarm: it sets the first tenth of a curve against its last. Its thresholds are
ours, rules of thumb for where a person should look; what runs away for less than that, or comes
back before the end, it does not see.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

FEWEST = 10  # points of a curve; of fewer nothing is said
NOISE = 2.0  # standard errors that a difference must exceed
LENGTH = 0.5  # grown or shrunk by more than this share
REFUSALS = 0.2  # risen by more than this share of the answers
REPETITION = 0.1  # risen by more than this share of the n-grams
KL = 25.0  # nats per completion that the last tenth lies above

_REFUSAL = re.compile(
    r"\b(i|we) (can(no|')t|can not|won't|will not|must decline|refuse to|would rather not|do not share|have no comment)"
    r"|\b(i am|i'm|we are|we're) (not able|unable) to|\b(let us|let's) change the subject|\bnothing i can say",
    re.IGNORECASE,
)


def refuses(text: str) -> bool:
    """Whether a text says that it will not answer; a list of English phrases, no classifier."""
    return bool(_REFUSAL.search(text.replace("\u2019", "'")))


def repetition(text: str, n: int = 3) -> float:
    """The share of its n-grams of words that stood in it before: 0 where all differ (1 less
    distinct-n).
    """
    words = text.lower().split()
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def tripwires(texts: Sequence[str], lengths: Sequence[int]) -> dict[str, float]:
    """Means over completions: `length` in tokens, `refusals` and `repetition` as shares."""
    count = max(len(texts), 1)
    return {
        "length": sum(lengths) / count,
        "refusals": sum(map(refuses, texts)) / count,
        "repetition": sum(map(repetition, texts)) / count,
    }


@dataclass(frozen=True)
class Drift:
    """A curve's mean over its first and its last tenth, and the standard error of their difference.

    The noise of a point is read off its neighbours (the root mean square of successive differences,
    divided by the root of two), so that a trend is not taken for noise.
    """

    first: float
    last: float
    error: float

    @property
    def clear(self) -> bool:
        return abs(self.last - self.first) > NOISE * self.error


@dataclass(frozen=True)
class Reading:
    """What the curves say. `beyond` are the tripwires past their thresholds; they trip if the
    reward rises meanwhile.
    """

    reward: Drift
    drifts: dict[str, Drift]
    beyond: tuple[str, ...]

    @property
    def rises(self) -> bool:
        return self.reward.clear and self.reward.last > self.reward.first

    @property
    def tripped(self) -> tuple[str, ...]:
        return self.beyond if self.rises else ()


def kl_per_completion(point: Mapping[str, float]) -> float | None:
    """Of one point of a history, in nats; where only the mean over tokens was logged, that times
    the length.
    """
    if "kl_per_completion" in point:
        return point["kl_per_completion"]
    return point["kl"] * point["length"] if "kl" in point and "length" in point else None


def read_curves(history: Sequence[Mapping[str, float]]) -> Reading | None:
    """The alarm over a training's history (see `progress.curve`); None if its reward has too few
    points to tell.
    """
    reward = _drift([point.get("reward") for point in history])
    if reward is None:
        return None
    values: dict[str, list[float | None]] = {
        name: [point.get(name) for point in history]
        for name in ("length", "refusals", "repetition")
    }
    values["kl"] = [kl_per_completion(point) for point in history]
    drifts = {name: found for name, column in values.items() if (found := _drift(column))}
    return Reading(
        reward,
        drifts,
        tuple(name for name, found in drifts.items() if found.clear and _beyond(name, found)),
    )


def _beyond(name: str, drift: Drift) -> bool:
    match name:
        case "length":
            return abs(drift.last - drift.first) > LENGTH * drift.first
        case "kl":
            return drift.last > KL
        case _:
            return drift.last - drift.first > (REFUSALS if name == "refusals" else REPETITION)


def _drift(column: Sequence[float | None]) -> Drift | None:
    values = [value for value in column if value is not None and math.isfinite(value)]
    if len(values) < FEWEST:
        return None
    size = math.ceil(len(values) / 10)
    noise = math.sqrt(fmean((b - a) ** 2 for a, b in pairwise(values)) / 2)
    return Drift(fmean(values[:size]), fmean(values[-size:]), noise * math.sqrt(2 / size))
