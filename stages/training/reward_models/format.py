"""What a reward model reads: the layout it was trained on is saved with its weights, so it never
reads another.

In: a conversation, a response and principle texts. Out: the messages that the model's chat template
turns into text; and `credo_reward.json` beside the weights, which is part of the model's content
id.

A plain reward model reads the conversation itself, as the chat template writes it, to the last
token: what a template writes after the end of a turn stays, unlike where answers are learnt or
measured (`turn_ends.py`). A scalar counts nothing, and other tools read the model that way. One
that reads principles gets a single user turn in which they stand last, after request and response,
so that scores under many principles share a prefix; the scalar is read where its answer would
begin. That order is SALMON's (Sun et al. 2023, arXiv 2310.05910, section 3.3; there the response
comes before the request); the words are our own.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from stages.guards.disk import write_atomically
from stages.guards.errors import UserError
from stages.guards.files import exists, read_text
from stages.guards.templates import find_template, read_template, render_source, template_hash
from stages.principles.constitution import Principle, wording
from stages.runtime.models import Model
from stages.runtime.rows import Message, request_text

FILE = "credo_reward.json"
LAYOUT = "training/reward_models/reward.jinja"
Objective = Literal["preference", "cost", "compliance", "value", "value_classes"]
VALUES = ("value", "value_classes")
"""Of these a score is a number in [-1, 1]: whether an answer is opposed to a value, or for it."""


@dataclass(frozen=True)
class RewardFormat:
    """What a reward model reads, and what its scores mean."""

    __pydantic_config__ = ConfigDict(strict=True, extra="forbid")
    objective: Objective
    """`preference` (a higher score is better), `cost` (above 0: unsafe), `compliance` (the log-odds
    that a principle is kept), `value` (tanh of it is a label from -1 to 1) or `value_classes`
    (logits of the labels -1, 0 and 1).
    """
    principles: bool
    """Whether the model reads principles; it then always needs some."""
    template: str
    """Source of the template that makes one user turn of request, response and principles; "": the
    plain conversation.
    """

    @property
    def outputs(self) -> int:
        """How many numbers the model ends in."""
        return 3 if self.objective == "value_classes" else 1

    def wording(self, principle: Principle, negated: bool = False) -> str:
        """What the model reads of a principle; of a value also its name, which is its id."""
        text = wording(principle, negated)
        if self.objective in VALUES and not negated:
            return f"{principle.id.replace('-', ' ')}: {text}"
        return text

    def messages(
        self, prompt: list[Message], response: str, principles: Sequence[str] = ()
    ) -> list[Message]:
        """What the tokenizer's chat template gets, with `template_arguments()`.

        Raises:
            UserError: principles for a model that reads none, none for one that needs them, or an
            unusable template.
        """
        self.refuse_mismatch(bool(principles), "reward model")
        if not self.template:
            return [*prompt, {"role": "assistant", "content": response}]
        text = render_source(
            self.template,
            "the reward model's template",
            request=request_text(prompt),
            response=response,
            principles=list(principles),
        )
        return [{"role": "user", "content": text}]

    def refuse_mismatch(self, has_principles: bool, where: str) -> None:
        """Refuse principles for a model that reads none, and none for one that needs them."""
        if has_principles and not self.principles:
            raise UserError(
                "this reward model was trained without principles and cannot read any",
                where=where,
                fix="score without principles, or give its `reward_model` step a constitution",
            )
        if self.principles and not has_principles:
            raise UserError(
                "this reward model reads principles and was given none",
                where=where,
                fix="add `constitution: ...`, with at least one principle",
            )

    def template_arguments(self) -> dict[str, Any]:
        """Further arguments for the chat template: a single user turn is followed by the opening of
        an answer.
        """
        return {"add_generation_prompt": True} if self.template else {}


PLAIN = RewardFormat("preference", principles=False, template="")


def make_format(objective: Objective, principles: bool, template: str | None) -> RewardFormat:
    """The format of a reward model to be trained.

    Args:
        template: a file; None for the plain conversation, or `LAYOUT` with principles.

    Raises:
        UserError: no such template, one that does not parse, or one that leaves out what it must
        show.
    """
    name = template
    if name is None:
        name = LAYOUT if principles else ""
    if not name and principles:
        raise UserError(
            "a reward model that reads principles needs a template that shows them",
            where="stage 'reward_model'",
            fix=f"leave `template` out for {LAYOUT}, or give a .jinja file of your own",
        )
    if not name:
        return RewardFormat(objective, False, "")
    # It reports file and line if the template does not parse.
    template_hash(name)
    file = find_template(name)
    layout = RewardFormat(objective, principles, read_template(name))
    _check_template(layout, file)
    return layout


def _check_template(layout: RewardFormat, file: Path) -> None:
    """Refuse a template that leaves out what it must show, naming what is missing."""
    marks = ["(request)", "(response)"] + ["(principle)"] * layout.principles
    prompt: list[Message] = [{"role": "user", "content": marks[0]}]
    text = layout.messages(prompt, marks[1], tuple(marks[2:]))[0]["content"]
    hidden = [mark.strip("()") for mark in marks if mark not in text]
    if hidden:
        raise UserError(
            f"the template does not show the {' and the '.join(hidden)}",
            where=str(file),
            fix="use the variables request, response and principles (a list)",
        )


def write_format(folder: Path, layout: RewardFormat) -> None:
    """Put the format beside a model's weights."""
    text = json.dumps(asdict(layout), indent=2, sort_keys=True, ensure_ascii=False)
    write_atomically(folder / FILE, text)


def read_format(model: Model) -> RewardFormat:
    """The format a reward model was trained on; a model without a `credo_reward.json` reads the
    plain conversation.

    Raises:
        UserError: the file is damaged.
    """
    file = Path(model.path) / FILE
    if not exists(file):
        return PLAIN
    try:
        return TypeAdapter(RewardFormat).validate_json(read_text(file))
    except (ValidationError, UserError) as error:
        message = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.what
        raise UserError(
            f"{FILE} is damaged: {message}",
            where=model.path,
            fix="copy the model again, or train it again",
        ) from None
