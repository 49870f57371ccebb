"""The prompts of an online training: read from the inputs, and checked against the model.

In: Prompt rows. Out: prompts that leave room for an answer, and what was dropped, with reasons.
"""

from collections.abc import Mapping
from typing import Any

from stages.generators.chat import encode_chat, refuse_forged_turns, turn_marks
from stages.guards.errors import UserError
from stages.runtime.artifacts import Artifact
from stages.runtime.context import Context
from stages.runtime.generation import RowFailure
from stages.runtime.rows import Dropped, Prompt
from stages.text.respond import distinct_prompts
from stages.training.batch_reading import context_length
from stages.training.examples import refuse_if_none
from stages.training.model_files import template_variables


def read_prompts(
    inputs: Mapping[str, Artifact], others: set[str], step: str
) -> tuple[list[Prompt], list[Dropped]]:
    """The prompts of all inputs but some `others`; of two with one id the first is used.

    Raises:
        UserError: there are none.
    """
    sources = [artifact for name, artifact in inputs.items() if name not in others]
    prompts, dropped = distinct_prompts(sources)
    if not prompts:
        raise UserError(
            "there are no prompts to answer",
            where=f"step {step!r}",
            fix="wire `prompts` to a step with rows",
        )
    return prompts, dropped


def drop_too_long(
    prompts: list[Prompt],
    model: Any,
    tokenizer: Any,
    arguments: Any,
    context: Context,
) -> tuple[list[Prompt], list[Dropped]]:
    """Prompts that the chat template can write, without marks of turns, that leave room for an
    answer in the model's context; and the others.

    Args:
        arguments: the trainer's; they hold the longest answer.

    Raises:
        UserError: there is none.
    """
    limit = context_length(model.config)
    answer = getattr(arguments, "max_completion_length", None)  # online DPO has the other option
    answer = int(answer or getattr(arguments, "max_new_tokens", None) or 0)
    variables = template_variables(context)
    fitting = []
    dropped = []
    marks = turn_marks(tokenizer, variables)
    for prompt in prompts:
        try:
            refuse_forged_turns(prompt.messages, marks)
            tokens = encode_chat(tokenizer, prompt.messages, variables, lead_in=True)
        except RowFailure as refusal:
            dropped.append(Dropped(id=prompt.id, reason=refusal.reason, detail=refusal.detail))
            continue
        if limit is None or len(tokens) + answer <= limit:
            fitting.append(prompt)
        else:
            dropped.append(Dropped(id=prompt.id, reason="no room for an answer"))
    if not fitting and any(row.detail for row in dropped):
        refuse_if_none([], [row for row in dropped if row.detail], context)
    if not fitting:
        raise UserError(
            f"no prompt leaves room for an answer of {answer} tokens in the model's {limit}",
            where=f"step {context.step!r}",
            fix="lower args.max_completion_length, or give shorter prompts",
        )
    return fitting, dropped


def check_rollout_size(prompts: list[Prompt], arguments: Any, context: Context) -> None:
    """Refuse fewer prompts than one rollout takes.

    The trainers leave out a rollout that cannot be filled; they would learn nothing.
    """
    completions = getattr(arguments, "generation_batch_size", 0)
    needed = completions // getattr(arguments, "num_generations", 1)
    if len(prompts) < needed:
        raise UserError(
            f"a rollout takes {needed} different prompts, and there are {len(prompts)}",
            where=f"step {context.step!r}",
            fix="give more prompts, lower args.per_device_train_batch_size or "
            "args.steps_per_generation, or raise args.num_generations",
        )
