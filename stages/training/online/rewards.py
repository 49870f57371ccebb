"""The reward composer: what a rollout earns, as a mapping of named terms in the pipeline file.

    rewards:
      principles: {term: reward_model, model: rm, constitution: "${constitution}", draw: 3, always:
          [no-flattery]}
      short:      {term: length, weight: -1.0, per: 100}
      ended:      {term: unfinished, weight: 6.0}

In: the mapping. Out: checked terms, and what identifies them; `reward_terms` makes them work. Each
term gives a number a completion, is multiplied by its `weight`, added to the others, and logged by
itself.

The draw of principles is SALMON's (Sun et al. 2023, arXiv 2310.05910, section 3.3): `draw` of them
a rollout, without replacement, in proportion to their weights, more of some on some kinds of
prompts (`boost`), and beside them those that
are always on: principles against what the policy was seen to exploit, the paper's RL-time
intervention. All completions of a prompt are scored under the same draw, or a group's baseline
would mean nothing.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any

from pydantic import Field

from stages.preferences.judging.rating import YES_NO, Scale
from stages.principles.select import Selection, select
from stages.runtime.errors import UserError, did_you_mean
from stages.runtime.provenance import module_identity
from stages.runtime.settings import identity_of, machine, parse_config
from stages.runtime.templates import template_hash


@dataclass(frozen=True)
class RewardModelTerm:
    """A reward model's score of the completion.

    Args:
        model: the step's input that holds it.
        constitution: for a model that reads principles: those that it may be shown.
        draw: how many of them a rollout; null: all, in the file's order.
        always: ids of those shown in every rollout, before the drawn ones.
        intervention: a further set, shown in every rollout before all others; nothing need be
            trained for it.
        boost: by kind of prompt, what is added to the weights of the named principles in the draw.
        each: score under every shown principle by itself, and take the mean: for a model too small
            to weigh several at once (`reward_accuracy` tells: one of a list, first). The prefix is
            shared, so it costs little more.
        scale, shift: the score becomes (score - shift) * scale.
    """

    model: str
    weight: float = 1.0
    constitution: Selection | None = None
    draw: int | None = None
    always: tuple[str, ...] = ()
    intervention: Selection | None = None
    boost: dict[str, dict[str, Annotated[float, Field(ge=0)]]] = field(default_factory=dict)
    each: bool = False
    scale: float = 1.0
    shift: float = 0.0
    batch_size: Annotated[int, Field(ge=1)] = machine(32)


@dataclass(frozen=True)
class LengthTerm:
    """`min(factor * tokens / per, cap)`; `factor` by kind of prompt, 1 for a kind that is not
    named.
    """

    weight: float = 1.0
    per: Annotated[int, Field(gt=0)] = 1024
    cap: float = 1.0
    factor: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class UnfinishedTerm:
    """-1 for a completion that was cut off before it ended its turn, else 0."""

    weight: float = 1.0


@dataclass(frozen=True)
class JudgeTerm:
    """A judge's expected rating of the completion, without a reward model (d-RLAIF, Lee et al.
    2023, section 2.3).

    Args:
        model: the step's input that holds the judge.
        constitution: what it rates by; their weights average the ratings.
        draw: how many principles a rollout; null: all.
        scale: the answers it may give, and what each is worth.
        rescale: bring ratings to [-1, 1], as in the paper.
        template: what it reads.
    """

    model: str
    constitution: Selection
    weight: float = 1.0
    draw: int | None = None
    scale: Scale = field(default_factory=lambda: dict(YES_NO))
    rescale: bool = True
    template: str = "preferences/judging/verdict.jinja"


@dataclass(frozen=True)
class PythonTerm:
    """A function of yours, `module:function`, called with (prompt messages, completion, row) for
    each completion.

    `row` is a dict with the prompt's `id` and `kind`. It gives a number, or None where it cannot
    tell.
    """

    function: str
    weight: float = 1.0


Term = RewardModelTerm | LengthTerm | UnfinishedTerm | JudgeTerm | PythonTerm
TERMS: dict[str, type] = {
    "reward_model": RewardModelTerm,
    "length": LengthTerm,
    "unfinished": UnfinishedTerm,
    "judge": JudgeTerm,
    "python": PythonTerm,
}


def read_terms(given: Mapping[str, Any], stage: str, option: str = "rewards") -> dict[str, Term]:
    """Check the terms.

    Raises:
        UserError: there are none, one is no mapping, its kind or an option is unknown, a principle
        does not exist, or an option says nothing beside the others.
    """
    terms: dict[str, Term] = {}
    for name, values in given.items():
        where = f"stage {stage!r}, {option}.{name}"
        if values is None:  # a variant may remove what it inherits
            continue
        values = dict(values) if isinstance(values, Mapping) else {}
        kind = values.pop("term", None)
        if kind not in TERMS:
            raise UserError(
                f"no term of a reward is called {kind!r}.{did_you_mean(str(kind), list(TERMS))}",
                where=where,
                fix=f"write {{term: <one of {', '.join(TERMS)}>, ...}}",
            )
        terms[name] = parse_config(TERMS[kind], values, where)
        _check_principles(terms[name], where)
    if not terms:
        raise UserError(
            f"`{option}` names no term",
            where=f"stage {stage!r}",
            fix=f"give at least one: {option}: {{rm: {{term: reward_model, model: <an input>}}}}",
        )
    return terms


def _check_principles(term: Term, where: str) -> None:
    if isinstance(term, PythonTerm):
        load_function(term.function, where)
    if isinstance(term, JudgeTerm) and len(set(term.scale.values())) < 2:
        raise UserError(
            f"every option of the scale is worth {next(iter(term.scale.values()))}",
            where=where,
            fix="give values that differ",
        )
    if not isinstance(term, RewardModelTerm | JudgeTerm) or term.constitution is None:
        if isinstance(term, RewardModelTerm) and (
            term.draw or term.always or term.boost or term.each
        ):
            what = "`draw`, `always`, `boost` and `each` need a constitution"
            raise UserError(what, where=where, fix="add `constitution: ...`")
        return
    ids = [p.id for p in select(term.constitution).principles]
    whole = [
        p.id for p in select(Selection(term.constitution.name)).principles
    ]  # a boost of one that is left out boosts none
    boosted = [(p, whole) for extra in getattr(term, "boost", {}).values() for p in extra]
    for name, known in [*((p, ids) for p in getattr(term, "always", ())), *boosted]:
        if name not in known:
            raise UserError(
                f"there is no principle {name!r} here.{did_you_mean(name, known)}",
                where=where,
                fix=f"choose from {', '.join(known)}",
            )
    always = getattr(term, "always", ())
    left, least = len(ids) - len(set(always)), 1
    if isinstance(term, RewardModelTerm):
        least = 0 if always or term.intervention else 1
        _check_boost(term, where)
    if term.draw is not None and not least <= term.draw <= left:
        fix = f"give {least} to {left}"
        raise UserError(
            f"draw: {term.draw} of {left} principles cannot be drawn", where=where, fix=fix
        )


def _check_boost(term: RewardModelTerm, where: str) -> None:
    if term.boost and term.draw is None:
        raise UserError(
            "`boost` says nothing where all principles are shown",
            where=where,
            fix="add `draw: 3`, or leave it out",
        )
    for name in sorted(
        {p for extra in term.boost.values() for p in extra}.intersection(term.always)
    ):
        raise UserError(
            f"{name!r} is always shown, so nothing can boost it",
            where=where,
            fix="leave it out of `boost`",
        )


def load_function(path: str, where: str) -> Any:
    """The function that `module:function` names.

    Raises:
        UserError: there is no such module or function.
    """
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"{path!r} names no function: {error}", where=where, fix="write module:function"
        ) from None
    if not callable(found):
        raise UserError(f"{path!r} is no function", where=where, fix="write module:function")
    return found


def terms_identity(terms: Mapping[str, Term]) -> dict[str, Any]:
    """What bears meaning in the terms: options, principle texts in their order, template and
    function sources.
    """
    found: dict[str, Any] = {}
    for name, term in terms.items():
        meant = identity_of(term)
        for option in ("constitution", "intervention"):
            selection = getattr(term, option, None)
            if selection is not None:
                chosen = select(selection)
                meant[option] = chosen.identity("text", "weight")
                meant[f"{option}_order"] = [p.id for p in chosen.principles]
        if isinstance(term, JudgeTerm):
            meant["template"] = template_hash(term.template)
        if isinstance(term, PythonTerm):
            module = importlib.import_module(term.function.partition(":")[0])
            meant["source"] = module_identity(module)
        found[name] = {
            "term": next(kind for kind, cls in TERMS.items() if isinstance(term, cls))
        } | meant
    return found


def models_named(terms: Mapping[str, Term]) -> dict[str, str]:
    """Which inputs the terms read, by term."""
    return {
        name: term.model
        for name, term in terms.items()
        if "model" in {f.name for f in fields(term)}
    }  # type: ignore[union-attr]
