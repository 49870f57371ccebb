"""Scores from a reward model: batched, sorted by length, a prefix that several texts share computed
once.

In: (prompt messages, response text, principle texts), any number. Out: a score each, in their
order; of a rule model P(the principle is kept), of a value model a
number from -1 (opposed to the value) over 0 (no connection) to 1.

Texts are padded on the right; the scalar is read where the architecture's own head reads it
(decoders: at the last token that is not padding). How they share a prefix is `shared_prefix.py`.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from stages.generators.chat import TemplateRefusal, encode_chat
from stages.guards.errors import UserError
from stages.runtime.models import Model
from stages.runtime.rows import Message
from stages.training.batch_reading import (
    architecture,
    context_length,
    is_classifier,
    model_config,
    open_frozen,
)
from stages.training.model_files import load_tokenizer, pad_token
from stages.training.reward_models.format import read_format
from stages.training.reward_models.shared_prefix import score_groups

Item = tuple[list[Message], str, tuple[str, ...]]


class Scorer:
    """A reward model, loaded when it first scores.

    Args:
        model: saved by `reward_model`, or any sequence classifier with one output and a chat
            template.
        template_arguments: further variables for the chat template.
        share: compute shared prefixes once, where the architecture allows it.

    Raises:
        UserError: it is not a reward model, or the file that says how it reads is damaged.
    """

    def __init__(
        self,
        model: Model,
        dtype: str = "float32",
        batch_size: int = 32,
        template_arguments: Mapping[str, Any] | None = None,
        share: bool = True,
    ):
        self.model = model
        self.dtype = dtype
        self.batch_size = max(1, batch_size)
        self.share = share
        self.format = read_format(model)
        self.template_arguments = {**(template_arguments or {}), **self.format.template_arguments()}
        # In tokens; None where the model sets no limit.
        self.limit = _scalar_context_length(model, self.format.outputs)

    def score(self, items: Sequence[Item]) -> list[float | None]:
        """A score for each item, None for one that cannot be read (`fault`).

        Raises:
            UserError: principles the model cannot read or lacks, a score that is not a finite
            number, memory used up.
        """
        texts: list[tuple[int, ...] | None] = []
        groups: dict[str, set[tuple[int, ...]]] = {}
        for (prompt, response, _), ids in zip(items, self.encode(items), strict=True):
            if ids is None or (self.limit is not None and len(ids) > self.limit):
                texts.append(None)
                continue
            texts.append(ids)
            groups.setdefault(f"{prompt}\0{response}", set()).add(ids)
        sorted_groups = [sorted(group) for group in groups.values()]
        try:
            scores = score_groups(
                self._network, sorted_groups, self.batch_size, self.share, self._read
            )
        except (RuntimeError, MemoryError) as error:
            if not isinstance(error, MemoryError) and "memory" not in str(error).lower():
                raise
            raise UserError(
                "memory ran out while scoring",
                where=self.model.path,
                fix="lower batch_size, or set dtype: bfloat16",
            ) from error
        bad = sum(not math.isfinite(score) for score in scores.values())
        if bad:
            raise UserError(
                f"the reward model gives {bad} of {len(scores)} texts a score that is not a number",
                where=self.model.path,
                fix="use dtype: float32; if that does not fix it, the training of the reward model "
                "has diverged",
            )
        if self.format.objective == "compliance":
            scores = {ids: (1 + math.tanh(score / 2)) / 2 for ids, score in scores.items()}
        return [None if ids is None else scores[ids] for ids in texts]

    def _read(self, logits: Any) -> Any:
        """The scores of a batch: of a value model the expectation of the label."""
        if self.format.objective == "value_classes":
            shares = logits.float().softmax(dim=-1)
            return shares[:, 2] - shares[:, 0]
        return logits[:, 0].float().tanh() if self.format.objective == "value" else logits[:, 0]

    def encode(self, items: Sequence[Item]) -> list[tuple[int, ...] | None]:
        """The tokens that the model reads for each item; None where its chat template refuses."""
        texts: list[tuple[int, ...] | None] = []
        for item in items:
            try:
                texts.append(self._encode_item(item))
            except TemplateRefusal:
                texts.append(None)
        return texts

    def fault(self, item: Item) -> tuple[str, str]:
        """Why an item has no score, as the reason and the detail of a dropped row."""
        try:
            tokens = self._encode_item(item)
        except TemplateRefusal as refusal:
            return refusal.reason, refusal.detail
        return "longer than the reward model's context", f"{len(tokens)} tokens"

    def _encode_item(self, item: Item) -> tuple[int, ...]:
        messages = self.format.messages(*item)
        return tuple(encode_chat(self._tokenizer, messages, self.template_arguments))

    def close(self) -> None:
        """Drop the weights."""
        self.__dict__.pop("_network", None)

    @cached_property
    def _tokenizer(self) -> Any:
        return load_tokenizer(self.model, {})

    @cached_property
    def _network(self) -> Any:
        network = open_frozen(self.model, self.dtype, "scalar", self.format.outputs)
        text_config = network.config.get_text_config()
        if text_config.pad_token_id is None:
            text_config.pad_token_id = pad_token(self._tokenizer)
        return network


def _scalar_context_length(model: Model, outputs: int) -> int | None:
    """The most tokens that a reward model reads.

    Raises:
        UserError: it is not a sequence classifier with so many outputs.
    """
    config = model_config(model, "reward model")
    if is_classifier(config) and config.num_labels == outputs:
        return context_length(config)
    kind = architecture(config)
    if is_classifier(config):
        kind = f"{kind} with {config.num_labels} outputs"
    needed = "one output" if outputs == 1 else f"{outputs} outputs"
    raise UserError(
        f"this is not a reward model: {kind} where a sequence classifier with {needed} is needed",
        where=model.path,
        fix="wire the input to a `reward_model` step, or give a reward model's folder",
    )
