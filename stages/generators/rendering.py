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
            UserError: an option is not one token there, or two options are the same token; names
                options that work.
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
        UserError: an option is empty, or is there twice.
    """
    if "" in options:
        raise UserError("an option is empty", where=OPTIONS_PLACE, fix="give every option a name")
    repeated = sorted({option for option in options if options.count(option) > 1})
    if repeated:
        raise UserError(
            f"the options {list(options)} hold an option twice: {', '.join(repeated)}",
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
    working = [option for option in options if len(tokens[option]) == 1]
    split = [option for option in options if len(tokens[option]) != 1]
    facts = []
    if split:
        counts = [f"{option!r} ({_number(tokens[option])})" for option in split]
        facts.append(f"not one token of this model: {', '.join(counts)}")
        if working:
            facts.append(f"one token each: {_listed(working)}")
    for index, option in enumerate(options):
        for earlier in options[:index]:
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
    tokenizer = _read_tokenizer(f"{folder}/tokenizer.json")
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
def _read_tokenizer(path: str) -> Any:
    """The tokenizer in a file; None if there is none or it cannot be read."""
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(path)
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
    top = max(values)
    total = top + math.log(sum(math.exp(value - top) for value in values))
    return [value - total for value in values]
