"""The system turn in which a model reads principles: what it says, and what it depends on."""

from collections.abc import Sequence
from typing import Any

from stages.guards.errors import UserError
from stages.guards.templates import render, template_hash
from stages.principles.constitution import Constitution, Principle, fields_read
from stages.principles.retrieve import FIELDS, Retrieval, retrieval_identity
from stages.principles.select import Selection, select
from stages.runtime.rows import Message

SYSTEM_TEMPLATE = "text/system.jinja"
"""Its variable is principles."""


def selected(selection: Selection | None, stage: str) -> Constitution:
    """The principles that a model reads in context.

    Raises:
        UserError: no constitution is named.
    """
    if selection is None:
        raise UserError(
            "principles that a model reads in context need a constitution",
            where=f"stage {stage!r}",
            fix="add `constitution: ${constitution}`",
        )
    return select(selection)


def system_turn(principles: Sequence[Principle], template: str) -> list[Message]:
    """The turn that states some principles; nothing where there are none."""
    if not principles:
        return []
    return [{"role": "system", "content": render(template, principles=principles)}]


def some_models_identity(
    in_context: Sequence[str],
    selection: Selection | None,
    template: str,
    stage: str,
    retrieval: Retrieval | None = None,
) -> dict[str, Any]:
    """What a stage adds to its identity whose models read the turn where `in_context` names them.

    Raises:
        UserError: models read it, and no constitution is named.
    """
    facts = system_identity(selection, template, stage, retrieval) if in_context else None
    return {"constitution": facts, "system_template": None}


def system_identity(
    selection: Selection | None, template: str, stage: str, retrieval: Retrieval | None = None
) -> dict[str, Any]:
    """What the turn depends on: the principles that it states, in order, and the template.

    Raises:
        UserError: no constitution is named.
    """
    constitution = selected(selection, stage)
    fields = fields_read([template], ["text"])
    if retrieval:
        fields = (*fields, *FIELDS)
    return {
        "constitution": constitution.identity(*fields),
        "order": [principle.id for principle in constitution.principles],
        "template": template_hash(template),
        **retrieval_identity(retrieval),
    }
