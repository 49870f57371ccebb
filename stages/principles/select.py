"""Choose principles of a set: the values of `constitution.*` in a config.

Comes in: a `Selection`. Goes out: a `Constitution` with the selected principles, in file order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from stages.guards.errors import UserError, refuse_unknown
from stages.principles.constitution import Constitution, Number, Principle, load, locate
from stages.principles.document import display_path
from stages.principles.statement import PARTS, opposed, stated, without_parts

LONG_PARTS = {"because": "reasons", "examples": "examples"}
_WEIGHTS = TypeAdapter(dict[str, Annotated[Number, Field(ge=0, le=1e9)]])


@dataclass(frozen=True)
class Selection:
    """A principle set, and which of its principles to use."""

    name: str
    """A shipped set's name, or the path of a file."""
    only: tuple[str, ...] | None = None
    """Ids to keep; None keeps all."""
    drop: tuple[str, ...] = ()
    """Ids to leave out."""
    tags: tuple[str, ...] = ()
    """Keep principles that have at least one of these tags; empty keeps all."""
    weights: dict[str, float] | None = None
    """New weights by id; 0 drops the principle."""
    negate: tuple[str, ...] = ()
    """Ids of principles whose text and `opposite` are swapped.

    Their own critique and revision requests, which ask for the text, are left out.
    """
    reword: dict[str, int] | None = None
    """By id, which of its `rewordings` takes the place of the text, counted from 0."""
    without: tuple[str, ...] = ()
    """Parts that no principle states: `because`, `examples`, `authority`."""

    def shorten(self) -> str:
        """Return how to make its principles shorter; "" where none has a reason or examples."""
        principles = select(self).principles
        parts = [part for part in LONG_PARTS if any(getattr(each, part) for each in principles)]
        if not parts:
            return ""
        return (
            f"take the {' or '.join(LONG_PARTS[part] for part in parts)} out: "
            f"'constitution.without=[{','.join(parts)}]', or choose some principles: "
            "'constitution.only=[...]'; a step that reads the whole set needs "
            "'constitution=${constitution}', too"
        )


def select(selection: Selection) -> Constitution:
    """Return the set with all options of the selection applied.

    Each `text` states what a model is to read: the principle with its examples, its reason and its
    authority (`stated`), less the parts of `without`.

    Raises:
        UserError: as `load`; an id or tag the set does not have; a weight that is negative or not a
        number; an opposite or a rewording that does not exist; no principle is left.
    """
    constitution = load(selection.name)
    file = display_path(locate(selection.name))
    _check_names(selection, constitution, file)
    weights = _check_weights(selection.weights or {})
    principles = []
    for principle in constitution.principles:
        weight = weights.get(principle.id, principle.weight)
        if weight > 0 and _is_selected(principle, selection):
            principle = _change_wording(principle, selection, file)
            principle = stated(without_parts(principle, selection.without))
            principles.append(principle.model_copy(update={"weight": weight}))
    if not principles:
        raise UserError(
            f"no principle of {file} is left",
            where="constitution",
            fix="loosen constitution.only, drop, tags or weights",
        )
    return constitution.model_copy(update={"principles": tuple(principles)})


def without_negation(selection: Selection) -> Selection:
    """Return the selection with no principle negated.

    This is what a judge reads: the margins of a negated principle are flipped afterwards.
    """
    return replace(selection, negate=())


def _is_selected(principle: Principle, selection: Selection) -> bool:
    if selection.only is not None and principle.id not in selection.only:
        return False
    if selection.tags and not set(selection.tags) & set(principle.tags):
        return False
    return principle.id not in selection.drop


def _change_wording(principle: Principle, selection: Selection, file: str) -> Principle:
    """Return the principle in the words that `reword` and `negate` ask for."""
    index = (selection.reword or {}).get(principle.id)
    if index is not None:
        principle = _reword(principle, index, file)
    if principle.id in selection.negate:
        principle = _negate(principle, file)
    return principle


def _reword(principle: Principle, index: int, file: str) -> Principle:
    number = len(principle.rewordings)
    if index not in range(number):
        what = (
            f"{file}: the principle {principle.id!r} has {number} rewordings, "
            f"and none has the number {index!r}"
        )
        fix = "give it `rewordings: [...]`"
        if number:
            fix += f", or a number below {number}"
        raise UserError(what, where="constitution.reword", fix=fix)
    return principle.model_copy(update={"text": principle.rewordings[index]})


def _negate(principle: Principle, file: str) -> Principle:
    if not principle.opposite:
        what = f"{file}: the principle {principle.id!r} has no opposite"
        raise UserError(what, where="constitution.negate", fix="give it an `opposite:`")
    return opposed(principle)


def _check_names(selection: Selection, constitution: Constitution, file: str) -> None:
    ids = [principle.id for principle in constitution.principles]
    tags = {tag for principle in constitution.principles for tag in principle.tags}
    _check_option("only", selection.only or (), ids, file)
    _check_option("drop", selection.drop, ids, file)
    _check_option("weights", selection.weights or (), ids, file)
    _check_option("negate", selection.negate, ids, file)
    _check_option("reword", selection.reword or (), ids, file)
    _check_option("tags", selection.tags, sorted(tags), file)
    _check_option("without", selection.without, PARTS, file)


def _check_option(option: str, names: Iterable[str], choices: Sequence[str], file: str) -> None:
    where = f"constitution.{option}"
    if isinstance(names, str):
        what = f"it must be a list, not {names!r}"
        raise UserError(what, where=where, fix=f"write '{where}=[{names}]'")
    kind = {"tags": "tag", "without": "part"}.get(option, "principle")
    refuse_unknown(names, choices, f"{file} has no {kind}", where)


def _check_weights(weights: dict[str, float]) -> dict[str, float]:
    try:
        return _WEIGHTS.validate_python(weights)
    except ValidationError as error:
        first = error.errors()[0]
        name = first["loc"][0]
        what = f"the weight of {name!r} is {first['input']!r}; it must be a number from 0 to 1e9"
        fix = "write 0 to drop the principle, 1 for the usual weight"
        raise UserError(what, where="constitution.weights", fix=fix) from error
