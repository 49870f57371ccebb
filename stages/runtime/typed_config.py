"""From plain YAML values to a stage's typed Config, and from a Config to what identifies it."""

import math
import typing
from collections.abc import Iterator, Mapping
from dataclasses import asdict, field, fields, is_dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, TypeAdapter, ValidationError

from stages.guards.errors import UserError, refuse_unknown


def as_names(value: Any) -> Any:
    """Return a single name as a tuple; anything else as it is."""
    return (value,) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(as_names)]
"""A list of names; a single name may be written without brackets."""


def machine(default: Any) -> Any:
    """Declare a Config field that changes how a step runs, but not its results.

    Such a field (a batch size of an engine, a device) is not a part of a step's identity.
    """
    metadata = {"identity": False}
    if isinstance(default, (dict, list)):
        return field(default_factory=lambda: default, metadata=metadata)
    return field(default=default, metadata=metadata)


def parse_config(config_type: type, values: Mapping[str, Any], where: str) -> Any:
    """Build a Config, refusing unknown options and values of the wrong type.

    Raises:
        UserError: an option is unknown, missing or of the wrong type; the message names it.
    """
    _refuse_unknown(config_type, values, where)
    try:
        config: Any = TypeAdapter(config_type).validate_python(dict(values))
    except ValidationError as error:
        raise _explain(error, where) from None
    for option in _not_finite(asdict(config)):
        raise UserError(
            f"option {option!r} must be a finite number",
            where=where,
            fix="give a number other than inf and nan",
        )
    return config


def identity_of(config: Any) -> dict[str, Any]:
    """Return the fields of a Config that change results, as plain data."""
    plain = asdict(config)
    identity = {}
    for option in fields(config):
        if option.metadata.get("identity", True):
            identity[option.name] = _plain(plain[option.name])
    return identity


def _explain(error: ValidationError, where: str) -> UserError:
    first = error.errors()[0]
    option = ".".join(str(part) for part in first["loc"])
    if first["type"] in ("missing", "missing_argument"):
        return UserError(f"the option {option!r} is missing", where=where, fix="give it a value")
    return UserError(
        f"option {option!r}: {first['msg']} (given: {first['input']!r})",
        where=where,
        fix="correct the value in the pipeline file or on the command line",
    )


def _not_finite(value: Any, name: str = "") -> Iterator[str]:
    """The dotted names of all numbers that are inf or nan."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _not_finite(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _not_finite(inner, name)
    elif isinstance(value, float) and not math.isfinite(value):
        yield name


def _refuse_unknown(
    config_type: type, values: Mapping[str, Any], where: str, prefix: str = ""
) -> None:
    types = typing.get_type_hints(config_type)
    allowed = [f"{prefix}{option.name}" for option in fields(config_type)]
    refuse_unknown([f"{prefix}{name}" for name in values], allowed, "unknown option", where)
    for name, value in values.items():
        if is_dataclass(types[name]) and isinstance(value, Mapping):
            inner_type = typing.cast(type, types[name])
            _refuse_unknown(inner_type, value, where, f"{prefix}{name}.")


def _plain(value: Any) -> Any:
    """The value with tuples as lists and keys as texts, as JSON would have it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value
