"""The last look at rows before a trainer gets them: the chat template's variables, and their
length.

In: TRL's prompt-completion or preference rows with `id`. Out: those that fit, and what was dropped.
TRL would cut a row that is longer than `max_length`; its answer would lose the end of its turn, and
the model would learn not to stop.
"""

from typing import Any

from stages.runtime.context import Context
from stages.runtime.errors import UserError
from stages.runtime.models import Model
from stages.runtime.rows import Dropped

SIDES = ("completion", "chosen", "rejected")


def prepare(
    examples: list[dict[str, Any]],
    base: Model,
    config_class: str,
    args: dict[str, Any],
    context: Context,
) -> tuple[list[dict[str, Any]], list[Dropped]]:
    """Rows with the variables that the generator's chat template had, less those longer than
    `max_length` tokens.

    Raises:
        UserError: none is left.
    """
    variables = context.engines.meaning.get("template_arguments")
    if variables:
        examples = [example | {"chat_template_kwargs": variables} for example in examples]
    limit = _max_length(config_class, args)
    if limit is None:
        return examples, []
    from stages.training.model_files import load_tokenizer

    tokenizer = load_tokenizer(base, args)
    if not tokenizer.chat_template:  # `args` bring one, and TRL applies it
        return examples, []
    kept, dropped = [], []
    for example in examples:
        sides = [example["prompt"] + example[side] for side in SIDES if side in example]
        longest = max(
            len(tokenizer.apply_chat_template(s, return_dict=False, **(variables or {})))
            for s in sides
        )
        if longest > limit:
            dropped.append(Dropped(id=example["id"], reason="longer than max_length"))
        else:
            kept.append(example)
    if not kept:
        raise UserError(
            f"every row is longer than max_length ({limit} tokens)",
            where=f"step {context.step!r}",
            fix="raise args.max_length",
        )
    return kept, dropped


def _max_length(config_class: str, args: dict[str, Any]) -> int | None:
    import trl

    return args.get(
        "max_length", getattr(trl, config_class).__dataclass_fields__["max_length"].default
    )
