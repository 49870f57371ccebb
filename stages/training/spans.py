"""Which tokens of a conversation are learnt: those of the assistant's turns in its completion, and
nothing else.

In: a prompt and a completion that may itself hold turns of the user. Out: token ids, and labels
that are -100 wherever nothing is learnt. An answer begins where the prompt with the template's
lead-in ends, as in TRL, and its last token is the end of its turn: what the template writes after
it (a newline in ChatML) is not learnt, and at the end of the conversation it is not there
(`turn_ends.py`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from stages.generators.chat import arrange, encode_chat
from stages.guards.errors import UserError
from stages.runtime.rows import Message
from stages.training.batch_reading import common_length, pad_rows
from stages.training.config import TrainingConfig
from stages.training.turn_ends import cut_after_turns

IGNORED = -100
_UNUSABLE = (
    "packing",
    "padding_free",
    "assistant_only_loss",
    "chat_template_path",
    "dataset_kwargs",
    "completion_only_loss",
)
"""What TRL would apply while it makes tokens, which is done here instead."""


def check_token_options(config: TrainingConfig) -> None:
    """Refuse options of SFTConfig that would not do what they say."""
    for name in _UNUSABLE:
        if not config.args.get(name):
            continue
        fix = "remove it"
        if name == "chat_template_path":
            fix = "put a chat_template.jinja into the model's folder"
        raise UserError(
            f"args: {name!r} does not go with this stage, which makes its tokens itself",
            where=f"stage {config.stage!r}",
            fix=fix,
        )


def learnt_tokens(
    tokenizer: Any,
    prompt: Sequence[Message],
    completion: Sequence[Message],
    variables: Mapping[str, Any] | None = None,
) -> tuple[list[int], list[int]]:
    """Token ids of the conversation, and labels over the assistant's turns in `completion`.

    Args:
        variables: of the chat template.

    Raises:
        UserError: the chat template writes earlier turns differently once later ones follow.
        TemplateRefusal: it refuses the turns.
    """

    tokenizer = cut_after_turns(tokenizer)

    def tokens(messages: Sequence[Message], lead_in: bool = False) -> list[int]:
        return encode_chat(tokenizer, messages, variables, lead_in)

    prompt = arrange(prompt, variables)
    whole = [*prompt, *completion]
    ids = tokens(whole)
    labels = [IGNORED] * len(ids)
    for place in range(len(prompt), len(whole)):
        if whole[place]["role"] != "assistant":
            continue
        end = len(ids)
        if place < len(whole) - 1:
            until = tokens(whole[: place + 1])
            if until != ids[: len(until)]:
                raise UserError(
                    "the model's chat template writes an earlier answer differently once another "
                    "turn follows",
                    where="the chat template",
                    fix="use a template that writes every turn the same way wherever it stands",
                )
            end = len(until)
        start = common_length([tokens(whole[:place], lead_in=True), ids])
        labels[start:end] = ids[start:end]
    return ids, labels


def collate_tokens(
    texts: Sequence[tuple[list[int], list[int]]], pad: int, device: Any = None
) -> dict[str, Any]:
    """Texts of `learnt_tokens` as a batch, padded on the right.

    Returns:
        `input_ids`, `attention_mask` and `labels`, each of shape (texts, longest text).
    """
    ids, mask = pad_rows([ids for ids, _ in texts], pad, device)
    labels, _ = pad_rows([labels for _, labels in texts], IGNORED, device)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}
