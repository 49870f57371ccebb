"""A generator with a memory: answered calls come from the store, new ones load the engine."""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, fields
from functools import cached_property, partial
from typing import Any, TypeVar

from stages.guards.errors import UserError
from stages.guards.secrets import mask_identity
from stages.runtime.cost.budget import Budget
from stages.runtime.cost.prices import (
    CHARACTERS_PER_TOKEN,
    Prices,
    Usage,
    bound_tokens,
    estimate_tokens,
    read_tokenizer,
)
from stages.runtime.generation import (
    CallFailed,
    Choice,
    Completion,
    Generator,
    JudgeForm,
    Sampling,
    as_choice,
    as_completion,
    parse_completion,
)
from stages.runtime.generator_registry import (
    Answerer,
    check_choice,
    check_options,
    continues_answers,
    is_fallback,
    is_remote,
    open_generator,
)
from stages.runtime.manifest import fingerprint
from stages.runtime.models import Model
from stages.runtime.rows import Message
from stages.runtime.store import CallStore, as_key_json, join_key
from stages.runtime.tally import Tally

STAND_IN = "word "
"""In a forecast: a token of a text that is not written yet."""
STORED_FIELDS = {
    Completion: tuple(one.name for one in fields(Completion) if one.name != "cached_tokens"),
    Choice: tuple(one.name for one in fields(Choice) if not one.name.endswith("_tokens")),
}
"""Of an answer; the others only say how it was made."""
T = TypeVar("T")


class Unanswered(Exception):
    """In a forecast that has followed enough rows: this call is not in the store."""


class Engines:
    """The loaded engines; a model is loaded at its first call that is not in the store.

    One generator answers for all models of a run, except for those that name another one. A model
    that servers hold takes no room: its connections stay open.

    Args:
        name: the generator's name.
        options: the generator's options.
        keep: engines loaded at a time. More than 1 means that there is enough memory: engines
            then also stay loaded while a stage trains.
        opener: loads a model, as `open_generator` does.
        others: further generators by their labels, as `describe` returns them.
        prices: of the tokens of the run's generator, as plain data; None: they have none.
        budget: the arguments of the run's `Budget`; None: no limits.

    Raises:
        UserError: an option is not valid.
    """

    def __init__(
        self,
        name: str,
        options: Mapping[str, Any],
        keep: int = 1,
        opener: Callable[..., Awaitable[Generator]] = open_generator,
        others: Mapping[str, Mapping[str, Any]] | None = None,
        prices: Mapping[str, Any] | None = None,
        budget: Mapping[str, Any] | None = None,
    ):
        check_options(name, options)
        self.name = name
        self.options = options
        self.keep = keep
        self.budget = Budget(**(budget or {}))
        self._run = Answerer(name, options, prices=Prices(**prices) if prices else None)
        self._others = {name: Answerer.from_plain(facts) for name, facts in (others or {}).items()}
        self._open = opener
        self._loaded: dict[tuple[str, str], Generator] = {}
        self._connected: dict[tuple[str, str], Generator] = {}
        self._loading = asyncio.Lock()

    @property
    def answer_options(self) -> dict[str, Any]:
        """Of the run's generator, see `Answerer`."""
        return self._run.answer_options

    @property
    def thought_marks(self) -> list[tuple[str, str]]:
        """Of the run's generator, see `Answerer`."""
        return self._run.thought_marks

    def add(
        self,
        name: str | None,
        options: Mapping[str, Any],
        place: str,
        form: JudgeForm | None = None,
        prices: Prices | None = None,
    ) -> str:
        """Have another generator ready for the models that name it.

        Args:
            name: its name; None: the run's generator, with `options` in place of its own ones.
            place: what a message calls the options.
            form: how these models are asked as judges.
            prices: of its tokens; None: those of the run's generator, if that is the one.

        Returns:
            Its label, for `Model.generator`; "" for the run's generator without other options.

        Raises:
            UserError: an option is not valid.
        """
        if name is None and not options and form is None and prices is None:
            return ""
        if name is None:
            prices = prices or self._run.prices
        every = options if name else {**self.options, **options}
        other = Answerer(name or self.name, every, place, form, prices)
        with other.name_place():
            check_options(other.name, every)
        facts = {"name": other.name, "options": mask_identity(dict(every))}
        if form:
            facts["form"] = asdict(form)
        if prices:
            facts["prices"] = asdict(prices)
        label = f"{other.name}-{fingerprint(facts)}"
        self._others[label] = other
        return label

    def describe(self, processes: int = 1) -> dict[str, Any]:
        """Return the arguments that build the same `Engines` in other processes.

        Args:
            processes: how many share what is left of the budget.
        """
        others = {label: other.describe() for label, other in self._others.items()}
        run = {"name": self.name, "options": dict(self.options), "keep": self.keep}
        prices = asdict(self._run.prices) if self._run.prices else None
        return run | {"others": others, "prices": prices, "budget": self.budget.share(processes)}

    @property
    def has_prices(self) -> bool:
        """Whether the tokens of any generator have a price."""
        return any(each.prices for each in (self._run, *self._others.values()))

    def prices(self, model: Model) -> Prices | None:
        """Return the prices of a model's tokens; None where they have none.

        Those of servers do not count for a model that this process answers for in their place.
        """
        answerer = self.answerer(model)
        if is_fallback(answerer.name, model.path, answerer.options):
            return None
        return answerer.prices

    def answerer(self, model: Model) -> Answerer:
        """Return the generator that answers for a model."""
        return self._others[model.generator] if model.generator else self._run

    async def get(self, model: Model) -> Generator:
        """Return the model's engine; load it if needed, in place of the oldest one."""
        key = (model.generator, model.content)
        async with self._loading:
            engine = self._connected.get(key) or self._loaded.get(key)
            return engine or await self._add_engine(key, model)

    async def _add_engine(self, key: tuple[str, str], model: Model) -> Generator:
        answerer = self.answerer(model)
        engines = self._loaded
        if is_remote(answerer.name, model.path, answerer.options):
            engines = self._connected
        while engines is self._loaded and len(engines) >= self.keep:
            oldest = next(iter(engines))
            await engines.pop(oldest).close()
        with answerer.name_place():
            engines[key] = await self._open(answerer.name, model, answerer.options)
        return engines[key]

    async def make_room(self) -> None:
        """Close the engine before training, unless several may be kept."""
        if self.keep == 1:
            await _close_all(self._loaded)

    async def release(self) -> None:
        """Close all engines."""
        await _close_all(self._loaded)
        await _close_all(self._connected)


