"""Messages to token ids, and options to single tokens, for generators that own a tokenizer."""

import functools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from stages.generators.chat import ChatOptions, render_chat
from stages.generators.examination import PROBE, examine_chat, show_once
from stages.runtime.errors import UserError
from stages.runtime.generation import THOUGHT_MARKS, TooLong
from stages.runtime.rows import Message


class Renderer:
    """A tokenizer with its chat template, which is examined here.

    Args:
        tokenizer: a fast `transformers` tokenizer.
        limit: the model's context, in tokens.
        options: how conversations are put to the model.
        stop_tokens: at which the model stops by its own settings.
        where: the model's path, for messages.

    Attributes:
        stop_tokens: at which an answer ends.
        marks_are_special: marks of thoughts consist of special tokens, which then stay in texts.
        prefilled: the opening of thoughts that the template writes before each answer; "" for none.

    Raises:
        UserError: `template_arguments` sets what is set here, or the template opens no answer.
    """

    def __init__(
        self,
        tokenizer: Any,
        limit: int,
        options: ChatOptions,
        stop_tokens: Collection[int] = (),
        where: str = "",
    ):
        self.tokenizer = tokenizer
        self.limit = limit
        self.variables = options.variables()
        marks = options.thought_marks or THOUGHT_MARKS
        self.chat = examine_chat(tokenizer, stop_tokens, self.variables, marks, where)
        show_once(where, self.chat.warnings)
        self.stop_tokens = {*stop_tokens, *self.chat.extra_stops}
        self.prefilled = self.chat.prefilled
        self._visible = self._special_marks(marks)
        self.marks_are_special = bool(self._visible)
        cached = functools.lru_cache(256)
        self._cached_ids: Callable[[tuple[str, ...]], list[int]] = cached(self._look_up_options)

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Return the token ids up to the point where the assistant is to write.

        Raises:
            TooLong: not even one token fits behind them.
            TemplateRefusal: the chat template refuses the messages.
        """
        return self._fit(*self._render(messages))

    def question(self, messages: Sequence[Message]) -> list[int]:
        """Return the token ids up to the point where one of several options is to stand.

        Where the model would think first, that is behind closed thoughts.

        Raises:
            TooLong, TemplateRefusal: as for `prompt`.
        """
        return self._fit(*self._render_question(messages))

    def text(self, tokens: Sequence[int]) -> str:
        """Return the tokens' text, without special tokens and an incomplete last character.

        The marks of thoughts stay, also where they are special tokens.
        """
        tokens = list(tokens)
        if tokens and tokens[-1] in self.stop_tokens:
            tokens.pop()
        if self.marks_are_special:
            hidden = set(self.tokenizer.all_special_ids) - self._visible
            tokens = [token for token in tokens if token not in hidden]
        text = self.tokenizer.decode(tokens, skip_special_tokens=not self.marks_are_special)
        return text.rstrip("\ufffd")

    def option_ids(self, options: Sequence[str]) -> list[int]:
        """Return the token that stands for each option as the first of the assistant's turn.

        Raises:
            UserError: an option is not one token there and on its own, or two options are the same
                token.
        """
        return self._cached_ids(tuple(options))

    def _render(
        self, messages: Sequence[Message], variables: Mapping[str, Any] | None = None
    ) -> tuple[str, bool]:
        """Return the prompt's text, and whether the tokenizer must add its begin-of-text token."""
        if not getattr(self.tokenizer, "chat_template", None):
            return transcript(messages), True
        variables = self.variables if variables is None else variables
        return render_chat(self.tokenizer, messages, variables, lead_in=True), False

    def _render_question(self, messages: Sequence[Message]) -> tuple[str, bool]:
        text, add_special_tokens = self._render(messages, self.chat.option_variables)
        return text + self.chat.before_option, add_special_tokens

    def _fit(self, text: str, add_special_tokens: bool) -> list[int]:
        ids = self._encode(text, add_special_tokens)
        if len(ids) >= self.limit:
            raise TooLong(len(ids), self.limit)
        return ids

    def _special_marks(self, marks: Sequence[tuple[str, str]]) -> set[int]:
        """Return the special tokens that marks of thoughts consist of."""
        special = set(self.tokenizer.all_special_ids)
        tokens: set[int] = set()
        for pair in marks:
            for mark in pair:
                tokens |= special & set(self._encode(mark, False))
        return tokens

    def _encode(self, text: str, add_special_tokens: bool) -> list[int]:
        encoding = self.tokenizer(text, add_special_tokens=add_special_tokens, verbose=False)
        return encoding["input_ids"]

    def _look_up_options(self, options: tuple[str, ...]) -> list[int]:
        text, add_special_tokens = self._render_question(PROBE)
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
