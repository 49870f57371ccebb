"""Links between the terms of a reward: ensembles of terms, and `only_if` of any term.

    a: {term: reward_model, model: a, weight: 0.0}
    b: {term: reward_model, model: b, weight: 0.0}
    both: {term: ensemble, of: {a: 1.0, b: 1.0}, combine: min}
    safe: {term: judge, model: judge, constitution: safety, weight: 0.0}
    quality: {term: judge, model: judge, constitution: quality,
        only_if: {term: safe, above: 0.0, floor: -1.0}}

In: the terms of a step, by name. Out: their scores. A term that others read scores a batch once,
whoever asks first.

Sources: the mean, the minimum and the mean less the spread of several reward models, Coste et al.
2023 (arXiv 2310.02743); what they cannot stop, since reward models share their mistakes, Eisenstein
et al. 2023 (arXiv 2312.09244). Rewards that count only once another one is met: the gates of a
rubric (`preferences/judging/rubric.py`) over whole terms.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, pstdev
from typing import Any, Literal, Protocol

from stages.guards.errors import Faults, UserError, refuse_unknown

Batch = list[Any]
"""Completions."""
Scores = Callable[[Batch], list[Any]]
"""Gives one number for each completion, or None where it cannot score it."""


@dataclass(frozen=True)
class OnlyIf:
    """Where a term counts: for completions that another term scores above a limit."""

    term: str
    """The other term's name; its weight may be 0."""
    above: float = 0.0
    floor: float = 0.0
    """The score of the completions that it does not count for."""


class Linked(Protocol):
    """A term, as far as others are linked to it."""

    @property
    def weight(self) -> float:
        """By which its score is added to the reward."""

    @property
    def only_if(self) -> OnlyIf | None:
        """Where it counts."""

    def others(self) -> list[str]:
        """Return the terms that it reads."""

    def members(self) -> list[str]:
        """Return the terms that are added to the reward through it."""


Way = Literal["mean", "sum", "min", "mean_less_spread"]


def combine(values: Sequence[float | None], way: Way, spread: float) -> float | None:
    """Return one score of several; None where one is missing.

    Args:
        spread: standard deviations that `mean_less_spread` takes off.
    """
    present = [value for value in values if value is not None]
    if len(present) < len(values):
        return None
    if way == "sum":
        return math.fsum(present)
    if way == "min":
        return min(present)
    if way == "mean":
        return fmean(present)
    return fmean(present) - spread * pstdev(present)


def check_others(terms: Mapping[str, Linked], where: str) -> None:
    """Refuse terms that read others which do not exist, count twice, or read them in turn.

    Raises:
        UserError: all faults at once.
    """
    faults = Faults()
    for name, term in terms.items():
        place = f"{where}.{name}"
        with faults.gather():
            refuse_unknown(term.others(), terms, "it reads a term", place)
        for other in term.members():
            if other in terms and terms[other].weight:
                faults.add(
                    UserError(
                        f"{other!r} would count twice: in the ensemble, and by its own weight",
                        where=place,
                        fix=f"set {other}.weight: 0.0",
                    )
                )
    faults.raise_any()
    for name in terms:
        circle = _find_circle(name, terms)
        if circle:
            raise UserError(
                f"the terms read each other in a circle: {' -> '.join(circle)}",
                where=f"{where}.{name}",
                fix="take one of these links out",
            )


@dataclass
class SharedScores:
    """The scores of a step's terms for one batch at a time."""

    terms: Mapping[str, Linked]
    functions: dict[str, Scores] = field(default_factory=dict)
    signs: dict[str, dict[str, float]] = field(default_factory=dict)
    """What each term adds to what is logged of its last batch."""
    batch: Batch = field(default_factory=list)
    scores: dict[str, list[Any]] = field(default_factory=dict)
    """Of the batch, by each term that others read, as far as it was asked for."""

    def add(self, name: str, function: Scores, signs: dict[str, float]) -> None:
        """Take in how a term scores."""
        self.functions[name] = function
        self.signs[name] = signs

    def score(self, name: str, batch: Batch) -> list[Any]:
        """Return a term's scores: the floor of its `only_if` where it does not count."""
        if not self._is_read(name):
            return self._score(name, batch)
        if batch != self.batch:
            self.batch = batch
            self.scores = {}
        if name not in self.scores:
            self.scores[name] = self._score(name, batch)
        return self.scores[name]

    def _score(self, name: str, batch: Batch) -> list[Any]:
        self.signs[name].clear()
        scores = self.functions[name](batch)
        condition = self.terms[name].only_if
        if condition is None:
            return scores
        return _where(scores, self.score(condition.term, batch), condition)

    def _is_read(self, name: str) -> bool:
        """Whether other terms read this one."""
        return any(name in term.others() for term in self.terms.values())


def _where(scores: Sequence[Any], others: Sequence[Any], condition: OnlyIf) -> list[Any]:
    """Scores where the other term is above its limit; None where it has no score."""
    chosen: list[Any] = []
    for score, other in zip(scores, others, strict=True):
        if other is None:
            chosen.append(None)
        else:
            chosen.append(score if other > condition.above else condition.floor)
    return chosen


def _find_circle(start: str, terms: Mapping[str, Linked]) -> list[str]:
    """A way from a term back to itself; [] if there is none."""
    ways = [[start]]
    seen: set[str] = set()
    while ways:
        way = ways.pop()
        for other in terms[way[-1]].others():
            if other == start:
                return [*way, other]
            if other not in seen:
                seen.add(other)
                ways.append([*way, other])
    return []
