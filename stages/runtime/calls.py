"""A generator with a memory: answered calls come from the store, the engine is loaded at the first
new one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from stages.generators import Completion, Generator, Message, Sampling, open_generator
from stages.generators.settings import check_options
from stages.runtime.errors import UserError
from stages.runtime.models import Model
from stages.runtime.store import CallStore, call_key

# `load` and `engine` take anything, so all of it counts; a shorter context drops rows and cuts
# answers.
ANSWERING = ("template_arguments", "extra", "max_model_len", "load", "engine")


class Unanswered(Exception):
    """In a forecast: this call is not in the store, so its row cannot go on."""


@dataclass
class Tally:
    """What a step asked for: calls answered by the store, calls sent to an engine, tokens the
    engine wrote.
    """

    stored: int = 0
    sent: int = 0
    tokens: int = 0


class Engines:
    """The loaded engines, at most `keep` at a time; a model is loaded when its first call is not in
    the store.

    `keep` above 1 says that memory is plentiful: engines then also stay while a stage trains.
    """

    def __init__(
        self,
        name: str,
        options: Mapping[str, Any],
        keep: int = 1,
        opener: Callable[..., Awaitable[Generator]] = open_generator,
    ):
        check_options(name, options)
        if not isinstance(keep, int) or keep < 1:
            raise UserError(
                f"{keep!r} engines cannot be kept",
                where="generator.keep",
                fix="set generator.keep=1, or more to hold several",
            )
        self.name, self.options, self.keep, self._open = name, options, keep, opener
        self.meaning = meaning_of(options)
        self._loaded: dict[str, Generator] = {}
        self._loading = asyncio.Lock()

    async def get(self, model: Model) -> Generator:
        async with self._loading:
            if model.content not in self._loaded:
                while len(self._loaded) >= self.keep:
                    await self._loaded.pop(next(iter(self._loaded))).close()
                self._loaded[model.content] = await self._open(self.name, model, self.options)
            return self._loaded[model.content]

    async def make_room(self) -> None:
        """Before training: close the engine, unless several may be kept."""
        if self.keep == 1:
            await self.release()

    async def release(self) -> None:
        """Close all engines."""
        while self._loaded:
            await self._loaded.popitem()[1].close()


def meaning_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """What changes a prompt or an answer, so that it is part of a call's key; the rest bears on
    speed and memory.
    """
    own = {name: options[name] for name in ANSWERING if options.get(name)}
    local = options.get("local", {}).get("options")
    return own | ({"local": meant} if local and (meant := meaning_of(local)) else {})


class RememberedGenerator:
    """The two verbs of a Generator, answered from the store where possible.

    With `forecast` nothing is ever sent: a call that is not stored raises Unanswered.
    """

    def __init__(
        self, store: CallStore, engines: Engines, model: Model, tally: Tally, forecast: bool = False
    ):
        self.store, self.engines, self.model, self.tally, self.forecast = (
            store,
            engines,
            model,
            tally,
            forecast,
        )

    async def complete(
        self, messages: Sequence[Message], sampling: Sampling, seed: int
    ) -> Completion:
        key = self._key(
            verb="complete", messages=list(messages), sampling=asdict(sampling), seed=seed
        )
        answer = await self._answer(
            key, lambda engine: engine.complete(messages, sampling, seed), asdict
        )
        return Completion(**answer)

    async def choose(self, messages: Sequence[Message], options: Sequence[str]) -> list[float]:
        key = self._key(verb="choose", messages=list(messages), options=list(options))
        return await self._answer(key, lambda engine: engine.choose(messages, options), list)

    def _key(self, **parts: Any) -> str:
        return call_key(model=self.model.content, generator=self.engines.meaning, **parts)

    async def _answer(
        self, key: str, ask: Callable[[Generator], Awaitable[Any]], plain: Callable[[Any], Any]
    ) -> Any:
        known = self.store.get(key)
        if known is not None:
            self.tally.stored += 1
            return known
        if self.forecast:
            raise Unanswered
        answer = plain(await ask(await self.engines.get(self.model)))
        self.store.put(key, answer)
        self.tally.sent += 1
        self.tally.tokens += answer.get("completion_tokens", 0) if isinstance(answer, dict) else 0
        return answer
