"""From rows to a trainer's examples: which inputs and rows count, the chat template's variables,
and which examples are short enough.

In: rows, and TRL's prompt-completion or preference rows with `id`. Out: examples that fit, and what
was dropped, with reasons. TRL would cut a row that is longer than `max_length`; its answer would
lose the end of its turn, and the model would learn not to stop.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.generators.chat import (
    TemplateRefusal,
    arrange,
    encode_texts,
    refuse_forged_turns,
    render_chat,
    template_only,
    turn_marks,
)
from stages.guards.errors import UserError
from stages.runtime.artifacts import Artifact, advise_on_missing, list_reasons
from stages.runtime.context import Context
from stages.runtime.generation import RowFailure
from stages.runtime.manifest import canonical
from stages.runtime.models import Model
from stages.runtime.rows import Dropped
from stages.text.cut_off import ending_fault
from stages.training.batch_reading import context_length, model_config
from stages.training.config import TrainingConfig
from stages.training.frame import Examples
from stages.training.model_files import load_tokenizer, template_variables
from stages.training.turn_ends import cut_after_turns

SIDES = ("completion", "chosen", "rejected")
CONVERSATIONS = ("prompt", *SIDES)
"""Columns of messages."""
AT_ONCE = 1000
"""Examples whose texts a tokenizer reads at once."""
Sides = dict[str, NDArray[np.int32]]
"""The token ids of an example's sides, by name; lists would take ten times the memory."""


def other_inputs(inputs: Mapping[str, Artifact], *names: str) -> dict[str, Artifact]:
    """The inputs but those of `names`, in the order of their names, as in a step's identity."""
    return {name: inputs[name] for name in sorted(inputs) if name not in names}


def name_inputs(sources: Mapping[str, Artifact]) -> str:
    """Some inputs and their steps, as the place of an error."""
    if not sources:
        return "the step's `inputs`"
    steps = ", ".join(f"{name!r} (step {artifact.step!r})" for name, artifact in sources.items())
    return f"input {steps}"


def nothing_left(
    sources: Mapping[str, Artifact], dropped: Sequence[Dropped], row: str, advice: str
) -> UserError:
    """The error of a training without an example: how many rows each reason cost.

    Args:
        dropped: the rows of `sources` that did not become examples; this step fails, so no file
            will hold them.
        row: what one of them is, such as "pair".
        advice: what to do where the sources hold no rows and dropped none.
    """
    where = name_inputs(sources)
    if not dropped:
        fix = advise_on_missing(sources, advice)
        what = f"no {row} is left to train on: 0 came from the inputs"
        return UserError(what, where=where, fix=fix)
    fix = advice
    reasons = Counter(one.reason for one in dropped)
    if reasons.most_common(1)[0][0] == ending_fault("length"):
        fix = (
            "raise `max_tokens` under `sampling` of the step that wrote the texts; if its model "
            "never stops, see which token ends a turn in its chat template"
        )
    return UserError(
        f"no {row} is left to train on: {len(dropped)} are unusable ({list_reasons(reasons)})",
        where=where,
        fix=fix,
    )


class Sieve:
    """Accepts rows without a fault, each once; what it drops it keeps with reasons."""

    def __init__(self) -> None:
        self.dropped: list[Dropped] = []
        self.seen: set[str] = set()

    def accepts(self, row: Any, fault: str, *content: Any) -> bool:
        """Whether a row becomes an example.

        Args:
            fault: why it cannot, or an empty string.
            content: what the example would hold; a row with the content of another is dropped.
        """
        key = canonical(content)
        if not fault and key in self.seen:
            fault = "duplicate"
        if fault:
            self.dropped.append(Dropped(id=row.id, reason=fault))
            return False
        self.seen.add(key)
        return True


def prepare_examples(
    examples: Examples, base: Model, config: TrainingConfig, context: Context
) -> tuple[Examples, list[Dropped]]:
    """Examples with the chat template's variables, less those that it refuses and those longer than
    `max_length` tokens.

    Raises:
        UserError: none is left.
    """
    variables = template_variables(context)
    tokenizer = cut_after_turns(load_tokenizer(base, config.args))
    examples = with_variables(arrange_examples(examples, variables), variables)
    closings = [closing for _, closing in context.engines.thought_marks]
    examples, without_thoughts = drop_cut_thoughts(examples, tokenizer, variables, closings)
    examples, texts, refused = render_examples(examples, tokenizer, variables)
    refused = [*without_thoughts, *refused]
    refuse_if_none(examples, refused, context)
    lengths = list(map(longest, encode_sides(tokenizer, texts)))
    fitting, dropped = drop_longer(examples, lengths, max_length(config), base, context)
    return fitting, [*refused, *dropped]


def drop_refused(
    examples: Examples, base: Model, config: TrainingConfig, context: Context
) -> tuple[Examples, list[Dropped]]:
    """Examples as the chat template gets them, less those that it refuses; maybe none."""
    variables = template_variables(context)
    tokenizer = load_tokenizer(base, config.args)
    examples = arrange_examples(examples, variables)
    readable, _, refused = render_examples(examples, tokenizer, variables)
    return readable, refused


