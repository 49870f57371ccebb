"""Choose principles out of a set: the values of `constitution.*` in a config.

Comes in: a `Selection`. Goes out: a `Constitution` with what is left, in file order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from stages.principles.constitution import Constitution, Targets, load, locate
from stages.principles.document import shown
from stages.runtime.errors import UserError, did_you_mean


@dataclass(frozen=True)
class Selection:
    """A set and what to take of it.

    Args:
        name: a shipped set's name, or the path of a file.
        only: ids to keep; None keeps all.
        drop: ids to leave out.
        tags: keep principles that have at least one of these tags; empty keeps all.
        weights: new weights by id; 0 drops the principle.
    """

    name: str
    only: tuple[str, ...] | None = None
    drop: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    weights: dict[str, float] | None = None


def select(selection: Selection) -> Constitution:
    """Return the set with `only`, `drop`, `tags` and `weights` applied.

    Targets lose the dimensions that no remaining principle has.

    Raises:
        UserError: as `load`; an id or tag the set does not have; a weight that is negative or no number; nothing left.
    """
    constitution = load(selection.name)
    weights = selection.weights or {}
    file = shown(locate(selection.name))
    ids = [principle.id for principle in constitution.principles]
    tags = sorted({tag for principle in constitution.principles for tag in principle.tags})
    for key, given, known in [
        ("only", selection.only or (), ids),
        ("drop", selection.drop, ids),
        ("weights", weights, ids),
        ("tags", selection.tags, tags),
    ]:
        _check_known(key, given, known, file)
    for name, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight < math.inf:
            message = f"the weight of {name!r} is {weight!r}; it must be a number of 0 or more."
            raise UserError(message, where="constitution.weights", mend="0 drops the principle, 1 is the usual weight.")

    def kept(principle_id: str, its_tags: tuple[str, ...]) -> bool:
        chosen = selection.only is None or principle_id in selection.only
        tagged = not selection.tags or any(tag in selection.tags for tag in its_tags)
        return chosen and tagged and principle_id not in selection.drop and weights.get(principle_id, 1) > 0

    principles = tuple(
        principle.model_copy(update={"weight": float(weights.get(principle.id, principle.weight))})
        for principle in constitution.principles
        if kept(principle.id, principle.tags)
    )
    if not principles:
        raise UserError(
            f"no principle of {file} is left.",
            where="constitution",
            mend="loosen constitution.only, drop, tags or weights.",
        )
    dimensions = {principle.dimension for principle in principles if principle.dimension}
    targets = _within(constitution.targets, dimensions)
    return constitution.model_copy(update={"principles": principles, "targets": targets})


def _check_known(key: str, given: Iterable[str], known: list[str], file: str) -> None:
    where = f"constitution.{key}"
    if isinstance(given, str):
        raise UserError(f"it must be a list, not {given!r}.", where=where, mend=f"'{where}=[{given}]'")
    for name in given:
        if name not in known:
            kind = "tag" if key == "tags" else "principle"
            what = f"{file} has no {kind} {name!r}.{did_you_mean(str(name), known)}"
            raise UserError(what, where=where, mend=f"choose from: {', '.join(known) or 'nothing'}.")


def _within(targets: Targets | None, dimensions: set[str]) -> Targets | None:
    left: dict[str, Any] = {}
    for key, value in (targets or {}).items():
        if isinstance(value, dict):
            inner = {name: number for name, number in value.items() if name in dimensions}
            left |= {key: inner} if inner else {}
        elif key in dimensions:
            left[key] = value
    return left or None
