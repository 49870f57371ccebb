"""A conversation: each speaker answers, and the judge says which principles each answer keeps.

In: a `Setup`, and requests. Out: a `Turn` for each: an answer of every speaker and, by principle,
the probability that the answer follows it: the judge's Yes, as in `evaluate`. Each speaker has a
history of its own. Nothing goes into the run's call store: the same request asked again is sampled
again.
"""

import asyncio
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stages.chat.setup import Setup
from stages.preferences.judging.ask import VERDICT_TEMPLATE, violation_probability
from stages.principles.constitution import Principle
from stages.runtime.calls import RememberedGenerator
from stages.runtime.generation import RowFailure, Sampling
from stages.runtime.generator_registry import is_remote, refuse_unreached
from stages.runtime.models import Model
from stages.runtime.rows import Message
from stages.runtime.store import CallStore, derive_seed
from stages.runtime.tally import Tally

KEPT = 0.5
"""The probability from which an answer keeps a principle."""


@dataclass(frozen=True)
class Answer:
    """What one speaker said."""

    text: str
    failure: str = ""
    """Why there is no answer."""
    kept: dict[str, float] = field(default_factory=dict)
    """By principle, the probability that the answer follows it; those without a verdict lack."""


@dataclass(frozen=True)
class Turn:
    """A request and what was answered, by speaker."""

    request: str
    answers: dict[str, Answer]


class Session:
    """Asks the speakers and the judge of a `Setup`; to be closed."""

    def __init__(
        self,
        setup: Setup,
        sampling: Sampling,
        seed: int,
        system: str = "",
    ):
        self.setup = setup
        self.sampling = sampling
        self.seed = seed
        self.system = system
        self.turns = 0
        self._folder = tempfile.TemporaryDirectory(prefix="credo-chat-")
        self._store = CallStore(Path(self._folder.name) / "calls.sqlite")
        self._loop = asyncio.Runner()
        self.histories: dict[str, list[Message]] = {}
        self.forget()

    def reach(self) -> None:
        """Ask once whether the servers answer; no model is asked anything.

        Raises:
            UserError: nobody answers.
        """
        judge = self.setup.judge
        for model in [*self.setup.speakers.values(), *([judge] if judge else [])]:
            answerer = self.setup.engines.answerer(model)
            if is_remote(answerer.name, model.path, answerer.options):
                with answerer.name_place():
                    self._loop.run(refuse_unreached(answerer.name, answerer.options, False))

    def forget(self) -> None:
        """Begin a new conversation."""
        start: list[Message] = []
        if self.system:
            start = [{"role": "system", "content": self.system}]
        self.histories = {name: list(start) for name in self.setup.speakers}

    def take_back(self) -> str:
        """Forget the last request and its answers; return the request, "" if there was none."""
        request = ""
        for history in self.histories.values():
            while history and history[-1]["role"] == "assistant":
                history.pop()
            if history and history[-1]["role"] == "user":
                request = history.pop()["content"]
        return request

    def ask(
        self,
        request: str,
    ) -> Turn:
        """Put a request to every speaker, and each answer to the judge."""
        self.turns += 1
        return self._loop.run(self._ask(request))

    async def _ask(
        self,
        request: str,
    ) -> Turn:
        names = list(self.setup.speakers)
        answers = await asyncio.gather(*(self._speak(name, request) for name in names))
        return Turn(
            request,
            dict(
                zip(
                    names,
                    answers,
                    strict=True,
                )
            ),
        )

    async def _speak(
        self,
        name: str,
        request: str,
    ) -> Answer:
        history = self.histories[name]
        messages: list[Message] = [*history, {"role": "user", "content": request}]
        speaker = self._generator(self.setup.speakers[name])
        seed = derive_seed(
            self.seed,
            self.turns,
            name,
        )
        try:
            completion = await speaker.complete(
                messages,
                self.sampling,
                seed,
            )
        except RowFailure as failure:
            return Answer("", str(failure))
        text = completion.text.strip()
        if not text:
            return Answer("", completion.reason_if_empty("answer"))
        history[:] = [*messages, {"role": "assistant", "content": text}]
        return Answer(text, kept=await self._judge(messages, text))

    async def _judge(
        self,
        messages: list[Message],
        answer: str,
    ) -> dict[str, float]:
        if self.setup.judge is None:
            return {}
        judge = self._generator(self.setup.judge)
        asked = [message for message in messages if message["role"] != "system"]
        verdicts = await asyncio.gather(
            *(
                _verdict(
                    judge,
                    asked,
                    answer,
                    one,
                )
                for one in self.setup.principles
            )
        )
        kept = {}
        for principle, verdict in zip(
            self.setup.principles,
            verdicts,
            strict=True,
        ):
            if verdict is not None:
                kept[principle.id] = verdict
        return kept

    def _generator(
        self,
        model: Model,
    ) -> RememberedGenerator:
        return RememberedGenerator(
            self._store,
            self.setup.engines,
            model,
            Tally(),
        )

    def close(self) -> None:
        """Free the models."""
        self._loop.run(self.setup.engines.release())
        self._loop.close()
        self._store.close()
        self._folder.cleanup()


async def _verdict(
    judge: RememberedGenerator,
    messages: list[Message],
    answer: str,
    principle: Principle,
) -> float | None:
    """The probability that the answer follows the principle; None without a verdict."""
    try:
        violated = await violation_probability(
            judge,
            messages,
            answer,
            principle.text,
            VERDICT_TEMPLATE,
        )
    except RowFailure:
        return None
    return 1 - violated


def count_kept(kept: Mapping[str, float]) -> int:
    """Return how many principles an answer keeps."""
    return sum(probability >= KEPT for probability in kept.values())
