"""The generators by name: check their options and open one.

A generator's module offers its `Options` (a dataclass) and `open_generator(model, options)`. It is
imported only when its name is used, so that this room depends on no generator.
"""

import importlib
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import Field

from stages.runtime.errors import UserError, refuse_unknown
from stages.runtime.generation import Generator
from stages.runtime.models import Model
from stages.runtime.settings import parse_config

T = TypeVar("T")
Count = Annotated[int, Field(ge=1)]  # the type of many of their options

GENERATORS = {
    "vllm": "stages.generators.vllm",
    "server": "stages.generators.server",
    "transformers": "stages.generators.transformers",
}


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


def check_options(name: str, options: Any) -> None:
    """Refuse what `open_generator(name, ...)` would refuse in `options`, before any work is done.

    A name that is not in GENERATORS is not checked: tests open generators of their own.

    Raises:
        UserError: as `read_options`.
    """
    if name not in GENERATORS:
        return
    module = importlib.import_module(GENERATORS[name])
    parsed = read_options(module.Options, options, name)
    local = getattr(parsed, "local", None)
    if local:
        check_options(local.name, local.options)


def read_options(kind: type[T], options: Mapping[str, Any] | T, name: str) -> T:
    """Build `kind`, the `Options` of the generator called `name`, from what the user wrote.

    Args:
        kind: a dataclass.
        options: its fields; an instance of `kind` is returned as it is.
        name: the generator's name, for messages.

    Raises:
        UserError: a field is unknown, of the wrong type or out of its bounds.
    """
    if isinstance(options, kind):
        return options
    if not isinstance(options, Mapping):
        raise UserError(
            f"{options!r} is not a mapping of options",
            where="generator.options",
            fix="write {option: value}, or {} for none",
        )
    parsed: T = parse_config(kind, options, f"generator.options of {name}")
    return parsed
