"""Choose principles out of a set: the values of `constitution.*` in a config.

Comes in: a `Selection`. Goes out: a `Constitution` with what is left, in file order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from stages.principles.constitution import Constitution, Principle, Targets, load, locate
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
        negate: ids whose `opposite` takes the place of their text, and the text that of the
            opposite. Their own critique and revision requests, which ask for the text, are left
            out.
        reword: by id, which of its `rewordings` takes the place of the text, counted from 0.
    """

    name: str
    only: tuple[str, ...] | None = None
    drop: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    weights: dict[str, float] | None = None
    negate: tuple[str, ...] = ()
    reword: dict[str, int] | None = None


def select(selection: Selection) -> Constitution:
    """Return the set with `only`, `drop`, `tags`, `weights`, `negate` and `reword` applied.

    Targets lose the dimensions that no remaining principle has.

    Raises:
        UserError: as `load`; an id or tag the set does not have; a weight that is negative or no
        number; an opposite or a rewording that is not there; nothing left.
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
        ("negate", selection.negate, ids),
        ("reword", selection.reword or (), ids),
        ("tags", selection.tags, tags),
    ]:
        _check_known(key, given, known, file)
    for name, weight in weights.items():
        if (
            isinstance(weight, bool)
            or not isinstance(weight, (int, float))
            or not 0 <= weight < math.inf
        ):
            message = f"the weight of {name!r} is {weight!r}; it must be a number of 0 or more."
            raise UserError(
                message,
                where="constitution.weights",
                fix="0 drops the principle, 1 is the usual weight.",
            )

    def kept(principle_id: str, its_tags: tuple[str, ...]) -> bool:
        chosen = selection.only is None or principle_id in selection.only
        tagged = not selection.tags or any(tag in selection.tags for tag in its_tags)
        return (
            chosen
            and tagged
            and principle_id not in selection.drop
            and weights.get(principle_id, 1) > 0
        )

    principles = tuple(
        _said(principle, selection, file).model_copy(
            update={"weight": float(weights.get(principle.id, principle.weight))}
        )
        for principle in constitution.principles
        if kept(principle.id, principle.tags)
    )
    if not principles:
        raise UserError(
            f"no principle of {file} is left.",
            where="constitution",
            fix="loosen constitution.only, drop, tags or weights.",
        )
    dimensions = {principle.dimension for principle in principles if principle.dimension}
    targets = _within(constitution.targets, dimensions)
    return constitution.model_copy(update={"principles": principles, "targets": targets})


def unturned(selection: Selection) -> Selection:
    """The same with every principle as it stands: what a judge reads, whose margins a negated
    principle turns round.
    """
    return replace(selection, negate=())


def _said(principle: Principle, selection: Selection, file: str) -> Principle:
    """The principle in the words that `reword` and `negate` ask for."""
    index = (selection.reword or {}).get(principle.id)
    if index is not None:
        number = len(principle.rewordings)
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < number:
            what = f"{file}: the principle {principle.id!r} has {number} rewordings, and none has the number {index!r}."
            fix = (
                f"give it `rewordings: [...]`, or a number below {number}."
                if number
                else "give it `rewordings: [...]`."
            )
            raise UserError(what, where="constitution.reword", fix=fix)
        principle = principle.model_copy(update={"text": principle.rewordings[index]})
    if principle.id in selection.negate:
        if not principle.opposite:
            what = f"{file}: the principle {principle.id!r} has no opposite."
            raise UserError(what, where="constitution.negate", fix="give it an `opposite:`.")
        turned = {
            "text": principle.opposite,
            "opposite": principle.text,
            "critique": None,
            "revision": None,
        }
        principle = principle.model_copy(update=turned)
    return principle


def _check_known(key: str, given: Iterable[str], known: list[str], file: str) -> None:
    where = f"constitution.{key}"
    if isinstance(given, str):
        raise UserError(
            f"it must be a list, not {given!r}.", where=where, fix=f"'{where}=[{given}]'"
        )
    for name in given:
        if name not in known:
            kind = "tag" if key == "tags" else "principle"
            what = f"{file} has no {kind} {name!r}.{did_you_mean(str(name), known)}"
            raise UserError(what, where=where, fix=f"choose from: {', '.join(known) or 'nothing'}.")


def _within(targets: Targets | None, dimensions: set[str]) -> Targets | None:
    left: dict[str, Any] = {}
    for key, value in (targets or {}).items():
        if isinstance(value, dict):
            inner = {name: number for name, number in value.items() if name in dimensions}
            left |= {key: inner} if inner else {}
        elif key in dimensions:
            left[key] = value
    return left or None
