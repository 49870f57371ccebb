"""A generator with a memory: answered calls come from the store, new ones load the engine."""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from statistics import fmean, median
from typing import Any, TypeVar

from stages.guards.secrets import mask_identity
from stages.runtime.generation import (
    THOUGHT_MARKS,
    CallFailed,
    Choice,
    Completion,
    Generator,
    Sampling,
    as_choice,
    as_completion,
)
from stages.runtime.generator_registry import check_choice, check_options, open_generator
from stages.runtime.models import Model
from stages.runtime.rows import Message
from stages.runtime.store import CallStore, call_key

# Generator options that can change an answer. `extra`, `load` and `engine` take anything, so all of
# their content counts; a shorter `max_model_len` drops rows and cuts answers.
ANSWER_OPTIONS = (
    "template_arguments",
    "merge_system",
    "thought_marks",
    "extra",
    "max_model_len",
    "load",
    "engine",
)


LOW_MASS = 0.1  # a judge that answers with the options puts nearly all its probability on them


T = TypeVar("T")


class Unanswered(Exception):
    """In a forecast: this call is not in the store, so its row stops here."""


@dataclass
class Tally:
    """How a step's calls were answered."""

    stored: int = 0
    """Calls answered by the store."""
    sent: int = 0
    """Calls sent to an engine, and answered."""
    tokens: int = 0
    """Tokens that the engine wrote."""
    failed: int = 0
    """Calls that failed; they are not stored."""
    choices: int = 0
    """Questions with options."""
    bounded: int = 0
    """Those of them with an option of which only a bound is known."""
    masses: list[float] = field(default_factory=list)
    """The probability of all options together, of each question where it is known."""

    def add_choice(self, choice: Choice) -> None:
        """Count the answer to a question with options."""
        self.choices += 1
        self.bounded += choice.bounded
        if choice.mass is not None and math.isfinite(choice.mass):
            self.masses.append(choice.mass)

    def call_counts(self) -> dict[str, int]:
        """Return the numbers of calls, for the manifest."""
        numbers = {"stored": self.stored, "sent": self.sent, "tokens": self.tokens}
        return numbers | {"failed": self.failed}

    def option_metrics(self) -> dict[str, Any]:
        """Return how much probability stood on the options; {} where nothing is known of it.

        `low` is the share of questions where it was less than LOW_MASS, `known` the number of
        questions for which it is known, `bounded` the share with an option of which only a bound is
        known.
        """
        masses = self.masses
        if not masses and not self.bounded:
            return {}
        return {
            "questions": self.choices,
            "known": len(masses),
            "mean": fmean(masses) if masses else None,
            "median": median(masses) if masses else None,
            "low": fmean(mass < LOW_MASS for mass in masses) if masses else None,
            "bounded": self.bounded / self.choices,
        }


class Engines:
    """The loaded engines; a model is loaded at its first call that is not in the store.

    Args:
        name: the generator's name.
        options: the generator's options.
        keep: engines loaded at a time. More than 1 means that there is enough memory: engines
            then also stay loaded while a stage trains.
        opener: loads a model, as `open_generator` does.

    Raises:
        UserError: an option is not valid.
    """

    def __init__(
        self,
        name: str,
        options: Mapping[str, Any],
        keep: int = 1,
        opener: Callable[..., Awaitable[Generator]] = open_generator,
    ):
        check_options(name, options)
        self.name = name
        self.options = options
        self.keep = keep
        self.answer_options = mask_identity(select_answer_options(options))
        marks = options.get("thought_marks") or THOUGHT_MARKS
        self.thought_marks = [(str(opening), str(closing)) for opening, closing in marks]
        self._open = opener
        self._loaded: dict[str, Generator] = {}
        self._loading = asyncio.Lock()

    async def get(self, model: Model) -> Generator:
        """Return the model's engine; load it if needed, in place of the oldest one."""
        async with self._loading:
            if model.content not in self._loaded:
                while len(self._loaded) >= self.keep:
                    oldest = next(iter(self._loaded))
                    await self._loaded.pop(oldest).close()
                self._loaded[model.content] = await self._open(self.name, model, self.options)
            return self._loaded[model.content]

    async def make_room(self) -> None:
        """Close the engine before training, unless several may be kept."""
        if self.keep == 1:
            await self.release()

    async def release(self) -> None:
        """Close all engines."""
        while self._loaded:
            _, engine = self._loaded.popitem()
            await engine.close()


def select_answer_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that change a prompt or an answer, and so are part of a call's key.

    The others change speed and memory only. Those of a `local` generator are nested in `local`.
    """
    selected = {name: options[name] for name in ANSWER_OPTIONS if options.get(name)}
    local = options.get("local", {}).get("options")
    if local:
        local_selected = select_answer_options(local)
        if local_selected:
            selected["local"] = local_selected
    return selected


class RememberedGenerator:
    """A Generator's `complete` and `choose`, answered from the store where possible.

    With `forecast` nothing is ever sent: a call that is not stored raises Unanswered.
    """

    def __init__(
        self, store: CallStore, engines: Engines, model: Model, tally: Tally, forecast: bool = False
    ):
        self.store = store
        self.engines = engines
        self.model = model
        self.tally = tally
        self.forecast = forecast

    async def complete(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        seed: int,
        keep_thoughts: bool = False,
    ) -> Completion:
        """See `Generator.complete`. The store holds the answer as it was written.

        Args:
            keep_thoughts: return thoughts in the text, between their marks; else they are split
                off into the completion's `thoughts`.
        """
        key = self._key(
            verb="complete", messages=list(messages), sampling=asdict(sampling), seed=seed
        )
        completion = self._recall(key, as_completion)
        if completion is None:
            engine = await self.engines.get(self.model)
            call = engine.complete(messages, sampling, seed)
            completion = await self._send(call, as_completion)
            self._remember(key, vars(completion), completion.completion_tokens)
        marks = self.engines.thought_marks
        return completion.join(marks) if keep_thoughts else completion.split(marks)

    async def choose(
        self, messages: Sequence[Message], options: Sequence[str], repeat: int = 0
    ) -> Choice:
        """See `Generator.choose`.

        Args:
            repeat: the same question asked again is another call, so that the store does not answer
                in place of the engine.
        """
        if self.forecast:
            check_choice(self.engines.name, self.model, options)
        parts = {"repeat": repeat} if repeat else {}
        key = self._key(verb="choose", messages=list(messages), options=list(options), **parts)
        check = partial(as_choice, options=len(options))
        choice = self._recall(key, check)
        if choice is None:
            engine = await self.engines.get(self.model)
            choice = await self._send(engine.choose(messages, options), check)
            self._remember(key, vars(choice), tokens=0)
        self.tally.add_choice(choice)
        return choice

    async def _send(self, call: Awaitable[T], check: Callable[[Any], T]) -> T:
        try:
            return check(await call)
        except CallFailed:
            self.tally.failed += 1
            raise
        except ValueError as error:
            self.tally.failed += 1
            raise CallFailed("an answer that cannot be used", str(error)) from None

    def _key(self, **parts: Any) -> str:
        return call_key(model=self.model.content, generator=self.engines.answer_options, **parts)

    def _recall(self, key: str, check: Callable[[Any], T]) -> T | None:
        """Return the stored answer, or None if the call is to be sent."""
        answer = self.store.get(key, lambda text: check(json.loads(text)))
        if answer is not None:
            self.tally.stored += 1
        elif self.forecast:
            raise Unanswered
        return answer

    def _remember(self, key: str, answer: Any, tokens: int) -> None:
        self.store.put(key, answer)
        self.tally.sent += 1
        self.tally.tokens += tokens
