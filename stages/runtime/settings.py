"""From plain YAML values to a stage's typed Config, and from a Config to what identifies it."""

import math
import typing
from collections.abc import Iterator, Mapping
from dataclasses import asdict, field, fields, is_dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, TypeAdapter, ValidationError

from stages.runtime.errors import UserError, did_you_mean

# Names, of which a user may give one without brackets.
Names = Annotated[
    tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)
]


def machine(default: Any) -> Any:
    """A Config field that says how to run and not what to compute (a batch size, a device): no part
    of a step's identity.
    """
    if isinstance(default, (dict, list)):
        return field(default_factory=lambda: default, metadata={"identity": False})
    return field(default=default, metadata={"identity": False})


def parse_config(config_type: type, values: Mapping[str, Any], where: str) -> Any:
    """Build a Config, refusing unknown and ill-typed options.

    Raises:
        UserError: naming the option and the nearest known one.
    """
    _refuse_unknown(config_type, values, where)
    try:
        config: Any = TypeAdapter(config_type).validate_python(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        option = ".".join(str(part) for part in first["loc"])
        if first["type"] == "missing" or first["type"] == "missing_argument":
            raise UserError(
                f"the option {option!r} is missing", where=where, fix="give it a value"
            ) from None
        raise UserError(
            f"option {option!r}: {first['msg']} (given: {first['input']!r})",
            where=where,
            fix="fix the value in the pipeline file or on the command line",
        ) from None
    for option in _not_finite(asdict(config)):
        raise UserError(
            f"option {option!r} must be a finite number",
            where=where,
            fix="give a number other than inf and nan",
        )
    return config


def _not_finite(value: Any, name: str = "") -> Iterator[str]:
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
    hints = typing.get_type_hints(config_type)
    known = [f.name for f in fields(config_type)]
    for name, value in values.items():
        if name not in known:
            raise UserError(
                f"unknown option {prefix + str(name)!r}.{did_you_mean(str(name), known)}",
                where=where,
                fix=f"the options are {', '.join(known)}",
            )
        if is_dataclass(hints[name]) and isinstance(value, Mapping):
            _refuse_unknown(typing.cast(type, hints[name]), value, where, f"{prefix}{name}.")


def identity_of(config: Any) -> dict[str, Any]:
    """The fields of a Config that bear meaning, as plain data."""
    kept = {f.name for f in fields(config) if f.metadata.get("identity", True)}
    plain = {name: value for name, value in asdict(config).items() if name in kept}
    return typing.cast(dict[str, Any], _listed(plain))


def _listed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _listed(v) for k, v in value.items()}
    return [_listed(v) for v in value] if isinstance(value, (list, tuple)) else value
