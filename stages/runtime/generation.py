"""What a generator is: the data that goes in and comes out, and the protocol between them.

The generators themselves are in `stages.generators`, above this room; `generator_registry` opens
them by name.
"""

import json
import math
import re
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, is_dataclass, replace
from functools import lru_cache
from typing import Annotated, Any, Protocol, TypeVar

from pydantic import (
    ConfigDict,
    Field,
    StrictBool,
    StrictStr,
    TypeAdapter,
    ValidationError,
)

from stages.guards.text import replace_surrogates
from stages.runtime.rows import Message
from stages.runtime.typed_config import Count, Portion

T = TypeVar("T")

GROUP: ContextVar[str] = ContextVar("GROUP", default="")
"""Names the calls whose prompts begin alike, so that one endpoint's prefix cache answers them."""

Marks = Sequence[tuple[str, str]]
"""Pairs of an opening and a closing mark."""
THOUGHT_MARKS: Marks = (("<think>", "</think>"), ("<thinking>", "</thinking>"))
"""Between what models write their thoughts, unless an option says otherwise."""
CUT_OFF_IN_THOUGHTS = "cut off in its thoughts"
"""Why an answer is dropped that ended before its words began."""
ROUNDING = 0.01
"""A log-probability may be this far above 0, and the probabilities of options above 1."""
TokenCount = Annotated[int, Field(strict=True, ge=0, le=2**53)]
LogProbability = Annotated[float, Field(strict=True, le=ROUNDING, allow_inf_nan=False)]
Probability = Annotated[float, Field(strict=True, ge=0, le=1)]


@dataclass(frozen=True)
class Sampling:
    """How to draw a text; every field changes the answer and is part of a call's key."""

    temperature: Annotated[float, Field(ge=0, le=100)] = 1.0
    top_p: Portion = 1.0
    max_tokens: Count = 256
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()


@dataclass(frozen=True)
class JudgeForm:
    """How a model that knows one question only is asked whether a response follows a principle.

    Its templates have the variables request, response and principle.
    """

    template: Annotated[str, Field(min_length=1)]
    """Of the user's turn."""
    answers: Annotated[dict[str, Annotated[float, Field(ge=0, le=1)]], Field(min_length=2)]
    """How far the response follows the principle, from 0 to 1, by what the model answers."""
    system: str = ""
    """The template of a system turn; "": there is none."""
    pattern: str = ""
    """A regular expression whose only group is the answer in the text that the model writes; the
    last match counts. "": the answer is its first token, and is read off the probabilities.
    """
    sampling: Sampling = Sampling(temperature=0.0, max_tokens=2048)
    """How it writes."""


