"""A value theory as code reads it: dimensions in circle order, angles, groups, named targets.

Comes in: a `Constitution`. Goes out: a `ValueTheory`. Where principles were dropped, so that a
dimension has none left, it is gone from the circle, the groups and the targets, and the angles of
the others stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stages.guards.errors import UserError
from stages.principles.constitution import Constitution, Theory
from stages.values.profile import Profile


@dataclass(frozen=True)
class ValueTheory:
    """The dimensions of a constitution and how they lie to each other."""

    name: str
    """The name of the constitution."""
    dimensions: tuple[str, ...]
    """In circle order, or in the order of the file where there is no circle."""
    angles: dict[str, float]
    """Degrees on the circle; empty where there is none."""
    is_nominal: bool
    """Whether the angles are equal steps in the order of the circle, and were never measured."""
    groups: dict[str, tuple[str, ...]]
    """Higher-order groups of dimensions."""
    axes: dict[str, tuple[str, str]]
    """By axis, the group at its positive end and the one at its negative end."""
    coarser: dict[str, dict[str, tuple[str, ...]]]
    """By name of a coarser theory, the dimensions here that each of its dimensions is made of."""
    targets: dict[str, dict[str, float]]
    """By name, the intended number of each dimension, from -1 to 1."""

    def vector(self, profile: Profile) -> list[float]:
        """Return the numbers of a profile in the order of `dimensions`."""
        return [float(profile[name]) for name in self.dimensions]

    def homeless(self, coarser: str) -> list[str]:
        """Return the dimensions that a coarser theory has no place for."""
        homes = {name for members in self.coarser[coarser].values() for name in members}
        return [name for name in self.dimensions if name not in homes]


def theory_of(constitution: Constitution) -> ValueTheory:
    """Return the theory of a constitution; without a `theory:` block it has no circle or groups.

    Raises:
        UserError: no principle has a dimension.
    """
    present = constitution.dimensions()
    if not present:
        raise UserError(
            "no principle has a dimension",
            where=f"constitution {constitution.name!r}",
            fix="name the value that each principle expresses: `dimension: security`",
        )
    theory = constitution.theory or Theory()
    circle = theory.circle
    names = circle or present
    angles = theory.angles
    if circle and not angles:
        step = 360 / len(circle)
        angles = {name: step * place for place, name in enumerate(circle)}
    groups = _left(theory.groups, present)
    return ValueTheory(
        name=constitution.name,
        dimensions=tuple(name for name in names if name in present),
        angles={name: angles[name] for name in circle if name in present},
        is_nominal=bool(circle) and not theory.angles,
        groups=groups,
        axes={
            key: (positive, negative)
            for key, (positive, negative) in theory.axes.items()
            if positive in groups and negative in groups
        },
        coarser={name: _left(mapping, present) for name, mapping in theory.coarser.items()},
        targets={
            name: {key: value for key, value in target.items() if key in present}
            for name, target in (constitution.targets or {}).items()
        },
    )


def _left(lists: Mapping[str, Sequence[str]], present: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the lists with what is present; lists of which nothing is left are gone."""
    left = {}
    for key, names in lists.items():
        present_names = tuple(name for name in names if name in present)
        if present_names:
            left[key] = present_names
    return left
