"""The generators by name: check their options, open one, and say what answers for a model.

A generator's module offers its `Options` (a dataclass) and `open_generator(model, options)`. It is
imported only when its name is used, so that this room depends on no generator.
"""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from stages.guards.errors import UserError, refuse_unknown
from stages.guards.secrets import mask_identity
from stages.runtime.cost.prices import Prices
from stages.runtime.generation import THOUGHT_MARKS, Generator, JudgeForm
from stages.runtime.models import Model
from stages.runtime.typed_config import parse_config

GENERATORS = {
    "vllm": "stages.generators.vllm",
    "server": "stages.generators.servers.server",
    "replicas": "stages.generators.servers.replicas",
    "transformers": "stages.generators.transformers",
}
OPTION_TOKENS = "stages.generators.rendering"
"""What the generators share: which token stands for an option; imported by name, as they are."""


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


@dataclass(frozen=True)
class Answerer:
    """A generator by its name, with its options."""

    name: str
    options: Mapping[str, Any]
    place: str = RUN_OPTIONS
    """What a message calls the options."""
    form: JudgeForm | None = None
    """How its model is asked as a judge; None: as any model."""
    prices: Prices | None = None
    """Of its tokens; None: they have none."""

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
        facts |= {"form": asdict(self.form)} if self.form else {}
        return facts | ({"prices": asdict(self.prices)} if self.prices else {})

    @classmethod
    def from_plain(cls, facts: Mapping[str, Any]) -> "Answerer":
        """Return what `describe` describes."""
        form = facts.get("form")
        form = form and parse_config(JudgeForm, form, "form")
        prices = Prices(**facts["prices"]) if facts.get("prices") else None
        return cls(**{**facts, "form": form, "prices": prices})

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


async def open_generator(name: str, model: Model, options: Mapping[str, Any]) -> Generator:
    """Load a model behind the generator called `name`.

    Args:
        name: a key of GENERATORS.
        model: the model to load.
        options: fields of that generator's `Options`.

    Raises:
        UserError: the name or an option is unknown, or the generator cannot load the model.
    """
    refuse_unknown([name], GENERATORS, "no generator is called", "generator.name")
    module = importlib.import_module(GENERATORS[name])
    return await module.open_generator(model, options)


def check_choice(name: str, model: Model, options: Sequence[str]) -> None:
    """Refuse options that no generator can score, before one is opened: see `rendering.py`.

    Raises:
        UserError: an option is not one token of the model, as far as its files show.
    """
    if name in GENERATORS:
        module = importlib.import_module(OPTION_TOKENS)
        module.refuse_split_options(model.path, tuple(options))


def is_remote(name: str, path: str, options: Mapping[str, Any]) -> bool:
    """Return whether servers hold the model of this path, so that it takes no room here."""
    if name not in GENERATORS:
        return False
    module = importlib.import_module(GENERATORS[name])
    ask = getattr(module, "is_remote", None)
    return ask is not None and bool(ask(path, options))


def continues_answers(name: str, path: str, options: Mapping[str, Any]) -> bool:
    """Return whether the generator continues the beginning of an answer (`prefix`)."""
    if is_remote(name, path, options):
        return False
    local = options.get("local", {}).get("name", name)
    module = importlib.import_module(GENERATORS[local]) if local in GENERATORS else None
    return bool(getattr(module, "CONTINUES_ANSWERS", True))


def is_fallback(name: str, path: str, options: Mapping[str, Any]) -> bool:
    """Return whether this process answers for the model in place of the generator's servers."""
    module = importlib.import_module(GENERATORS[name]) if name in GENERATORS else None
    return hasattr(module, "is_remote") and not is_remote(name, path, options)


async def refuse_unreached(name: str, options: Mapping[str, Any], patient: bool) -> None:
    """Refuse servers of which none answers; no model is asked anything.

    Args:
        name: of a generator for which `is_remote` is true.
        patient: try as long as a first call would.

    Raises:
        UserError: none can be reached.
    """
    await importlib.import_module(GENERATORS[name]).refuse_unreached(options, patient)


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Refuse what `open_generator(name, ...)` would refuse in `options`, before any work is done.

    A name that is not in GENERATORS is not checked: tests use their own generators.

    Raises:
        UserError: a field is unknown, of the wrong type or out of its bounds.
    """
    if name not in GENERATORS:
        return
    module = importlib.import_module(GENERATORS[name])
    parsed = parse_config(module.Options, options, f"generator.options of {name}")
    local = getattr(parsed, "local", None)
    if local:
        check_options(local.name, local.options)


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