async def _close_all(engines: dict[tuple[str, str], Generator]) -> None:
    while engines:
        _, engine = engines.popitem()
        await engine.close()


class RememberedGenerator:
    """A Generator's `complete` and `choose`, answered from the store where possible.

    With `forecast` nothing is ever sent: a call that is not stored is counted in the tally's
    `foreseen` and gets a stand-in. Once enough are counted it raises Unanswered.
    """

    def __init__(
        self, store: CallStore, engines: Engines, model: Model, tally: Tally, forecast: bool = False
    ):
        self.store = store
        self.engines = engines
        self.answerer = engines.answerer(model)
        self.model = model
        self.tally = tally
        self.forecast = forecast
        self._shared_parts = {
            "model": as_key_json(model.content),
            "generator": as_key_json(self.answerer.answer_options),
        }
        """Of every call's key, as JSON."""
        self._sampling: tuple[Sampling | None, str] = (None, "")
        """The sampling of the last call, as it is and as JSON."""

    @cached_property
    def prices(self) -> Prices | None:
        """Of the model's tokens; see `Engines.prices`."""
        return self.engines.prices(self.model)

    @property
    def thought_marks(self) -> list[tuple[str, str]]:
        """The marks around the model's thoughts."""
        return self.answerer.thought_marks

    @property
    def form(self) -> JudgeForm | None:
        """How the model is asked as a judge; see `Answerer`."""
        return self.answerer.form

    def refuse_server(self, where: str) -> None:
        """Refuse a model that servers hold, to a stage that continues the beginnings of answers.

        Raises:
            UserError: they hold it.
        """
        answerer = self.answerer
        if not continues_answers(answerer.name, self.model.path, answerer.options):
            raise UserError(
                "answers are continued from their beginnings, which a server does not do",
                where=where,
                fix="set generator=vllm or generator=transformers",
            )

    async def complete(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        seed: int,
        keep_thoughts: bool = False,
        prefix: str = "",
    ) -> Completion:
        """See `Generator.complete`. The store holds the answer as it was written.

        Args:
            keep_thoughts: return thoughts in the text, between their marks; else they are split
                off into the completion's `thoughts`.
        """
        parts = {"prefix": prefix} if prefix else {}
        if self._sampling[0] is not sampling:
            self._sampling = (sampling, as_key_json(vars(sampling)))
        shared = self._shared_parts | {"sampling": self._sampling[1]}
        key = _key(shared, verb="complete", messages=list(messages), seed=seed, **parts)
        completion = await self._recall(key, parse_completion)
        if completion is None and self.forecast:
            return self._foresee_text(messages, sampling)
        if completion is None:
            most = Usage(bound_tokens(messages), 0, sampling.max_tokens)
            async with self.engines.budget.hold(most, self.prices):
                engine = await self.engines.get(self.model)
                call = engine.complete(messages, sampling, seed, **parts)
                completion = await self._send(call, as_completion)
                written = completion.completion_tokens or (
                    len(completion.text + completion.thoughts) // CHARACTERS_PER_TOKEN
                )
                self._spend(messages, completion, written)
            self.tally.sent_texts += 1
            await self._remember(key, completion)
        self.tally.add_text(completion, sampling.max_tokens)
        marks = self.thought_marks
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
            check_choice(self.answerer.name, self.model, options)
        parts = {"repeat": repeat} if repeat else {}
        shared = self._shared_parts
        key = _key(shared, verb="choose", messages=list(messages), options=list(options), **parts)
        check = partial(as_choice, options=len(options))
        choice = await self._recall(key, lambda text: check(json.loads(text)))
        if choice is None and self.forecast:
            self._foresee(messages, 1, is_text=False)
            return Choice([-math.log(len(options))] * len(options))
        if choice is None:
            most = Usage(bound_tokens(messages), 0, 1)
            async with self.engines.budget.hold(most, self.prices):
                engine = await self.engines.get(self.model)
                choice = await self._send(engine.choose(messages, options), check)
                self._spend(messages, choice, 1)
            await self._remember(key, choice)
        self.tally.add_choice(choice)
        return choice

    async def _send(self, call: Awaitable[T], check: Callable[[Any], T]) -> T:
        try:
            with self.answerer.name_place():
                return check(await call)
        except CallFailed:
            self.tally.failed += 1
            raise
        except ValueError as error:
            self.tally.failed += 1
            raise CallFailed("an answer that cannot be used", str(error)) from None

    async def _recall(self, key: str, read: Callable[[str], T]) -> T | None:
        """Return the stored answer, or None if the call is to be sent."""
        answer = await self.store.get_soon(key, read)
        if answer is not None:
            self.tally.stored += 1
        return answer

    async def _remember(self, key: str, answer: Completion | Choice) -> None:
        fields = {name: answer.__dict__[name] for name in STORED_FIELDS[type(answer)]}
        await self.store.put_soon(key, fields)

    def _spend(self, messages: Sequence[Message], answer: Completion | Choice, wrote: int) -> None:
        """Count the tokens of a call that was sent, and what they cost."""
        read = answer.prompt_tokens or estimate_tokens(messages)
        usage = Usage(read, min(answer.cached_tokens, read), wrote)
        cost = self.prices.cost(usage) if self.prices else None
        self.engines.budget.spend(usage, cost)
        self.tally.add_usage(usage, cost, is_estimated=not answer.prompt_tokens)

    def _foresee_text(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """Count a text that would be sent for; return a stand-in as long as texts of the step."""
        self._foresee(messages, sampling.max_tokens, is_text=True)
        mean = self.tally.mean_text()
        likely = sampling.max_tokens if mean is None else round(mean)
        return Completion(STAND_IN * max(1, likely), "stop", 0, 0)

    def _foresee(self, messages: Sequence[Message], most: int, is_text: bool) -> None:
        """Count a call that would be sent.

        Raises:
            Unanswered: enough rows were followed.
        """
        foreseen = self.tally.foreseen
        if foreseen.is_full:
            raise Unanswered
        read = estimate_tokens(messages, read_tokenizer(self.model.path))
        foreseen.add(self.prices, read, most, is_text)


def _key(shared: Mapping[str, str], **parts: Any) -> str:
    """Return the key of a call, some of whose parts are JSON already."""
    return join_key({**shared, **{name: as_key_json(part) for name, part in parts.items()}})