def arrange_examples(examples: Examples, variables: Mapping[str, Any]) -> Examples:
    """Examples with their messages as the chat template gets them (`merge_system`)."""
    arranged = []
    for example in examples:
        columns = {
            name: arrange(example[name], variables) for name in CONVERSATIONS if name in example
        }
        arranged.append(example | columns)
    return arranged


def drop_cut_thoughts(
    examples: Examples, tokenizer: Any, variables: Mapping[str, Any], closings: Sequence[str]
) -> tuple[Examples, list[Dropped]]:
    """Examples whose thoughts the chat template writes, and those of which it writes the answer
    alone, as templates of models that think do.

    Args:
        closings: marks that end thoughts.
    """
    whole: Examples = []
    dropped: list[Dropped] = []
    for example in examples:
        answers = [example[side][-1]["content"] for side in SIDES if example.get(side)]
        thinking = [text for text in answers if any(mark in text for mark in closings)]
        if all(_writes(tokenizer, text, variables) for text in thinking):
            whole.append(example)
        else:
            reason = "the model's chat template leaves out thoughts"
            detail = "name one that keeps them in args.chat_template_path"
            dropped.append(Dropped(id=example["id"], reason=reason, detail=detail))
    return whole, dropped


def _writes(tokenizer: Any, answer: str, variables: Mapping[str, Any]) -> bool:
    """Whether the chat template writes all of an answer, whatever its blanks."""
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": answer}]
    try:
        text = render_chat(tokenizer, turns, variables)
    except TemplateRefusal:
        return True  # whoever measures the example says so
    return "".join(answer.split()) in "".join(text.split())


def render_examples(
    examples: Examples, tokenizer: Any, variables: Mapping[str, Any], whole: bool = False
) -> tuple[Examples, list[dict[str, str]], list[Dropped]]:
    """The examples that the chat template can write, their sides as it writes them, and the others.

    Also one whose words hold a mark of turns is dropped: see `turn_marks`.

    Args:
        whole: a side holds its prompt too.
    """
    readable: Examples = []
    texts: list[dict[str, str]] = []
    dropped: list[Dropped] = []
    marks = turn_marks(tokenizer, variables)
    for example in examples:
        opening = [] if whole else example["prompt"]
        sides = {side: opening + example[side] for side in SIDES if side in example}
        try:
            for messages in sides.values():
                refuse_forged_turns(messages, marks)
            texts.append({side: render_chat(tokenizer, sides[side], variables) for side in sides})
        except RowFailure as refusal:
            dropped.append(Dropped(id=example["id"], reason=refusal.reason, detail=refusal.detail))
        else:
            readable.append(example)
    return readable, texts, dropped


def encode_sides(tokenizer: Any, texts: Sequence[Mapping[str, str]]) -> list[Sides]:
    """The token ids of what `render_examples` wrote."""
    encoded: list[Sides] = []
    for start in range(0, len(texts), AT_ONCE):
        part = texts[start : start + AT_ONCE]
        ids = iter(encode_texts(tokenizer, [text for sides in part for text in sides.values()]))
        encoded += [{side: np.array(next(ids), np.int32) for side in sides} for sides in part]
    return encoded


def longest(sides: Sides) -> int:
    """Tokens of an example's longest side."""
    return max(map(len, sides.values()))


def refuse_if_none(examples: Examples, refused: Sequence[Dropped], context: Context) -> None:
    """Refuse examples of which none can be written.

    Raises:
        UserError: with the chat template's words, or the mark of turns.
    """
    if examples or not refused:
        return
    first = refused[0]
    raise UserError(
        f"{first.reason}, and no row is left to train on: all {len(refused)} were refused "
        f"({first.detail})",
        where=f"step {context.step!r}, row {first.id}",
        fix="give conversations that its chat template can write, or another template",
    )


def with_variables(examples: Examples, variables: Mapping[str, Any]) -> Examples:
    """Examples that hand variables to the chat template, where there are any."""
    read = template_only(variables)
    if not read:
        return examples
    return [example | {"chat_template_kwargs": dict(read)} for example in examples]


def max_length(config: TrainingConfig) -> int | None:
    """The most tokens of an example: the user's `args`, or TRL's default."""
    import trl

    fields = getattr(trl, config.trainer_options).__dataclass_fields__
    limit: int | None = config.args.get("max_length", fields["max_length"].default)
    return limit


def drop_longer(
    examples: Examples,
    lengths: Sequence[int],
    limit: int | None,
    base: Model,
    context: Context,
) -> tuple[Examples, list[Dropped]]:
    """Examples of at most `limit` tokens that the model can read, and the others.

    Raises:
        UserError: none is left.
    """
    readable = context_length(model_config(base, "model"))
    reason, fix = "longer than max_length", "raise args.max_length"
    if readable is not None and (limit is None or readable < limit):
        limit = readable
        reason, fix = "longer than the model's context", "give shorter rows, or another model"
    fitting: Examples = []
    dropped: list[Dropped] = []
    for example, length in zip(examples, lengths, strict=True):
        if limit is not None and length > limit:
            dropped.append(Dropped(id=example["id"], reason=reason))
        else:
            fitting.append(example)
    if not fitting:
        raise UserError(
            f"every row is {reason} ({limit} tokens)",
            where=f"step {context.step!r}",
            fix=fix,
        )
    return fitting, dropped
