"""A generator's options as a user wrote them, to its `Options`."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from stages.runtime.errors import UserError, did_you_mean

T = TypeVar("T")


def read_options(kind: type[T], given: Mapping[str, Any] | T, name: str) -> T:
    """Build `kind` (a dataclass) from a mapping; an instance of it passes through.

    Raises:
        UserError: a field is unknown, or a required one is missing.
    """
    if isinstance(given, kind):
        return given
    assert isinstance(given, Mapping)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in given:
        if key not in fields:
            raise UserError(
                f"generator {name} has no option {key!r}.{did_you_mean(str(key), list(fields))}",
                where=f"generator.options.{key}",
                mend=f"its options are {', '.join(fields)}",
            )
    nothing = dataclasses.MISSING
    for key, field in fields.items():
        if key not in given and field.default is nothing and field.default_factory is nothing:
            raise UserError(
                f"generator {name} needs the option {key!r}", where="generator.options", mend=f"set generator.options.{key}"
            )
    return kind(**given)