@dataclass(frozen=True)
class Completion:
    """An answer; the token counts are those that the engine reports."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    text: StrictStr
    finish_reason: Annotated[str, Field(strict=True, pattern="^(stop|length)$")]
    """`stop`, or `length` where the answer was cut short."""
    prompt_tokens: TokenCount
    completion_tokens: TokenCount
    thoughts: StrictStr = ""
    """What the model wrote before its answer, between the marks of its thoughts."""
    cached_tokens: TokenCount = 0
    """Those of the prompt that the engine had in its cache; not stored."""

    def split(self, marks: Marks) -> "Completion":
        """Return the completion with the thoughts taken out of its text (`split_thoughts`)."""
        thoughts, answer = split_thoughts(self.text, marks, self.finish_reason == "length")
        if not thoughts and answer == self.text:
            return self
        both = "\n\n".join(part for part in (self.thoughts, thoughts) if part)
        return replace(self, text=answer, thoughts=both)

    def join(self, marks: Marks) -> "Completion":
        """Return the completion with thoughts that a server split off put back into its text."""
        if not self.thoughts or not marks:
            return self
        opening, closing = marks[0]
        text = f"{opening}\n{self.thoughts}"
        if self.text or self.finish_reason != "length":  # else they were cut off
            text = f"{text}\n{closing}\n\n{self.text}"
        return replace(self, text=text, thoughts="")

    def reason_if_empty(self, what: str) -> str:
        """Return why there is no text, or ""; `what` was asked for, such as "response"."""
        if self.text.strip():
            return ""
        if self.thoughts and self.finish_reason == "length":
            return CUT_OFF_IN_THOUGHTS
        if self.thoughts:
            return f"no {what} after its thoughts"
        ending = ", cut off at max_tokens" if self.finish_reason == "length" else ""
        return f"empty {what}{ending}"


def split_thoughts(text: str, marks: Marks, is_cut_off: bool = False) -> tuple[str, str]:
    """Return the thoughts in a text, and the text without them.

    Thoughts may stand anywhere, several times, one inside the other. An opening mark may be missing
    (a chat template wrote it: all before the closing mark is thoughts), and a closing one (the text
    ends in its thoughts). A mark between backticks is quoted and marks nothing, nor does an opening
    mark within a line that nothing closes. Without any mark the text is returned as it is.

    Args:
        marks: the pairs that count; case does not matter.
        is_cut_off: the text ended at max_tokens, so its last thoughts may lack their closing mark.
    """
    pair_of = _pairs_by_mark(tuple(map(tuple, marks)))
    lowered = text.lower()
    for mark in pair_of:
        if mark in lowered:
            break
    else:
        return "", text
    names = "|".join(re.escape(mark) for mark in sorted(pair_of, key=len, reverse=True))
    thoughts: list[str] = []
    answer: list[str] = []
    start = 0  # of what has not been assigned yet
    outer = -1  # the pair that is open
    depth = 0
    last_closing: re.Match[str] | None = None  # since the outer opening
    matches = list(re.finditer(f"(?<!`)(?:{names})(?!`)", text, re.IGNORECASE))
    for place, match in enumerate(matches):
        mark = match[0].lower()
        number = pair_of[mark]
        opens = mark == marks[number][0].lower()
        if depth == 0 and opens:
            later = {other[0].lower() for other in matches[place + 1 :]}
            begins_line = not text[: match.start()].rpartition("\n")[2].strip()
            if not begins_line and marks[number][1].lower() not in later:
                continue
            answer.append(text[start : match.start()])
            start, outer, depth, last_closing = match.end(), number, 1, None
        elif depth == 0:  # its opening mark stands in the prompt
            thoughts += [*answer, text[start : match.start()]]
            answer = []
            start = match.end()
        elif number == outer:
            depth += 1 if opens else -1
            if depth == 0:
                thoughts.append(text[start : match.start()])
                start = match.end()
            elif not opens:
                last_closing = match
    if depth and last_closing and not is_cut_off:  # a mark inside the thoughts was only a word
        thoughts.append(text[start : last_closing.start()])
        start, depth = last_closing.end(), 0
    (thoughts if depth else answer).append(text[start:])
    if not thoughts:
        return "", text
    parts = [part.strip() for part in thoughts]
    return "\n\n".join(part for part in parts if part), "".join(answer).strip()


@lru_cache
def _pairs_by_mark(marks: tuple[tuple[str, ...], ...]) -> dict[str, int]:
    """Return the number of the pair that each mark belongs to."""
    pair_of: dict[str, int] = {}
    for number, pair in enumerate(marks):
        for mark in pair:
            pair_of[mark.lower()] = number
    return pair_of


@dataclass(frozen=True)
class Choice:
    """How likely each option is as the assistant's first token."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    logprobs: Annotated[list[LogProbability], Field(strict=True, min_length=1)]
    """Natural logarithms, normalised over the options, in their order."""
    mass: Probability | None = None
    """The probability of all options together, before they were normalised; None if not known."""
    bounded: StrictBool = False
    """An option is not among the tokens that a server reports: its value is an upper bound."""
    instead: StrictStr = ""
    """The likeliest first token where that is no option; "" if not known."""
    unknown: Probability = 0.0
    """The most that options with an upper bound may have of the probability of all options."""
    prompt_tokens: TokenCount = 0
    """Of the question; 0 if the engine does not report it; not stored."""
    cached_tokens: TokenCount = 0
    """Those of them that the engine had in its cache; not stored."""


def as_completion(value: Any) -> Completion:
    """Return an answer that may be used and stored.

    Args:
        value: a Completion, or its fields as the store holds them.

    Raises:
        ValueError: it is no answer; the message says why.
    """
    return _checked(_COMPLETION, value)


