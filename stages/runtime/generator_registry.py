"""The generators by name: check their options and open one.

A generator's module offers its `Options` (a dataclass) and `open_generator(model, options)`. It is
imported only when its name is used, so that this room depends on no generator.
"""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from stages.guards.errors import refuse_unknown
from stages.runtime.generation import Generator
from stages.runtime.models import Model
from stages.runtime.typed_config import parse_config

GENERATORS = {
    "vllm": "stages.generators.vllm",
    "server": "stages.generators.server",
    "transformers": "stages.generators.transformers",
}
OPTION_TOKENS = "stages.generators.rendering"
"""What the generators share: which token stands for an option; imported by name, as they are."""


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
