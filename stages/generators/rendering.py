"""Messages to token ids, and options to single tokens: the same for every generator that owns a
tokenizer.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stages.generators import Message, TooLong
from stages.runtime.errors import UserError

# Any conversation will do to see how an option is spelt at the head of an assistant's turn.
PROBE: tuple[Message, ...] = ({"role": "user", "content": "Which?"},)
# Parameters of `apply_chat_template` that are set here.
RESERVED = {"conversation", "tokenize", "add_generation_prompt"}


class Renderer:
    """A tokenizer with its chat template.

    Args:
        tokenizer: a fast `transformers` tokenizer.
        limit: the model's context, in tokens.
        template_arguments: further variables for the chat template, such as `enable_thinking:
            false`.
    """

    def __init__(
        self, tokenizer: Any, limit: int, template_arguments: Mapping[str, Any] | None = None
    ):
        self.tokenizer, self.limit = tokenizer, limit
        self.template_arguments = dict(template_arguments or {})
        if reserved := RESERVED & self.template_arguments.keys():
            raise UserError(
                f"{', '.join(sorted(reserved))} cannot be set: Credo decides what the template renders",
                where="template_arguments",
                fix="keep variables that the model's own chat template reads, such as enable_thinking",
            )
        self._ids_of_options: Callable[[tuple[str, ...]], list[int]] = functools.lru_cache(256)(
            self._look_up_options
        )

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Token ids up to the point where the assistant is to write.

        Raises:
            TooLong: not even one token fits behind them.
            UserError: the chat template refuses the messages.
        """
        ids = self._encode(*self._text(messages))
        if len(ids) >= self.limit:
            raise TooLong(len(ids), self.limit)
        return ids

    def text(self, tokens: Sequence[int]) -> str:
        """What the tokens say, without special ones and without a last character that was cut in
        the middle.
        """
        return self.tokenizer.decode(tokens, skip_special_tokens=True).rstrip("\ufffd")

    def option_ids(self, options: Sequence[str]) -> list[int]:
        """The token that stands for each option as the first one of the assistant's turn.

        Raises:
            UserError: an option is not one token there and on its own, or two options are the same
            token.
        """
        return self._ids_of_options(tuple(options))

    def _text(self, messages: Sequence[Message]) -> tuple[str, bool]:
        """The prompt as text, and whether the tokenizer has still to add its own begin-of-text
        token.
        """
        if not getattr(self.tokenizer, "chat_template", None):
            return transcript(messages), True
        import jinja2

        try:
            return self.tokenizer.apply_chat_template(
                list(messages),
                tokenize=False,
                add_generation_prompt=True,
                **self.template_arguments,
            ), False
        except jinja2.TemplateError as error:
            roles = ", ".join(message["role"] for message in messages)
            raise UserError(
                f"the model's chat template refuses these messages ({roles}): {error}",
                where="chat template",
                fix="some templates know no system role: put those words into the first user turn, or use another model",
            ) from error

    def _encode(self, text: str, special: bool) -> list[int]:
        return self.tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"]

    def _look_up_options(self, options: tuple[str, ...]) -> list[int]:
        text, special = self._text(PROBE)
        before = self._encode(text, special)
        found: dict[int, str] = {}
        for option in options:
            bare, turn = self._encode(option, False), self._encode(text + option, special)
            if len(bare) != 1 or turn[:-1] != before:
                raise UserError(
                    f"option {option!r} is not one token of this model's vocabulary (alone it is {len(bare)} tokens)",
                    where="choose",
                    fix="use options of one token, such as A and B; the tokenizer's vocabulary decides",
                )
            if turn[-1] in found:
                raise UserError(
                    f"options {found[turn[-1]]!r} and {option!r} are the same token",
                    where="choose",
                    fix="use options that differ in their first token",
                )
            found[turn[-1]] = option
        return list(found)


def transcript(messages: Sequence[Message]) -> str:
    """A plain script for a base model without a chat template: `User:`, then a line break, then the
    words.

    Each speaker's words start on a line of their own, so that an option such as `A` is the same
    token as on its own.
    """
    turns = [f"{message['role'].capitalize()}:\n{message['content']}\n\n" for message in messages]
    return "".join(turns) + "Assistant:\n"


def normalised(values: Sequence[float]) -> list[float]:
    """Shift log-probabilities (nats) so that the probabilities sum to one."""
    import math

    top = max(values)
    total = top + math.log(sum(math.exp(value - top) for value in values))
    return [value - total for value in values]
