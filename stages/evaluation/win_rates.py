"""From duels to win rates. Arithmetic only.

In: the judge's margins for two policies' responses to one prompt, in both orders. Out:

    {policy: {against: {value, low, high, n, wins, losses, ties, flipped, first_place, controlled,
    longer}}}

`value` to `n` are an estimate over prompts; wins, losses and ties count duels. `flipped` is the
fraction of the judged duels whose choice changes with the order, `first_place` the fraction of
choices that are the response shown first; both are None where no duel needed a question.
`controlled` is the win rate at equal length, an estimate, and `longer` the mean number of
characters by which the policy's answers are longer.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stages.statistics.intervals import Intervals, by_prompt, win_rate
from stages.statistics.length_control import length_controlled


@dataclass(frozen=True)
class Duel:
    """Two policies' responses to one prompt, from the side of the first policy."""

    policy: str
    rival: str
    prompt: str
    first: float
    """The margin in logits with our response shown first."""
    second: float
    """The margin in logits with our response shown second."""
    longer: int
    """By how many characters our response is longer."""

    @property
    def score(self) -> float:
        """The result; see the function `score`."""
        return score(self.first, self.second)


def score(margin_first: float, margin_second: float) -> float:
    """1 for a win, 0 for a loss, 0.5 where the two orders disagree or a margin is 0."""
    if margin_first > 0 and margin_second > 0:
        return 1.0
    if margin_first < 0 and margin_second < 0:
        return 0.0
    return 0.5


def win_rates(duels: Sequence[Duel], intervals: Intervals) -> dict[str, Any]:
    """The win rate of each policy against each rival that it met."""
    groups: dict[tuple[str, str], list[Duel]] = {}
    for duel in duels:
        groups.setdefault((duel.policy, duel.rival), []).append(duel)
    rates: dict[str, Any] = {}
    for (policy, rival), group in groups.items():
        rates.setdefault(policy, {})[rival] = _win_rate(group, intervals)
    return rates


def _win_rate(duels: Sequence[Duel], intervals: Intervals) -> dict[str, Any]:
    scores = list(by_prompt((duel.prompt, duel.score) for duel in duels).values())
    confidence = intervals.confidence
    estimate = win_rate(scores, intervals.resamples, confidence, intervals.seed)
    assert estimate is not None, "a group has at least one duel"
    results = Counter(duel.score for duel in duels)
    lengths = [(duel.prompt, duel.score, duel.longer) for duel in duels]
    controlled = length_controlled(lengths, confidence)
    return {
        "value": estimate.value,
        "low": max(estimate.low, 0.0),
        "high": min(estimate.high, 1.0),
        "n": estimate.n,
        "wins": results[1.0],
        "losses": results[0.0],
        "ties": results[0.5],
        **_order_effects(duels),
        "controlled": controlled.plain() if controlled else None,
        "longer": sum(duel.longer for duel in duels) / len(duels),
    }


def _order_effects(duels: Sequence[Duel]) -> dict[str, float | None]:
    """How much the order matters, in the duels that the judge was asked about."""
    judged = [duel for duel in duels if duel.first or duel.second]
    if not judged:
        return {"flipped": None, "first_place": None}
    flipped = sum(duel.first * duel.second < 0 for duel in judged)
    picked_first = sum((duel.first > 0) + (duel.second < 0) for duel in judged)
    return {
        "flipped": flipped / len(judged),
        "first_place": picked_first / (2 * len(judged)),
    }
