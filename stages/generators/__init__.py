"""Three ways to sample, one protocol.

`complete` writes a text; `choose` gives one log-probability per option. One row is one coroutine
that awaits as many calls as its stage needs; the generator bounds how many are in flight and
batches as it likes.

| name         | what answers                                         | when
               | |--------------|------------------------------------------------------|---------------------------------------------|
| vllm         | vLLM's async engine in this process                  | wherever vLLM is installed;
the default     | | server       | OpenAI-compatible endpoints, several at once         | a cluster:
N `vllm serve` replicas          | | transformers | `model.generate`, batched
    | no vLLM, or a few hundred short texts       |
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from pydantic import Field

from stages.runtime.errors import UserError, did_you_mean
from stages.runtime.models import Model

Message = dict[str, str]  # {"role": "system" | "user" | "assistant", "content": text}

GENERATORS = {
    "vllm": "stages.generators.vllm",
    "server": "stages.generators.server",
    "transformers": "stages.generators.transformers",
}


@dataclass(frozen=True)
class Sampling:
    """How to draw a text; all of it bears meaning and is part of a call's key."""

    temperature: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    max_tokens: Annotated[int, Field(ge=1)] = 256
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()


@dataclass(frozen=True)
class Completion:
    """What came back. `finish_reason` is "stop" or "length"; token counts are what the engine
    reports.
    """

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


class TooLong(Exception):
    """The prompt leaves no room for an answer: a row to drop and to count with this reason, not a
    reason to stop.

    `prompt_tokens` and `limit` are in tokens; `prompt_tokens` is None where an endpoint does not
    tell.
    """

    def __init__(self, prompt_tokens: int | None, limit: int | None):
        self.prompt_tokens, self.limit = prompt_tokens, limit
        size = "the prompt" if prompt_tokens is None else f"a prompt of {prompt_tokens} tokens"
        context = "the model's context" if limit is None else f"the context of {limit} tokens"
        super().__init__(f"{size} leaves no room for an answer in {context}")


class Generator(Protocol):
    """What every module of GENERATORS offers as `open_generator(model, options) -> Generator`."""

    async def complete(
        self, messages: Sequence[Message], sampling: Sampling, seed: int
    ) -> Completion:
        """Write the next assistant turn. The same seed draws the same text, as far as the engine's
        numerics allow.

        An answer cut short by the end of the context has `finish_reason` "length".

        Raises:
            TooLong: the prompt leaves no room for a single token.
        """
        ...

    async def choose(self, messages: Sequence[Message], options: Sequence[str]) -> list[float]:
        """Natural-log probability of each option as the assistant's first token, normalised over
        the options.

        Raises:
            UserError: an option is not one token of this model's vocabulary, or two options share a
            first token.
            TooLong: the prompt leaves no room for a single token.
        """
        ...

    async def close(self) -> None:
        """Give back memory and processes."""
        ...


async def open_generator(name: str, model: Model, options: Mapping[str, Any]) -> Generator:
    """Load `model` behind the generator called `name`; `options` are that module's `Options`
    fields.
    """
    if name not in GENERATORS:
        raise UserError(
            f"no generator is called {name!r}.{did_you_mean(name, list(GENERATORS))}",
            where="generator.name",
            fix=f"choose one of {', '.join(GENERATORS)}",
        )
    return await importlib.import_module(GENERATORS[name]).open_generator(model, options)
