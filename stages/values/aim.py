"""Which target an answer is to meet, and how near to it an answer is: options of several stages.

In: a constitution, a target for all answers or one for each kind of request, and a distance. Out:
the scores of an answer as a profile, its target, and how far apart they are. A reward term, a
filter and an evaluation have these options, so that all of them mean the same by them.

A mixture is a column of the requests: `kind_column` of the step that reads them gives each a kind,
which names its target, or has one under `targets`. So one training serves several groups of
people, each with the values that it wants.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Annotated, Any

from pydantic import Field

from stages.guards.errors import UserError
from stages.principles.constitution import Principle
from stages.principles.select import Selection, select
from stages.runtime.rows import Rating
from stages.runtime.stage import Expected
from stages.runtime.typed_config import Text, machine
from stages.values.distance import (
    DistanceOptions,
    check_options,
    distances,
    neutral_is_best,
    silent_share,
)
from stages.values.targets import resolve_target
from stages.values.theory import ValueTheory, theory_of

Reference = Text | dict[str, Annotated[float, Field(ge=-1, le=1e9)]]
"""The name of a target, shares of named targets, numbers of dimensions, or the path of a file."""


@dataclass(frozen=True, kw_only=True)
class Aim(DistanceOptions):
    """A target, and the distance from it; the options of the distance are those of its class."""

    constitution: Selection
    """The theory: its dimensions, and the targets that have names."""
    target: Reference | None = machine(None)  # `aim_identity` adds what it stands for
    """The target: a name in the constitution, shares of such (`{uk: 1, france: 1}`), numbers from
    -1 to 1 of some dimensions (`{security: 1, power: -1}`; the others have 0) or a file of survey
    means. Null: the kind of each request is the name of its target.
    """
    targets: dict[str, Reference] | None = machine(None)  # as `target`
    """By kind of request, the target in place of `target`."""
    low: float = machine(1.0)
    """Of files: the end of the survey's scale that speaks against a value."""
    high: float = machine(6.0)
    """Of files: the end that expresses it."""
    group: Text | None = machine(None)
    """Of files: the group whose means are read; null: there is one only."""

    @cached_property
    def theory(self) -> ValueTheory:
        """The theory; errors as in `theory_of`."""
        return theory_of(select(self.constitution))

    @cached_property
    def principles(self) -> list[Principle]:
        """The principles of the constitution."""
        return list(select(self.constitution).principles)

    @cached_property
    def dimension_of(self) -> dict[str, str]:
        """By a principle's id, its dimension."""
        return {each.id: each.dimension for each in self.principles if each.dimension}

    @cached_property
    def _target_by_kind(self) -> dict[str, list[float]]:
        """The targets found so far: a file is read once, not for every request."""
        return {}

    def find(self, reference: str | Mapping[str, float]) -> list[float]:
        """Return the numbers of a target, in the order of the theory's dimensions.

        Raises:
            UserError: as `resolve_target`; a number of a dimension that is above 1.
        """
        dimensions = self.theory.dimensions
        if isinstance(reference, Mapping) and reference and set(reference) <= set(dimensions):
            if max(reference.values()) > 1:
                raise UserError(
                    f"the target {dict(reference)} is not from -1 to 1",
                    where=f"constitution {self.theory.name!r}",
                    fix="write 1 for a value to express, -1 for one to speak against",
                )
            return [float(reference.get(name, 0.0)) for name in dimensions]
        profile = resolve_target(self.theory, reference, self.low, self.high, self.group)
        return self.theory.vector(profile)

    def target_of(self, kind: str) -> list[float]:
        """Return the target of a request.

        Raises:
            UserError: the options have none for its kind.
        """
        if kind not in self._target_by_kind:
            self._target_by_kind[kind] = self._find_target_of(kind)
        return self._target_by_kind[kind]

    def _find_target_of(self, kind: str) -> list[float]:
        reference = (self.targets or {}).get(kind, self.target)
        if reference is not None:
            return self.find(reference)
        if kind not in self.theory.targets:
            raise UserError(
                f"requests of the kind {kind!r} have no target",
                where=f"constitution {self.theory.name!r}",
                fix="set `target`, add the kind to `targets`, or let `kind_column` of the step "
                f"that reads them name one of: {', '.join(self.theory.targets) or 'none'}",
            )
        return self.find(kind)

    def doubt_kinds(self, counts: Mapping[str, int]) -> list[str]:
        """Return warnings for kinds without a target of their own, and for targets of no request.

        Args:
            counts: requests of each kind; empty: nobody knows.

        Raises:
            UserError: a kind has no target.
        """
        for kind in counts:
            self.target_of(kind)
        if not self.targets or not counts:
            return []
        warnings = []
        others = {kind: counts[kind] for kind in counts if kind not in self.targets}
        if others and self.target is not None:
            number, total = sum(others.values()), sum(counts.values())
            warnings.append(
                f"{number} of {total} requests are of a kind that `targets` does not name "
                f"({_list_counts(others)}): they take `target`, which is {self.target!r}"
            )
        unused = [kind for kind in self.targets if kind not in counts]
        if unused:
            warnings.append(
                f"no request is of the kind {', '.join(unused)}, which `targets` names; there are "
                f"{_list_counts(counts)}"
            )
        return warnings

    def profile(self, principles: Sequence[str], scores: Sequence[float]) -> list[float] | None:
        """Return the score of each dimension, the mean over its principles.

        None where a dimension has no score.
        """
        by_dimension: dict[str, list[float]] = {}
        for name, score in zip(principles, scores, strict=True):
            if name in self.dimension_of:
                by_dimension.setdefault(self.dimension_of[name], []).append(score)
        if any(name not in by_dimension for name in self.theory.dimensions):
            return None
        return [fmean(by_dimension[name]) for name in self.theory.dimensions]

    def read(self, row: Rating, where: str) -> list[float] | None:
        """Return the profile of a rated answer.

        Raises:
            UserError: a score is not between -1 and 1, or is of a value's opposite.
        """
        if any(row.negated) or not all(-1 <= score <= 1 for score in row.scores):
            raise UserError(
                f"the rating {row.id!r} does not say from -1 to 1 what an answer is for",
                where=where,
                fix="give it a `score` step with a value evaluator and `each: true`, or a `rate` "
                'step with the scale {"Yes": 1, "No": -1}',
            )
        if len(row.scores) != len(row.principles):
            return None
        return self.profile(row.principles, row.scores)

    def far(self, profiles: Sequence[Sequence[float]], targets: Sequence[Sequence[float]]) -> Any:
        """Return how far each profile is from its target."""
        return distances(profiles, targets, self, self.theory.dimensions)

    def signs(self, profiles: Sequence[Sequence[float]]) -> dict[str, float]:
        """Return what is logged of a batch: how much it leaves unsaid, and each dimension's mean.

        Args:
            profiles: one a text, at least one.
        """
        silent = silent_share(profiles, self.threshold)
        signs = {"tripwire/silent": float(silent.mean())}
        for name, scores in zip(self.theory.dimensions, zip(*profiles, strict=True), strict=True):
            signs[f"value/{name}"] = fmean(scores)
        return signs

    def doubts(self, targets: Collection[Sequence[float]]) -> list[str]:
        """Return a warning where a text that says nothing is as near to a target as can be."""
        options = self.theory.dimensions
        if not any(neutral_is_best(target, self, options) for target in targets):
            return []
        return [
            "by this distance a text that says nothing of any value is as near to the target as "
            "one that meets it: set `mask: none`, or raise `expression`"
        ]


