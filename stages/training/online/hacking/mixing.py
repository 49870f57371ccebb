"""Terms that read the scores of other terms: the term `ensemble`, and `only_if` of any term.

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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, pstdev
from typing import Annotated, Any, Literal

from pydantic import Field

from stages.guards.errors import Faults, UserError, refuse_unknown
from stages.runtime.typed_config import NotNegative, machine
from stages.training.online.hacking.hiding import hide
from stages.training.online.terms import Completion, OnlyIf, ScoreFunction, Term, TermUse

Factor = Annotated[float, Field(ge=-1e6, le=1e6)]


@dataclass(frozen=True, kw_only=True)
class EnsembleTerm(Term):
    """One score of several terms, which are added to the reward through it alone."""

    of: Annotated[dict[str, Factor], Field(min_length=1)]
    """The terms by name, each with a factor of its score; their own weights are 0."""
    combine: Literal["mean", "sum", "min", "mean_less_spread"] = "mean"
    """`min`: the reward is what the least content one says. `mean_less_spread`: less where they
    disagree.
    """
    spread: NotNegative = 1.0
    """Standard deviations that `mean_less_spread` takes off."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = machine(0.0)  # as ADDED_LATER says
    """The chance of each of the terms to be left out in a step; at least one stays."""

    def others(self) -> list[str]:
        return [*super().others(), *self.of]

    def score_function(self, use: TermUse) -> ScoreFunction:
        """Return the function; None for a completion that one of the terms cannot score."""

        def score(completions: list[Completion]) -> list[float | None]:
            assert use.score_other is not None
            table = []
            for name in self._heard(use, completions):
                scores = use.score_other(name, completions)
                table.append([_times(value, self.of[name]) for value in scores])
            return [self._combine(values) for values in zip(*table, strict=True)]

        return score

    def _heard(self, use: TermUse, completions: Sequence[Completion]) -> list[str]:
        """The terms that count in the step of the completions."""
        if not self.dropout or not completions:
            return list(self.of)
        return hide(list(self.of), self.dropout, use.context.seed, completions[0].step, str)

    def _combine(self, values: Sequence[float | None]) -> float | None:
        present = [value for value in values if value is not None]
        if len(present) < len(values):
            return None
        if self.combine == "sum":
            return math.fsum(present)
        if self.combine == "min":
            return min(present)
        if self.combine == "mean":
            return fmean(present)
        return fmean(present) - self.spread * pstdev(present)


def check_others(terms: Mapping[str, Term], where: str) -> None:
    """Refuse terms that read others which do not exist, count twice, or read them in turn.

    Raises:
        UserError: all faults at once.
    """
    faults = Faults()
    for name, term in terms.items():
        place = f"{where}.{name}"
        with faults.gather():
            refuse_unknown(term.others(), terms, "it reads a term", place)
        if isinstance(term, EnsembleTerm):
            twice = [other for other in term.of if other in terms and terms[other].weight]
            for other in twice:
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

    terms: Mapping[str, Term]
    functions: dict[str, ScoreFunction] = field(default_factory=dict)
    signs: dict[str, dict[str, float]] = field(default_factory=dict)
    """What each term adds to what is logged of its last batch."""
    batch: list[Completion] = field(default_factory=list)
    scores: dict[str, list[Any]] = field(default_factory=dict)
    """Of the batch, by each term that others read, as far as it was asked for."""

    def add(self, name: str, function: ScoreFunction, signs: dict[str, float]) -> None:
        """Take in how a term scores."""
        self.functions[name] = function
        self.signs[name] = signs

    def score(self, name: str, batch: list[Completion]) -> list[Any]:
        """Return a term's scores: the floor of its `only_if` where it does not count."""
        if not self._is_read(name):
            return self._score(name, batch)
        if batch != self.batch:
            self.batch = batch
            self.scores = {}
        if name not in self.scores:
            self.scores[name] = self._score(name, batch)
        return self.scores[name]

    def _score(self, name: str, batch: list[Completion]) -> list[Any]:
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


def _times(value: Any, factor: float) -> float | None:
    return None if value is None else factor * float(value)


def _find_circle(start: str, terms: Mapping[str, Term]) -> list[str]:
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
