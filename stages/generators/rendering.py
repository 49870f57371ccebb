"""Messages to token ids, and options to single tokens, for generators that own a tokenizer."""

import functools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from stages.generators.chat import ChatOptions, render_chat
from stages.generators.examination import PROBE, examine_chat, show_once
from stages.guards.errors import UserError
from stages.guards.text import spell_controls
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

    def prompt(self, messages: Sequence[Message], prefix: str = "") -> list[int]:
        """Return the token ids up to the point where the assistant is to write.

        Args:
            prefix: what it has written already, with the opening of thoughts that is `prefilled`.

        Raises:
            TooLong: not even one token fits behind them.
            TemplateRefusal: the chat template refuses the messages.
        """
        text, add_special_tokens = self._render(messages)
        return self._fit(text + prefix.removeprefix(self.prefilled), add_special_tokens)

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

    def opening(self, prefix: str) -> str:
        """Return what of an answer the template writes: nothing if its beginning is given."""
        return "" if prefix else self.prefilled

    def continuation(self, tokens: Sequence[int], prompt: Sequence[int], prefix: str) -> str:
        """Return the text that tokens add to the prefix with which their prompt ends.

        It is read behind the end of the prompt: on their own, the tokens of many vocabularies lose
        the space that they begin with. Without a prefix it is the text of an answer.
        """
        if not prefix:
            return self.text(tokens)
        before = list(prompt[-TOKENS_BEFORE:])
        return self.text([*before, *tokens]).removeprefix(self.text(before))

    def option_ids(self, options: Sequence[str]) -> list[int]:
        """Return the token that stands for each option as the first of the assistant's turn.

        Raises:
            UserError: an option is not one token there, or two options are the same token; names
                options that work.
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

        def tokens_of(option: str) -> list[int]:
            after = self._encode(text + option, add_special_tokens)
            if after[: len(before)] == before:
                return after[len(before) :]
            # It merges with the end of the prompt, so no token of the answer stands for it.
            return [*self._encode(option, False), NOT_A_TOKEN]

        refuse_repeated(options)
        tokens = {option: tokens_of(option) for option in options}
        if not are_single(options, tokens):
            for option in options_to_try(options):
                tokens[option] = tokens_of(option)
            raise not_single(options, tokens)
        return [tokens[option][0] for option in options]


OPTIONS_PLACE = "the options to choose from (a judge's `scale`, `letters` of questions)"
TOKENS_BEFORE = 8
"""Of a prompt, behind which a continuation is read."""
MOST_SHOWN = 20
"""Options that a message goes into."""
NOT_A_TOKEN = -1
"""Follows the tokens of an option that merges with the text before it."""
USUAL_OPTIONS = (
    tuple("0123456789"),
    tuple("12345"),
    tuple("ABCDE"),
    ("Yes", "No"),
)
"""Options that are offered where those asked for do not work and these do."""


def refuse_repeated(options: Sequence[str]) -> None:
    """Refuse what no tokenizer can make work.

    Raises:
        UserError: an option is empty, holds a character that no text has, or is there twice.
    """
    if "" in options:
        raise UserError("an option is empty", where=OPTIONS_PLACE, fix="give every option a name")
    for option in options:
        if spell_controls(option) != option:
            raise UserError(
                f"the option {option[:40]!a} holds a control character, or half of one",
                where=OPTIONS_PLACE,
                fix="give options that a model can write",
            )
    repeated = sorted({option for option in options if options.count(option) > 1})
    if repeated:
        twice = ", ".join(repeated[:MOST_SHOWN])
        raise UserError(
            f"the options {_listed(options)} hold an option twice: {twice}",
            where=OPTIONS_PLACE,
            fix="give each option once",
        )


def are_single(options: Sequence[str], tokens: Mapping[str, Sequence[int]]) -> bool:
    """Return whether each option is one token, and no two the same, given their tokens."""
    ids = [list(tokens[option]) for option in options]
    firsts = {token for option_ids in ids for token in option_ids[:1]}
    return all(len(option_ids) == 1 for option_ids in ids) and len(firsts) == len(ids)


def options_to_try(options: Sequence[str]) -> list[str]:
    """Return other options than those asked for, to look up the tokens of."""
    others = [option for choice in _alternatives(options) for option in choice]
    return list(dict.fromkeys(others))


def not_single(options: Sequence[str], tokens: Mapping[str, Sequence[int]]) -> UserError:
    """Return the error of options that are not one token each, or not different ones.

    Args:
        tokens: those of the options, and of `options_to_try`.
    """
    shown = options[:MOST_SHOWN]
    working = [option for option in shown if len(tokens[option]) == 1]
    split = [option for option in shown if len(tokens[option]) != 1]
    facts = []
    if split:
        counts = [f"{option!r} ({_number(tokens[option])})" for option in split]
        facts.append(f"not one token of this model: {', '.join(counts)}")
        if working:
            facts.append(f"one token each: {_listed(working)}")
    for index, option in enumerate(shown):
        for earlier in shown[:index]:
            same = tokens[earlier][:1] == tokens[option][:1]
            if same and (earlier in working or option in working):
                both = earlier in working and option in working
                relation = "are the same token" if both else "begin with the same token"
                facts.append(f"{earlier!r} and {option!r} {relation}")
    offers = []
    for choice in _alternatives(options):
        if are_single(choice, tokens):
            offers.append(_listed(choice))
    fix = "another model: of this one none of the usual options is one token"
    if offers:
        fix = f"options that are one token each of this model, such as {'; or '.join(offers)}"
    return UserError("; ".join(facts), where=OPTIONS_PLACE, fix=f"use {fix}")


def _alternatives(options: Sequence[str]) -> list[tuple[str, ...]]:
    """The options spelt without and with a blank before them, then the usual ones."""
    bare = tuple(option.strip() for option in options)
    spaced = tuple(f" {option}" for option in bare)
    choices = [choice for choice in (bare, spaced) if choice != tuple(options)]
    valid = [choice for choice in choices if all(bare) and len(set(choice)) == len(choice)]
    return [*valid, *USUAL_OPTIONS]


def _number(tokens: Sequence[int]) -> str:
    if NOT_A_TOKEN in tokens:
        return "it merges with the end of the prompt"
    return f"{len(tokens)} tokens"


def _listed(options: Sequence[str]) -> str:
    """The options as a list; of many only the ends."""
    names = [repr(option) for option in options]
    if len(names) > 5:
        names = [*names[:2], "...", names[-1]]
    return ", ".join(names)


@functools.lru_cache(64)
def refuse_split_options(folder: str, options: tuple[str, ...]) -> None:
    """Refuse options that cannot be one token each, by the tokenizer's file and nothing else.

    It is quick, so a plan can ask. What depends on the chat template is left to `option_ids`; a
    model without `tokenizer.json` on this disk is not examined.

    Args:
        folder: the model's path.

    Raises:
        UserError: an option is not one token of the vocabulary in any place.
    """
    refuse_repeated(options)
    tokenizer = read_tokenizer(folder)
    if tokenizer is None:
        return

    def tokens_of(option: str) -> list[int]:
        def encode(text: str) -> list[int]:
            return list(tokenizer.encode(text, add_special_tokens=False).ids)

        spellings = [encode(option)]
        for before in ("\n", " "):
            ids = encode(before + option)
            if ids[: len(encode(before))] == encode(before):
                spellings.append(ids[len(encode(before)) :])
        return min(spellings, key=len)

    tokens = {option: tokens_of(option) for option in (*options, *options_to_try(options))}
    if any(len(tokens[option]) != 1 for option in options):
        raise not_single(options, tokens)


@functools.lru_cache(8)
def read_tokenizer(folder: str) -> Any:
    """The tokenizer of a model's folder; None if there is none or it cannot be read."""
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(f"{folder}/tokenizer.json")
    except Exception:  # of no class of its own; what is wrong the generator itself will say
        return None


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