def _list_counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{kind} {number}" for kind, number in counts.items())


def profile_text(dimensions: Sequence[str], numbers: Sequence[float]) -> str:
    """Return a profile as a reward model reads it, in place of a principle."""
    pairs = zip(dimensions, numbers, strict=True)
    parts = [f"{name.replace('-', ' ')} {number:+.3g}" for name, number in pairs if number]
    return f"Values: {', '.join([*parts, 'others 0' if parts else 'all 0'])}."


def check_aim(aim: Aim) -> None:
    """Refuse targets and options of the distance that cannot work.

    Raises:
        UserError: an unknown target, a file that cannot be read, no target at all, or as
            `check_options`.
    """
    check_options(aim, aim.theory.dimensions)
    for reference in [aim.target, *(aim.targets or {}).values()]:
        if reference is not None:
            aim.find(reference)
    if aim.target is None and not aim.targets and not aim.theory.targets:
        raise UserError(
            "there is no target",
            where=f"constitution {aim.theory.name!r}",
            fix="set `target`, or add `targets:` to the constitution",
        )


def foresee_kinds(aim: Aim, inputs: Mapping[str, Expected]) -> list[str]:
    """Return `doubt_kinds` of the requests that a plan knows, which all inputs share.

    Raises:
        UserError: as `doubt_kinds`.
    """
    counts: Counter[str] = Counter()
    for expected in inputs.values():
        counts |= Counter(expected.count_kinds())
    return aim.doubt_kinds(counts)


def aim_identity(aim: Aim) -> dict[str, Any]:
    """Return the numbers of the targets, and how answers become profiles."""
    numbers: dict[str, Any] = {kind: aim.find(each) for kind, each in (aim.targets or {}).items()}
    if aim.target is not None:
        numbers = {"target": aim.find(aim.target), "targets": numbers}
    else:
        numbers = {"named": aim.theory.targets, "targets": numbers}
    return {"dimensions": aim.theory.dimensions, "dimension_of": aim.dimension_of, **numbers}
