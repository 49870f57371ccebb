"""What a generator is: the data that goes in and comes out, and the protocol between them.

The generators themselves are in `stages.generators`, above this room; `generator_registry` opens
them by name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

from pydantic import Field, PositiveInt

from stages.runtime.rows import Message


@dataclass(frozen=True)
class Sampling:
    """How to draw a text; every field changes the answer and is part of a call's key."""

    temperature: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    max_tokens: PositiveInt = 256
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()


@dataclass(frozen=True)
class Completion:
    """An answer; the token counts are those that the engine reports."""

    text: str
    finish_reason: str
    """`stop`, or `length` where the answer was cut short."""
    prompt_tokens: int
    completion_tokens: int
    thoughts: str = ""
    """What the model wrote before its answer, between the marks of its thoughts."""


class RowFailure(Exception):
    """One row cannot be finished; it is dropped and counted, and the run goes on.

    Args:
        reason: in a few words that rows of the same kind share, since reasons are counted.
        detail: what is true of this row alone, such as a server's words; "" for nothing.
    """

    def __init__(self, reason: str, detail: str = ""):
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}" if detail else reason)


class CallFailed(RowFailure):
    """The model's engine or server did not answer this call, though it answers others.

    Unlike other failures it counts towards the run's `max_failed`.
    """


class TooLong(RowFailure):
    """The prompt leaves no room for an answer.

    Args:
        prompt_tokens: size of the prompt; None where an endpoint does not report it.
        limit: the model's context in tokens; None where an endpoint does not report it.
    """

    def __init__(self, prompt_tokens: int | None, limit: int | None):
        self.prompt_tokens = prompt_tokens
        self.limit = limit
        size = "the prompt" if prompt_tokens is None else f"a prompt of {prompt_tokens} tokens"
        context = "the model's context" if limit is None else f"the context of {limit} tokens"
        super().__init__(
            "longer than the model's context", f"{size} leaves no room for an answer in {context}"
        )


class Generator(Protocol):
    """An opened model that answers calls.

    One row is one coroutine that awaits as many calls as its stage needs; the generator limits how
    many calls run at once, and forms batches as it likes.
    """

    async def complete(
        self, messages: Sequence[Message], sampling: Sampling, seed: int
    ) -> Completion:
        """Write the next assistant turn.

        The same seed draws the same text, as far as the engine's numerics allow. An answer cut
        short by the end of the context has `finish_reason` "length".

        Raises:
            TooLong: the prompt leaves no room for a single token.
        """
        ...

    async def choose(self, messages: Sequence[Message], options: Sequence[str]) -> list[float]:
        """Return each option's log-probability as the assistant's first token.

        Returns:
            Natural logarithms, normalised over the options, in the order of `options`.

        Raises:
            UserError: an option is not one token of this model's vocabulary, or two options share a
                first token.
            TooLong: the prompt leaves no room for a single token.
        """
        ...

    async def close(self) -> None:
        """Free the memory and end the processes."""
        ...
