"""A generator's options as a user wrote them, to its `Options`."""

import importlib
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import Field

from stages.generators import GENERATORS
from stages.runtime.errors import UserError
from stages.runtime.settings import parse_config

T = TypeVar("T")
Count = Annotated[int, Field(ge=1)]


def read_options(kind: type[T], given: Mapping[str, Any] | T, name: str) -> T:
    """Build `kind` (a dataclass) from a mapping; an instance of it passes through.

    Raises:
        UserError: a field is unknown, ill-typed or out of its bounds.
    """
    if isinstance(given, kind):
        return given
    if not isinstance(given, Mapping):
        raise UserError(
            f"{given!r} is no mapping of options",
            where="generator.options",
            fix="write {option: value}, or {} for none",
        )
    return parse_config(kind, given, f"generator.options of {name}")  # type: ignore[no-any-return]


def check_options(name: str, given: Any) -> None:
    """Refuse what `open_generator(name, ...)` would refuse in `given`, before hours of work lead up
    to it.
    """
    if name in GENERATORS:
        options = read_options(importlib.import_module(GENERATORS[name]).Options, given, name)
        if local := getattr(options, "local", None):
            check_options(local.name, local.options)
