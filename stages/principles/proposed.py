"""Principles of no file: proposals that a step gives to another one in place of a constitution.

Comes in: a stage's `constitution` and its inputs. Goes out: principles, from one of the two. What a
step reads is identified by that step, so a stage's `identity` has nothing to add for it.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from stages.guards.errors import UserError
from stages.principles.constitution import Constitution, Principle
from stages.principles.faults import slug
from stages.principles.lint import FUNCTION_WORDS
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, advise_on_missing
from stages.runtime.context import Context
from stages.runtime.rows import Proposal

INPUT = "principles"
"""The input's name."""
LONGEST_ID = 64


def check_source(
    selection: Selection | None, inputs: Mapping[str, Any], stage: str, name: str = INPUT
) -> None:
    """Refuse a stage with no principles, and one with two sources of them.

    Args:
        name: of the input that gives some.

    Raises:
        UserError: it has none or two.
    """
    if (selection is None) != (name in inputs):
        has = "neither a constitution nor" if selection is None else "both a constitution and"
        raise UserError(
            f"it has {has} an input `{name}`",
            where=f"stage {stage!r}",
            fix="give one of the two: `constitution: ${constitution}`, or under `inputs` a step "
            "that gives proposals",
        )


def identity_of(selection: Selection | None, *fields: str) -> dict[str, dict[str, Any]] | None:
    """Return the part of a constitution that identifies a result; None where an input has it."""
    return select(selection).identity(*fields) if selection else None


def principles_of(
    selection: Selection | None, inputs: Mapping[str, Artifact]
) -> tuple[Principle, ...]:
    """Return the principles of the input, where there is one, else those of the selection.

    Raises:
        UserError: as `select`; a proposal that no constitution file could hold.
    """
    if INPUT not in inputs:
        return select(selection).principles if selection else ()
    return tuple(as_principle(row) for row in inputs[INPUT].rows(Proposal))


def refuse_no_principles(
    principles: Sequence[Principle],
    rows: Sequence[Any],
    inputs: Mapping[str, Artifact],
    context: Context,
) -> None:
    """Refuse rows that are to be worked on under no principle.

    Raises:
        UserError: there are rows, and no principle.
    """
    if rows and not principles:
        raise UserError(
            f"its input {INPUT!r} holds no principle",
            where=f"step {context.step!r}",
            fix=advise_on_missing({INPUT: inputs[INPUT]}, "propose some, or give a constitution"),
        )


def as_principle(row: Proposal) -> Principle:
    """Return a proposal as a principle.

    Raises:
        UserError: a constitution could not hold it.
    """
    values: dict[str, Any] = {"id": row.id, "text": row.text, "weight": row.weight}
    values |= {"opposite": row.opposite or None, "source": row.origin or None}
    try:
        return Principle.model_validate(values)
    except ValidationError as error:
        fault = error.errors()[0]
        raise UserError(
            f"it is no principle: {fault['msg']}",
            where=f"proposal {row.id!r}, {'.'.join(map(str, fault['loc']))}",
            fix="correct what it was read from",
        ) from None


def as_proposal(principle: Principle) -> Proposal:
    """Return a principle of a file as a proposal that was written about nothing."""
    return Proposal(
        id=principle.id,
        prompt_id="",
        text=principle.text,
        opposite=principle.opposite or "",
        weight=principle.weight,
        origin=principle.source or "",
    )


def clean(text: str) -> str:
    """Return a principle as a model wrote it, as one sentence without marks around it."""
    plain = " ".join(text.split()).strip("\"'`*_ \u201c\u201d")
    plain = re.sub(r"^(?:principle|rule)(?:\s+\d+)?\s*[:.]\s*", "", plain, flags=re.IGNORECASE)
    plain = plain.strip("\"'`*_ \u201c\u201d")
    return plain if not plain or plain[-1] in ".!?" else f"{plain}."


def proposal_id(text: str) -> str:
    """Return the id of a principle that a model wrote: its first words and a mark of its content.

    The same text has the same id, wherever and in whatever order it is written.
    """
    mark = hashlib.sha256(text.casefold().encode()).hexdigest()[:6]
    words = [word for word in slug(text).split("-") if word not in FUNCTION_WORDS]
    return f"{slug('-'.join(words[:5]) or 'principle')[: LONGEST_ID - 7]}-{mark}"


def as_constitution(rows: Sequence[Proposal], name: str, **facts: Any) -> Constitution:
    """Return proposals as a principle set.

    Raises:
        UserError: there is none, or two have one id.
    """
    principles = [as_principle(row) for row in rows]
    try:
        return Constitution.model_validate({"name": name, "principles": principles, **facts})
    except ValidationError as error:
        raise UserError(
            f"these proposals are no constitution: {error.errors()[0]['msg']}",
            where=name,
            fix="look at the steps that made them",
        ) from None
