"""A generator with a memory: answered calls come from the store, new ones load the engine."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import Any, TypeVar

from stages.guards.errors import UserError
from stages.guards.secrets import mask_identity
from stages.runtime.generation import (
    THOUGHT_MARKS,
    CallFailed,
    Choice,
    Completion,
    Generator,
    JudgeForm,
    Sampling,
    as_choice,
    as_completion,
)
from stages.runtime.generator_registry import (
    check_choice,
    check_options,
    is_remote,
    open_generator,
)
from stages.runtime.manifest import fingerprint
from stages.runtime.models import Model
from stages.runtime.rows import Message
from stages.runtime.store import CallStore, call_key
from stages.runtime.tally import Tally
from stages.runtime.typed_config import parse_config

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


RUN_OPTIONS = "generator.options"
"""What messages call a generator's options."""


T = TypeVar("T")


class Unanswered(Exception):
    """In a forecast: this call is not in the store, so its row stops here."""


@dataclass(frozen=True)
class Answerer:
    """A generator by its name, with its options."""

    name: str
    options: Mapping[str, Any]
    place: str = RUN_OPTIONS
    """What a message calls the options."""
    form: JudgeForm | None = None
    """How its model is asked as a judge; None: as any model."""

    @cached_property
    def answer_options(self) -> dict[str, Any]:
        """The options that are part of a call's key, without secrets."""
        masked: dict[str, Any] = mask_identity(select_answer_options(self.options))
        return masked

    @cached_property
    def thought_marks(self) -> list[tuple[str, str]]:
        """The marks around a model's thoughts."""
        marks = self.options.get("thought_marks") or THOUGHT_MARKS
        return [(str(opening), str(closing)) for opening, closing in marks]

    def describe(self) -> dict[str, Any]:
        """Return its arguments as plain data."""
        facts = {"name": self.name, "options": dict(self.options), "place": self.place}
        return facts | ({"form": asdict(self.form)} if self.form else {})

    @classmethod
    def from_plain(cls, facts: Mapping[str, Any]) -> "Answerer":
        """Return what `describe` describes."""
        form = facts.get("form")
        form = form and parse_config(JudgeForm, form, "form")
        return cls(**{**facts, "form": form})

    @contextmanager
    def name_place(self) -> Iterator[None]:
        """Let errors name these options, and not those of the run's generator."""
        try:
            yield
        except UserError as error:
            for fault in getattr(error, "errors", [error]):
                fault.where = fault.where.replace(RUN_OPTIONS, self.place)
                fault.fix = fault.fix.replace(RUN_OPTIONS, self.place)
            raise


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
    ):
        check_options(name, options)
        self.name = name
        self.options = options
        self.keep = keep
        self._run = Answerer(name, options)
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
    ) -> str:
        """Have another generator ready for the models that name it.

        Args:
            name: its name; None: the run's generator, with `options` in place of its own ones.
            place: what a message calls the options.
            form: how these models are asked as judges.

        Returns:
            Its label, for `Model.generator`; "" for the run's generator without other options.

        Raises:
            UserError: an option is not valid.
        """
        if name is None and not options and form is None:
            return ""
        every = options if name else {**self.options, **options}
        other = Answerer(name or self.name, every, place, form)
        with other.name_place():
            check_options(other.name, every)
        facts = {"name": other.name, "options": mask_identity(dict(every))}
        if form:
            facts["form"] = asdict(form)
        label = f"{other.name}-{fingerprint(facts)}"
        self._others[label] = other
        return label

    def describe(self) -> dict[str, Any]:
        """Return the arguments that build the same `Engines` in another process."""
        others = {label: other.describe() for label, other in self._others.items()}
        run = {"name": self.name, "options": dict(self.options), "keep": self.keep}
        return run | {"others": others}

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
        self.answerer = engines.answerer(model)
        self.model = model
        self.tally = tally
        self.forecast = forecast

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
        if is_remote(answerer.name, self.model.path, answerer.options):
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
        key = self._key(
            verb="complete", messages=list(messages), sampling=vars(sampling), seed=seed, **parts
        )
        completion = self._recall(key, as_completion)
        if completion is None:
            engine = await self.engines.get(self.model)
            call = engine.complete(messages, sampling, seed, **parts)
            completion = await self._send(call, as_completion)
            await self._remember(key, vars(completion), completion.completion_tokens)
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
        key = self._key(verb="choose", messages=list(messages), options=list(options), **parts)
        check = partial(as_choice, options=len(options))
        choice = self._recall(key, check)
        if choice is None:
            engine = await self.engines.get(self.model)
            choice = await self._send(engine.choose(messages, options), check)
            await self._remember(key, vars(choice), tokens=0)
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

    def _key(self, **parts: Any) -> str:
        return call_key(model=self.model.content, generator=self.answerer.answer_options, **parts)

    def _recall(self, key: str, check: Callable[[Any], T]) -> T | None:
        """Return the stored answer, or None if the call is to be sent."""
        answer = self.store.get(key, lambda text: check(json.loads(text)))
        if answer is not None:
            self.tally.stored += 1
        elif self.forecast:
            raise Unanswered
        return answer

    async def _remember(self, key: str, answer: Any, tokens: int) -> None:
        await self.store.put_soon(key, answer)
        self.tally.sent += 1
        self.tally.tokens += tokens
