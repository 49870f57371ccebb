"""Variants of a principle set, each a short string: what an ablation sweeps over.

Comes in: the current selection and a variant's name. Goes out: that selection, changed. A principle
set is a file, so its variants are known before anything runs:

    full                      the set as it is selected
    without:<id>              leave one principle out
    only:<id>                 one principle alone
    without-tag:<tag>         leave out the principles with a tag
    only-tag:<tag>            the principles with a tag alone
    first:<n>                 n principles in an order drawn by hash, so that larger sets hold the
                              smaller ones; `first:<n>:<k>` takes the order number k
    opposite:<id>             one principle replaced by its `opposite`
    reworded:<id>:<k>         one principle in its k-th of `rewordings`, from 0
    weight:<id>:<factor>      one principle's weight times a factor
    without-reasons           no principle states its `because`; likewise without-examples and
                              without-authority

Left out: `none`. A model before any method is the first policy of every evaluation, and needs no
separate run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

from stages.guards.errors import UserError, did_you_mean, refuse_unknown
from stages.principles.constitution import Principle
from stages.principles.select import Selection, select
from stages.runtime.store import derive_seed

FULL = "full"
WEIGHT_FACTORS = (0.5, 2.0)  # of the kind `weights`
ONE_PRINCIPLE = "it has one principle"
NO_DIVIDING_TAG = "no tag divides it"

NumberT = TypeVar("NumberT", int, float)


class Form(NamedTuple):
    """How the names of one kind of variant are written."""

    kind: str
    patterns: tuple[str, ...]
    why_none: str
    """Why a set can have no variant of this kind."""


FORMS = {  # by the first word of a name
    "full": Form("full", ("full",), ""),
    "without": Form("leave_one_out", ("without:<id>",), ONE_PRINCIPLE),
    "only": Form("only_one", ("only:<id>",), ONE_PRINCIPLE),
    "without-tag": Form("without_tag", ("without-tag:<tag>",), NO_DIVIDING_TAG),
    "only-tag": Form("only_tag", ("only-tag:<tag>",), NO_DIVIDING_TAG),
    "first": Form("sizes", ("first:<n>", "first:<n>:<order>"), ONE_PRINCIPLE),
    "opposite": Form("opposite", ("opposite:<id>",), "no principle has an `opposite`"),
    "reworded": Form("reworded", ("reworded:<id>:<k>",), "no principle has `rewordings`"),
    "weight": Form("weights", ("weight:<id>:<factor>",), ONE_PRINCIPLE),
    "without-reasons": Form(
        "without_reasons", ("without-reasons",), "no principle has a `because`"
    ),
    "without-examples": Form(
        "without_examples", ("without-examples",), "no principle has `examples`"
    ),
    "without-authority": Form(
        "without_authority", ("without-authority",), "no principle has an `authority`"
    ),
}
PARTS = {
    "without-reasons": "because",
    "without-examples": "examples",
    "without-authority": "authority",
}
FORM_OF_KIND = {form.kind: form for form in FORMS.values()}
KINDS = tuple(FORM_OF_KIND)


@dataclass(frozen=True)
class Change:
    """What a variant changes. `apply` applies it to any selection of the same set."""

    only: tuple[str, ...] | None = None
    """Ids to keep; None keeps all."""
    drop: tuple[str, ...] = ()
    """Ids to leave out."""
    factors: tuple[tuple[str, float], ...] = ()
    """Ids, and what their weight is multiplied by."""
    negate: tuple[str, ...] = ()
    """Ids to negate; one that the selection negates already is negated back."""
    reword: tuple[tuple[str, int], ...] = ()
    """Ids, and which of their rewordings takes the place of the text."""
    without: tuple[str, ...] = ()
    """Parts that no principle states."""


def enumerate_variants(selection: Selection, kinds: Sequence[str]) -> list[str]:
    """Return the names of all variants of these kinds, with `full`, the baseline, first.

    Raises:
        UserError: an unknown kind, a kind that this set has no variant of, or what `select` raises.
    """
    principles = select(selection).principles
    names = [FULL]
    refuse_unknown(kinds, KINDS, "there is no kind", "ablate.kinds")
    for kind in kinds:
        variants = _variants_of_kind(kind, principles)
        if not variants:
            reason = FORM_OF_KIND[kind].why_none
            what = f"{selection.name!r} has no variant of the kind {kind!r}: {reason}"
            raise UserError(what, where="ablate.kinds", fix="leave the kind out, or change the set")
        names += [name for name in variants if name not in names]
    return names


def _variants_of_kind(kind: str, principles: Sequence[Principle]) -> list[str]:
    ids = [p.id for p in principles] if len(principles) > 1 else []
    match kind:
        case "leave_one_out":
            return [f"without:{name}" for name in ids]
        case "only_one":
            return [f"only:{name}" for name in ids]
        case "without_tag":
            return [f"without-tag:{tag}" for tag in _dividing_tags(principles)]
        case "only_tag":
            return [f"only-tag:{tag}" for tag in _dividing_tags(principles)]
        case "sizes":
            powers = [2**k for k in range(len(ids).bit_length())]
            return [f"first:{size}" for size in powers if size < len(ids)]
        case "opposite":
            return [f"opposite:{p.id}" for p in principles if p.opposite]
        case "reworded":
            return [f"reworded:{p.id}:{k}" for p in principles for k in range(len(p.rewordings))]
        case "weights":
            return [f"weight:{name}:{factor:g}" for name in ids for factor in WEIGHT_FACTORS]
        case "without_reasons" | "without_examples" | "without_authority":
            form = kind.replace("_", "-")
            return [form] if any(getattr(p, PARTS[form]) for p in principles) else []
        case _:
            return [FULL]


def _dividing_tags(principles: Sequence[Principle]) -> list[str]:
    """Return the tags that some principles have and some do not, in the order of the file."""
    tags = dict.fromkeys(tag for p in principles for tag in p.tags)
    return [tag for tag in tags if len(_ids_with_tag(principles, tag)) < len(principles)]


def kind_and_target(name: str) -> tuple[str, str]:
    """Return the kind of a variant, and the principle, tag or number that it is about."""
    form, *parts = name.split(":")
    return FORMS[form].kind, parts[0] if parts else ""


def change_of(name: str, selection: Selection) -> Change:
    """Return what the variant `name` of the selected set changes.

    Raises:
        UserError: no such form, an id or tag that the selection does not have, or no number where
        one belongs.
    """
    form, *parts = name.split(":")
    _check_form(name, form, parts)
    if form == "full":
        return Change()
    if form in PARTS:
        return Change(without=(PARTS[form],))
    principles = {p.id: p for p in select(selection).principles}
    target = parts[0]
    if form == "first":
        count = _parse_number(name, target, int)
        order = _parse_number(name, parts[1], int) if len(parts) > 1 else 0
        return Change(only=_first(count, order, principles))
    if form in ("without-tag", "only-tag"):
        tags = {tag for p in principles.values() for tag in p.tags}
        refuse_unknown([target], sorted(tags), f"{name!r}: the selected set has no tag", "variant")
        tagged = _ids_with_tag(principles.values(), target)
        return Change(drop=tagged) if form == "without-tag" else Change(only=tagged)
    refuse_unknown([target], principles, f"{name!r}: the selected set has no principle", "variant")
    match form:
        case "without":
            return Change(drop=(target,))
        case "only":
            return Change(only=(target,))
        case "opposite":
            return Change(negate=(target,))
        case "reworded":
            return Change(reword=((target, _parse_number(name, parts[1], int)),))
        case _:
            return Change(factors=((target, _parse_number(name, parts[1], float)),))


def apply(change: Change, selection: Selection) -> Selection:
    """Return `selection` with the change applied as well."""
    only = selection.only
    if only is None:
        only = change.only
    elif change.only is not None:
        only = tuple(name for name in only if name in change.only)
    weights = dict(selection.weights or {})
    if change.factors:
        whole_set = select(replace(selection, only=None, drop=(), tags=()))
        current = {p.id: p.weight for p in whole_set.principles}
        for name, factor in change.factors:
            if name in current:
                weights[name] = current[name] * factor
    negate = [name for name in selection.negate if name not in change.negate]
    negate += [name for name in change.negate if name not in selection.negate]
    reword = {**(selection.reword or {}), **dict(change.reword)}
    return replace(
        selection,
        only=only,
        drop=tuple(dict.fromkeys((*selection.drop, *change.drop))),
        weights=weights or selection.weights,
        negate=tuple(negate),
        reword=reword or selection.reword,
        without=tuple(dict.fromkeys((*selection.without, *change.without))),
    )


def _first(count: int, order: int, principles: Mapping[str, Principle]) -> tuple[str, ...]:
    if not 1 <= count <= len(principles):
        what = f"'first:{count}' of {len(principles)} principles"
        raise _bad_name(what, [f"first:1 to first:{len(principles)}"])

    def place(name: str) -> tuple[int, str]:
        return derive_seed(order, "ablation", name), name

    return tuple(sorted(principles, key=place)[:count])


def _ids_with_tag(principles: Iterable[Principle], tag: str) -> tuple[str, ...]:
    return tuple(p.id for p in principles if tag in p.tags)


def _parse_number(name: str, text: str, number_type: type[NumberT]) -> NumberT:
    try:
        value = number_type(text)
    except ValueError:
        value = number_type(-1)
    if not 0 <= value < math.inf:
        form = FORMS[name.partition(":")[0]]
        raise _bad_name(f"{text!r} in {name!r} is not a number of 0 or more", form.patterns)
    return value


def _check_form(name: str, form: str, parts: Sequence[str]) -> None:
    if form not in FORMS:
        what = f"there is no variant {name!r}{did_you_mean(form, list(FORMS))}"
        patterns = [pattern for each in FORMS.values() for pattern in each.patterns]
        raise _bad_name(what, patterns)
    lengths = {pattern.count(":") for pattern in FORMS[form].patterns}
    if len(parts) not in lengths or "" in parts:
        raise _bad_name(f"{name!r} is incomplete or too long", FORMS[form].patterns)


def _bad_name(what: str, patterns: Iterable[str]) -> UserError:
    return UserError(what, where="variant", fix=f"write {' or '.join(patterns)}")