def parse_completion(text: str) -> Completion:
    """Return the answer that a JSON text holds, as `as_completion` does.

    Raises:
        ValueError: it holds no answer.
    """
    try:
        return _COMPLETION.validate_json(text)
    except ValidationError:  # also for half of a character, which is replaced
        return as_completion(json.loads(text))


def as_choice(value: Any, options: int | None = None) -> Choice:
    """Return an answer to a question with options that may be used and stored.

    Args:
        value: a Choice, or its fields as the store holds them; versions without masses stored the
            log-probabilities alone.
        options: their number, if it is known.

    Raises:
        ValueError: it is no answer; the message says why.
    """
    choice = _checked(_CHOICE, {"logprobs": value} if isinstance(value, list) else value)
    if options not in (None, len(choice.logprobs)):
        raise ValueError(f"{len(choice.logprobs)} log-probabilities for {options} options")
    total = math.fsum(map(math.exp, choice.logprobs))
    if abs(total - 1) > ROUNDING:
        raise ValueError(f"the probabilities of the options add up to {total:.3g}, not to 1")
    return choice


_COMPLETION = TypeAdapter(Completion)
_CHOICE = TypeAdapter(Choice)


def _checked(shape: TypeAdapter[T], value: Any) -> T:
    fields = vars(value) if is_dataclass(value) and not isinstance(value, type) else value
    try:
        return shape.validate_python(replace_surrogates(fields))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        words = f"{place}: {first['msg']} (it is {str(first['input'])[:80]!a})"
        raise ValueError(words.removeprefix(": ")) from None


class RowFailure(Exception):
    """One row cannot be finished; it is dropped and counted, and the run goes on.

    Args:
        reason: in a few words that rows of the same kind share, since reasons are counted.
        detail: what is true of this row alone, such as a server's words; "" for nothing.
    """

    lost: str = ""
    """The id to drop it under, where only a part of the row is lost; "" for the row's own."""
    finished: Sequence[Any] = ()
    """The new rows that were finished before the failure; they stay."""

    def __init__(self, reason: str, detail: str = ""):
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}" if detail else reason)


class CallFailed(RowFailure):
    """The model's engine or server did not answer this call, though it answers others.

    Unlike other failures it counts towards the run's `max_failed`, and it is never stored: a later
    run sends the call again.
    """


TOO_LONG = "longer than the model's context"


class TooLong(RowFailure):
    """The prompt leaves no room for an answer.

    Args:
        prompt_tokens: size of the prompt; None where an endpoint does not report it.
        limit: the model's context in tokens; None where an endpoint does not report it.
        words: the server's own; they say whether the prompt or `max_tokens` is too large.
    """

    def __init__(self, prompt_tokens: int | None, limit: int | None, words: str = ""):
        self.prompt_tokens = prompt_tokens
        self.limit = limit
        size = "the prompt" if prompt_tokens is None else f"a prompt of {prompt_tokens} tokens"
        context = "the model's context" if limit is None else f"the context of {limit} tokens"
        super().__init__(
            TOO_LONG,
            words or f"{size} leaves no room for an answer in {context}",
        )


class Generator(Protocol):
    """An opened model that answers calls.

    One row is one coroutine that awaits as many calls as its stage needs; the generator limits how
    many calls run at once, and forms batches as it likes.
    """

    async def complete(
        self, messages: Sequence[Message], sampling: Sampling, seed: int, prefix: str = ""
    ) -> Completion:
        """Write the next assistant turn.

        The same seed draws the same text, as far as the engine's numerics allow. An answer cut
        short by the end of the context has `finish_reason` "length".

        Args:
            prefix: the beginning of the turn; what follows it is written and returned. Servers do
                not take one.

        Raises:
            TooLong: the prompt leaves no room for a single token.
            CallFailed: a server refuses this call, or its answer cannot be read.
        """
        ...

    async def choose(self, messages: Sequence[Message], options: Sequence[str]) -> Choice:
        """Return how likely each option is as the assistant's first token.

        Raises:
            UserError: an option is not one token of this model's vocabulary, or two options share a
                first token.
            TooLong: the prompt leaves no room for a single token.
            CallFailed: a server refuses this call, or its answer cannot be read.
        """
        ...

    async def close(self) -> None:
        """Free the memory and end the processes."""
        ...
