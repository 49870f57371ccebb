"""What is wrong with the value theory and the targets of a constitution, each fault with its place.

Comes in: both as plain data, and the dimensions that the principles have. Goes out: `Fault`s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from stages.guards.errors import did_you_mean

SHOWN = 5
"""Dimensions that one message names."""
OF_PRINCIPLES = "correct the name, or give a principle this dimension"


class Fault(NamedTuple):
    """One fault of a theory or of a target."""

    path: tuple[str | int, ...]
    """From the file's top level to the value at fault."""
    what: str
    fix: str


def theory_faults(
    theory: Mapping[str, Any],
    targets: Mapping[str, Mapping[str, float]],
    dimensions: Sequence[str],
) -> list[Fault]:
    """Return all faults of a theory and of named targets, in the order of the file's keys.

    Args:
        theory: the block as plain data; empty where the file has none.
        dimensions: those of the principles, each once.
    """
    faults = list(_targets(targets, dimensions))
    if theory:
        faults += _circle(theory["circle"], dimensions)
        faults += _angles(theory["angles"], theory["circle"])
        for key, members in theory["groups"].items():
            faults += _list(("theory", "groups", key), members, dimensions)
        faults += _axes(theory["axes"], theory["groups"])
        for name, mapping in theory["coarser"].items():
            faults += _coarser(name, mapping, dimensions)
    return faults


def _targets(
    targets: Mapping[str, Mapping[str, float]], dimensions: Sequence[str]
) -> Iterator[Fault]:
    for name, target in targets.items():
        for dimension, value in target.items():
            path = ("targets", name, dimension)
            if dimension not in dimensions:
                yield _unknown(path, dimension, dimensions)
            if not -1 <= value <= 1:
                what = f"{dimension!r} must be from -1 to 1, not {value:g}"
                yield Fault(path, what, "-1 speaks against the value, 0 is silent, 1 expresses it")
        yield from _missing(("targets", name), f"the target {name!r}", target, dimensions)


def _circle(circle: Sequence[str], dimensions: Sequence[str]) -> Iterator[Fault]:
    if circle:
        yield from _list(("theory", "circle"), circle, dimensions)
        yield from _missing(("theory", "circle"), "the circle", circle, dimensions)


def _angles(angles: Mapping[str, float], circle: Sequence[str]) -> Iterator[Fault]:
    path = ("theory", "angles")
    if not angles:
        return
    if not circle:
        yield Fault(path, "the theory has angles and no circle", "write circle: [...], too")
        return
    for dimension in angles:
        if dimension not in circle:
            what = f"{dimension!r} is not on the circle{did_you_mean(dimension, list(circle))}"
            yield Fault((*path, dimension), what, "correct the name, or add it to circle")
    yield from _missing(path, "angles", angles, circle)
    ordered = [angles[name] for name in circle if name in angles]
    if sum((after - before) % 360 for before, after in pairwise([*ordered, *ordered[:1]])) > 360:
        what = "the angles do not grow in the order of the circle"
        yield Fault(path, what, "list the circle in the order of its angles, once around")


def _axes(
    axes: Mapping[str, Sequence[str]], groups: Mapping[str, Sequence[str]]
) -> Iterator[Fault]:
    for key, ends in axes.items():
        for place, group in enumerate(ends):
            if group not in groups:
                what = f"there is no group {group!r}{did_you_mean(group, list(groups))}"
                fix = "name two of the groups, the positive end first"
                yield Fault(("theory", "axes", key, place), what, fix)


def _coarser(
    name: str, mapping: Mapping[str, Sequence[str]], dimensions: Sequence[str]
) -> Iterator[Fault]:
    homes: dict[str, str] = {}
    for coarse, members in mapping.items():
        path = ("theory", "coarser", name, coarse)
        yield from _list(path, members, dimensions)
        for place, member in enumerate(members):
            if homes.setdefault(member, coarse) != coarse:
                what = f"{member!r} is a part of {homes[member]!r} and of {coarse!r}"
                yield Fault((*path, place), what, "keep one of the two")


def _list(
    path: tuple[str, ...], names: Sequence[str], dimensions: Sequence[str]
) -> Iterator[Fault]:
    """Yield what is wrong with a list of dimensions: empty, unknown or repeated."""
    if not names:
        yield Fault(path, f"{path[-1]!r} is empty", "list its dimensions, or remove it")
    for place, name in enumerate(names):
        if name not in dimensions:
            yield _unknown((*path, place), name, dimensions)
        elif name in names[:place]:
            yield Fault((*path, place), f"{name!r} stands twice in {path[-1]!r}", "keep one")


def _unknown(path: tuple[str | int, ...], name: str, dimensions: Sequence[str]) -> Fault:
    what = f"{name!r} is a dimension that no principle has{did_you_mean(name, list(dimensions))}"
    return Fault(path, what, OF_PRINCIPLES)


def _missing(
    path: tuple[str, ...], owner: str, names: Iterable[str], expected: Sequence[str]
) -> Iterator[Fault]:
    missing = [name for name in expected if name not in names]
    if missing:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        what = f"{owner} lacks {', '.join(map(repr, missing[:SHOWN]))}{more}"
        yield Fault(path, what, "name every dimension, in a target with 0 for silence")
