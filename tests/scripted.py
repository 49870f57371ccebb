"""A generator that follows a script: for tests of stages, without a model."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import isfinite, log

from stages.generators.rendering import normalise
from stages.runtime.generation import Choice, Completion, Sampling
from stages.runtime.rows import Message


@dataclass
class ScriptedGenerator:
    """Answers by function and keeps what it was asked.

    Attributes:
        text: messages -> the assistant's text.
        scores: (messages, options) -> natural-log probability of each option, or a Choice; the
            first option wins by default.
        delay: seconds each call takes.
        failure: called with the messages before an answer; raises whatever the test wants.
    """

    text: Callable[[Sequence[Message]], str] = lambda messages: (
        f"answer to: {messages[-1]['content']}"
    )
    scores: Callable[[Sequence[Message], Sequence[str]], list[float] | Choice] | None = None
    delay: float = 0.0
    failure: Callable[[Sequence[Message]], None] | None = None
    completed: list[tuple[list[Message], Sampling, int]] = field(default_factory=list)
    chosen: list[tuple[list[Message], list[str]]] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    closed: bool = False
    form: None = None

    @property
    def calls(self) -> int:
        """How many calls were answered or failed."""
        return len(self.completed) + len(self.chosen)

    async def complete(
        self, messages: Sequence[Message], sampling: Sampling, seed: int
    ) -> Completion:
        """See `Generator.complete`. Tokens are counted as words."""
        self.completed.append((list(messages), sampling, seed))
        await self._pretend(messages)
        words = self.text(messages)
        return Completion(
            words, "stop", sum(len(m["content"].split()) for m in messages), len(words.split())
        )

    async def choose(self, messages: Sequence[Message], options: Sequence[str]) -> Choice:
        """See `Generator.choose`."""
        self.chosen.append((list(messages), list(options)))
        await self._pretend(messages)
        if self.scores:
            answer = self.scores(messages, options)
            if isinstance(answer, Choice) or not all(map(isfinite, answer)):
                return answer if isinstance(answer, Choice) else Choice(answer)
            return Choice(normalise(answer))
        rest = len(options) - 1
        return Choice([log(0.9 if rest else 1.0), *[log(0.1 / rest) for _ in options[1:]]])

    async def close(self) -> None:
        """See `Generator.close`."""
        self.closed = True

    async def _pretend(self, messages: Sequence[Message]) -> None:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.delay)
            if self.failure:
                self.failure(messages)
        finally:
            self.in_flight -= 1
