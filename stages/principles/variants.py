"""Variants of a principle set, each a short string: what an ablation sweeps over.

In: the selection in force and a variant's name. Out: that selection, changed. A principle set is a
file, so its variants are known before anything runs:

    full                      the set as it is selected
    without:<id>, only:<id>   leave one out; one alone
    without-tag:<tag>, only-tag:<tag>   the same of a family
    first:<n>                 n principles in an order drawn by hash, so that larger sets hold the
    smaller ones;
                              `first:<n>:<k>` takes the order number k
    opposite:<id>             one principle turned to its `opposite`
    reworded:<id>:<k>         one principle in its k-th of `rewordings`, from 0
    weight:<id>:<factor>      one principle's weight times a factor

Left out: `none`. A model before any method is the first policy of every evaluation, and needs no
run of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stages.principles.constitution import Principle
from stages.principles.select import Selection, select
from stages.runtime.errors import UserError, did_you_mean
from stages.runtime.store import derive_seed

FULL = "full"
FACTORS = (0.5, 2.0)  # what `weights` tries
FORMS = {  # the first word of a name: its kind, and how a name is written
    "full": ("full", "full"),
    "without": ("leave_one_out", "without:<id>"),
    "only": ("only_one", "only:<id>"),
    "without-tag": ("without_tag", "without-tag:<tag>"),
    "only-tag": ("only_tag", "only-tag:<tag>"),
    "first": ("sizes", "first:<n> or first:<n>:<order>"),
    "opposite": ("opposite", "opposite:<id>"),
    "reworded": ("reworded", "reworded:<id>:<k>"),
    "weight": ("weights", "weight:<id>:<factor>"),
}
KINDS = tuple(kind for kind, _ in FORMS.values())


@dataclass(frozen=True)
class Change:
    """What a variant changes; `only` None keeps all. `apply` puts it on any selection of the same
    set.
    """

    only: tuple[str, ...] | None = None
    drop: tuple[str, ...] = ()
    factors: tuple[tuple[str, float], ...] = ()
    negate: tuple[str, ...] = ()
    reword: tuple[tuple[str, int], ...] = ()


def enumerate_variants(selection: Selection, kinds: Sequence[str]) -> list[str]:
    """The names of all variants of these kinds, `full` first, which all are compared with.

    Raises:
        UserError: an unknown kind, a kind that this set has no variant of, or what `select` raises.
    """
    principles = select(selection).principles
    names = [FULL]
    for kind in kinds:
        if kind not in KINDS:
            fix = f"choose from: {', '.join(KINDS)}"
            raise UserError(
                f"there is no kind {kind!r}.{did_you_mean(str(kind), list(KINDS))}",
                where="ablate.kinds",
                fix=fix,
            )
        found = _of_kind(kind, principles)
        if not found:
            what = f"{selection.name!r} has no variant of the kind {kind!r}: {LACKING[kind]}"
            raise UserError(what, where="ablate.kinds", fix="leave the kind out, or change the set")
        names += [name for name in found if name not in names]
    return names


LACKING = {
    "leave_one_out": "it has one principle",
    "only_one": "it has one principle",
    "without_tag": "no tag divides it",
    "only_tag": "no tag divides it",
    "sizes": "it has one principle",
    "opposite": "no principle has an `opposite`",
    "reworded": "no principle has `rewordings`",
    "weights": "it has one principle",
}


def _of_kind(kind: str, principles: Sequence[Principle]) -> list[str]:
    ids = [p.id for p in principles] if len(principles) > 1 else []
    tags = {
        tag: len(_tagged(principles, tag))
        for tag in dict.fromkeys(tag for p in principles for tag in p.tags)
    }
    dividing = [tag for tag, number in tags.items() if number < len(principles)]
    made: dict[str, Callable[[], list[str]]] = {
        "full": lambda: [FULL],
        "leave_one_out": lambda: [f"without:{name}" for name in ids],
        "only_one": lambda: [f"only:{name}" for name in ids],
        "without_tag": lambda: [f"without-tag:{tag}" for tag in dividing],
        "only_tag": lambda: [f"only-tag:{tag}" for tag in dividing],
        "sizes": lambda: [f"first:{2**k}" for k in range(len(ids).bit_length()) if 2**k < len(ids)],
        "opposite": lambda: [f"opposite:{p.id}" for p in principles if p.opposite],
        "reworded": lambda: [
            f"reworded:{p.id}:{k}" for p in principles for k in range(len(p.rewordings))
        ],
        "weights": lambda: [f"weight:{name}:{factor:g}" for name in ids for factor in FACTORS],
    }
    return made[kind]()


def kind_and_target(name: str) -> tuple[str, str]:
    """The kind of a variant, and the principle, tag or number that it is about."""
    form, *rest = name.split(":")
    return FORMS[form][0], rest[0] if rest else ""


def change_of(name: str, selection: Selection) -> Change:
    """What the variant `name` of the selected set changes.

    Raises:
        UserError: no such form, an id or tag that the selection does not have, or no number where
        one belongs.
    """
    form, *rest = name.split(":")
    if form not in FORMS:
        hint = did_you_mean(form, list(FORMS))
        raise _no_variant(
            f"there is no variant {name!r}.{hint}", [written for _, written in FORMS.values()]
        )
    if (
        len(rest) not in {written.count(":") for written in FORMS[form][1].split(" or ")}
        or "" in rest
    ):
        raise _no_variant(f"{name!r} is incomplete or too long", [FORMS[form][1]])
    if form == "full":
        return Change()
    principles = {p.id: p for p in select(selection).principles}
    target = rest[0]
    if form == "first":
        return Change(
            only=_first(
                _number(name, target, int),
                _number(name, rest[1], int) if rest[1:] else 0,
                principles,
            )
        )
    if form in ("without-tag", "only-tag"):
        _known(name, target, sorted({tag for p in principles.values() for tag in p.tags}), "tag")
        tagged = tuple(p.id for p in _tagged(principles.values(), target))
        return Change(drop=tagged) if form == "without-tag" else Change(only=tagged)
    _known(name, target, list(principles), "principle")
    if form == "reworded":
        return Change(reword=((target, _number(name, rest[1], int)),))
    if form == "weight":
        return Change(factors=((target, _number(name, rest[1], float)),))
    return {
        "without": Change(drop=(target,)),
        "only": Change(only=(target,)),
        "opposite": Change(negate=(target,)),
    }[form]


def apply(change: Change, selection: Selection) -> Selection:
    """`selection` with the change on top of what it already leaves out."""
    only = selection.only
    if change.only is not None:
        only = change.only if only is None else tuple(name for name in only if name in change.only)
    weights = dict(selection.weights or {})
    if change.factors:
        own = {
            p.id: p.weight
            for p in select(replace(selection, only=None, drop=(), tags=())).principles
        }
        weights |= {name: own[name] * factor for name, factor in change.factors if name in own}
    turned = [
        name
        for name in (*selection.negate, *change.negate)
        if (name in selection.negate) != (name in change.negate)
    ]
    return replace(
        selection,
        only=only,
        drop=tuple(dict.fromkeys((*selection.drop, *change.drop))),
        weights=weights or selection.weights,
        negate=tuple(turned),
        reword={**(selection.reword or {}), **dict(change.reword)} or selection.reword,
    )


def _first(count: int, order: int, principles: Mapping[str, Principle]) -> tuple[str, ...]:
    if not 1 <= count <= len(principles):
        raise _no_variant(
            f"'first:{count}' of {len(principles)} principles",
            [f"first:1 to first:{len(principles)}"],
        )
    return tuple(
        sorted(principles, key=lambda name: (derive_seed(order, "ablation", name), name))[:count]
    )


def _tagged(principles: Any, tag: str) -> list[Principle]:
    return [p for p in principles if tag in p.tags]


def _number(name: str, given: str, kind: type) -> Any:
    try:
        value = kind(given)
    except ValueError:
        value = -1
    if not 0 <= value < math.inf:
        raise _no_variant(
            f"{given!r} in {name!r} is no number of 0 or more", [FORMS[name.partition(":")[0]][1]]
        )
    return value


def _known(name: str, given: str, known: list[str], kind: str) -> None:
    if given not in known:
        what = f"{name!r}: the selected set has no {kind} {given!r}.{did_you_mean(given, known)}"
        raise UserError(what, where="variant", fix=f"choose from: {', '.join(known) or 'nothing'}")


def _no_variant(what: str, forms: Sequence[str]) -> UserError:
    return UserError(what, where="variant", fix=f"write {'; '.join(forms)}")
