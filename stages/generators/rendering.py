"""Messages to token ids, and options to single tokens, for generators that own a tokenizer."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stages.runtime.errors import UserError
from stages.runtime.generation import TooLong
from stages.runtime.rows import Message

# Any conversation serves to see how an option is spelt at the start of an assistant's turn.
PROBE: tuple[Message, ...] = ({"role": "user", "content": "Which?"},)
# Parameters of `apply_chat_template` that are set here.
RESERVED = {"conversation", "tokenize", "add_generation_prompt"}


class Renderer:
    """A tokenizer with its chat template.

    Args:
        tokenizer: a fast `transformers` tokenizer.
        limit: the model's context, in tokens.
        template_arguments: variables for the chat template, such as `enable_thinking: false`.

    Raises:
        UserError: `template_arguments` sets what is set here.
    """

    def __init__(
        self, tokenizer: Any, limit: int, template_arguments: Mapping[str, Any] | None = None
    ):
        self.tokenizer = tokenizer
        self.limit = limit
        self.template_arguments = dict(template_arguments or {})
        reserved = RESERVED & self.template_arguments.keys()
        if reserved:
            raise UserError(
                f"{', '.join(sorted(reserved))} cannot be set: "
                "Credo decides what the template renders",
                where="template_arguments",
                fix="keep variables that the model's own chat template reads, "
                "such as enable_thinking",
            )
        cached = functools.lru_cache(256)
        self._cached_ids: Callable[[tuple[str, ...]], list[int]] = cached(self._look_up_options)

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Return the token ids up to the point where the assistant is to write.

        Raises:
            TooLong: not even one token fits behind them.
            UserError: the chat template refuses the messages.
        """
        text, add_special_tokens = self._render(messages)
        ids = self._encode(text, add_special_tokens)
        if len(ids) >= self.limit:
            raise TooLong(len(ids), self.limit)
        return ids

    def text(self, tokens: Sequence[int]) -> str:
        """Return the tokens' text, without special tokens and an incomplete last character."""
        return self.tokenizer.decode(tokens, skip_special_tokens=True).rstrip("\ufffd")

    def option_ids(self, options: Sequence[str]) -> list[int]:
        """Return the token that stands for each option as the first of the assistant's turn.

        Raises:
            UserError: an option is not one token there and on its own, or two options are the same
                token.
        """
        return self._cached_ids(tuple(options))

    def _render(self, messages: Sequence[Message]) -> tuple[str, bool]:
        """Return the prompt's text, and whether the tokenizer must add its begin-of-text token."""
        if not getattr(self.tokenizer, "chat_template", None):
            return transcript(messages), True
        import jinja2

        try:
            text = self.tokenizer.apply_chat_template(
                list(messages),
                tokenize=False,
                add_generation_prompt=True,
                **self.template_arguments,
            )
        except jinja2.TemplateError as error:
            roles = ", ".join(message["role"] for message in messages)
            raise UserError(
                f"the model's chat template refuses these messages ({roles}): {error}",
                where="chat template",
                fix="some templates know no system role: put those words into the first user turn, "
                "or use another model",
            ) from error
        return text, False

    def _encode(self, text: str, add_special_tokens: bool) -> list[int]:
        encoding = self.tokenizer(text, add_special_tokens=add_special_tokens, verbose=False)
        return encoding["input_ids"]

    def _look_up_options(self, options: tuple[str, ...]) -> list[int]:
        text, add_special_tokens = self._render(PROBE)
        before = self._encode(text, add_special_tokens)
        ids: list[int] = []
        for option in options:
            alone = self._encode(option, False)
            *head, token = self._encode(text + option, add_special_tokens)
            if len(alone) != 1 or head != before:
                raise not_one_token(option, alone)
            ids.append(token)
        refuse_same_tokens(options, ids)
        return ids


def not_one_token(option: str, alone: Sequence[int]) -> UserError:
    """Return the error of an option for which no single token stands; `alone` are its tokens."""
    return UserError(
        f"option {option!r} is not one token of this model's vocabulary "
        f"(alone it is {len(alone)} tokens)",
        where="choose",
        fix="use options of one token, such as A and B; the tokenizer's vocabulary decides",
    )


def refuse_same_tokens(options: Sequence[str], ids: Sequence[int]) -> None:
    """Refuse options that share a token, given the token of each.

    Raises:
        UserError: two do.
    """
    if len(set(ids)) < len(ids):
        raise UserError(
            f"two of the options {list(options)} are the same token",
            where="choose",
            fix="use options that differ in their first token",
        )


def transcript(messages: Sequence[Message]) -> str:
    """Return a plain script for a base model without a chat template.

    A turn is `User:`, a line break and the words. Each speaker's words start on a line of their
    own, so that an option such as `A` is the same token as on its own.
    """
    turns = [f"{message['role'].capitalize()}:\n{message['content']}\n\n" for message in messages]
    return "".join(turns) + "Assistant:\n"


def normalise(values: Sequence[float]) -> list[float]:
    """Shift log-probabilities (nats) so that the probabilities sum to one."""
    total = log_sum(values)
    return [value - total for value in values]


def log_sum(values: Sequence[float]) -> float:
    """Return the logarithm of the sum of the probabilities, given their logarithms (nats)."""
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values))


def add_up(values: Sequence[float]) -> float:
    """Return the sum of the probabilities, given their logarithms (nats); at most 1."""
    return min(math.fsum(math.exp(value) for value in values), 1.0)
