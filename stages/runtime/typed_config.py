"""From plain YAML values to a stage's typed Config, and from a Config to what identifies it.

A number is a number: true is none, "5" is a text, 1.0 is not a whole number, and inf and nan are
refused everywhere. The types here bound an option where it is declared.
"""

import math
import re
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import asdict, field, fields, is_dataclass
from functools import cache
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError, SchemaValidator

from stages.guards.errors import Faults, UserError, refuse_unknown
from stages.guards.secrets import MASK, is_secret_name, mask

LARGEST_INT = 2**63 - 1
"""Of what rows and files can hold."""
DEEPEST = 50
"""Levels of lists and mappings in an option."""
MAPPING = re.compile(r"a valid dictionary|a dictionary or an instance of \w+")
"""What pydantic calls a mapping of YAML."""
SHOWN = 80
"""Characters of a wrong value that a message shows."""


def as_names(value: Any) -> Any:
    """Return a single name as a tuple; anything else as it is."""
    return (value,) if isinstance(value, str) else value


def _refuse_blank(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("blank", "It should not be empty")
    return text


def _refuse_repeated(names: tuple[str, ...]) -> tuple[str, ...]:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise PydanticCustomError(
            "repeated", "It names {names} twice", {"names": ", ".join(repeated)}
        )
    return names


def _refuse_empty_part(part: tuple[float, float]) -> tuple[float, float]:
    if part[0] >= part[1]:
        raise PydanticCustomError("empty_part", "It should be [from, to) with from below to")
    return part


Count = Annotated[int, Field(ge=1, le=10**9)]
"""How many."""
Few = Annotated[int, Field(ge=1, le=10_000)]
"""How often something is repeated for each row."""
Amount = Annotated[int, Field(ge=0, le=10**9)]
"""How many, perhaps none."""
Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""What numpy and torch take as a seed."""
Fraction = Annotated[float, Field(ge=0, le=1)]
Portion = Annotated[float, Field(gt=0, le=1)]
"""A fraction that is not 0."""
Inside = Annotated[float, Field(gt=0, lt=1)]
"""A fraction that is neither 0 nor 1."""
Positive = Annotated[float, Field(gt=0, le=1e9)]
NotNegative = Annotated[float, Field(ge=0, le=1e9)]
Part = Annotated[tuple[Fraction, Fraction], AfterValidator(_refuse_empty_part)]
"""[from, to) of the rows."""
Text = Annotated[str, AfterValidator(_refuse_blank)]
"""A text that says something."""
Names = Annotated[tuple[Text, ...], BeforeValidator(as_names), AfterValidator(_refuse_repeated)]
"""A list of different names; a single name may be written without brackets."""
SomeNames = Annotated[Names, Field(min_length=1)]


def machine(default: Any) -> Any:
    """Declare a Config field that changes how a step runs, but not its results.

    Such a field (a batch size of an engine, a device) is not a part of a step's identity.
    """
    metadata = {"identity": False}
    if isinstance(default, (dict, list)):
        return field(default_factory=lambda: default, metadata=metadata)
    return field(default=default, metadata=metadata)


def parse_config(config_type: type, values: Any, where: str) -> Any:
    """Build a Config, refusing unknown options and values of the wrong type.

    Raises:
        UserError: options are unknown, missing, of the wrong type or out of their bounds; the
            message names all of them.
    """
    if not isinstance(values, Mapping):
        fix = "give {<option>: <value>}"
        raise UserError(f"this is a mapping, not {show_value(values)}", where=where, fix=fix)
    faults = Faults()
    _refuse_unknown(config_type, values, where, faults)
    odd = list(_odd_values(values))
    for option, fault in odd:
        faults.add(UserError(f"option {option!r} {fault}", where=where, fix="give another value"))
    if faults.errors and not all(isinstance(name, str) for name in values):
        faults.raise_any()
    config: Any = None
    try:
        config = _validator(config_type).validate_python(dict(values))
    except ValidationError as error:
        _explain(error, where, {option for option, _ in odd}, faults)
    faults.raise_any()
    return config


@cache
def _validator(config_type: type) -> SchemaValidator:
    return SchemaValidator(_strict(TypeAdapter(config_type).core_schema))


def _strict(schema: Any) -> Any:
    """The schema of a type in which numbers and truth values are not converted from others."""
    if isinstance(schema, list | tuple):
        return type(schema)(_strict(inner) for inner in schema)
    if not isinstance(schema, dict):
        return schema
    strict = {}
    for key, inner in schema.items():
        strict[key] = inner if key in ("default", "expected", "metadata") else _strict(inner)
    match schema.get("type"):
        case "int":
            bounds = {"ge": -LARGEST_INT, "le": LARGEST_INT}
            return bounds | strict | {"strict": True}
        case "float":
            return strict | {"strict": True, "allow_inf_nan": False}
        case "bool":
            return strict | {"strict": True}
    return strict


def identity_of(config: Any) -> dict[str, Any]:
    """Return the fields of a Config that change results, as plain data."""
    plain = asdict(config)
    identity = {}
    for option in fields(config):
        if option.metadata.get("identity", True):
            identity[option.name] = _plain(plain[option.name])
    return identity


def _explain(error: ValidationError, where: str, odd: set[str], faults: Faults) -> None:
    """Add what pydantic found wrong, but for the odd options and those that are unknown."""
    for fault in error.errors(include_url=False):
        kind = fault["type"]
        option = ".".join(str(part) for part in fault["loc"])
        if option in odd or kind == "unexpected_keyword_argument":
            continue
        if kind in ("missing", "missing_argument"):
            what, fix = f"the option {option!r} is missing", "give it a value"
        else:
            value = show_value(fault["input"], option)
            words = fault["msg"].replace("valid tuple", "list, such as [a, b]")
            words = MAPPING.sub("a mapping, {name: value}", words)
            what = f"option {option!r}: {words} (given: {value})"
            fix = "correct the value in the pipeline file or on the command line"
        faults.add(UserError(what, where=where, fix=fix))


def show_value(value: Any, option: str = "") -> str:
    """Return a value as a message shows it: cut, and without secrets."""
    if is_secret_name(option.rpartition(".")[2]):
        return MASK
    text = mask(repr(value))
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _odd_values(value: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """The dotted names of all values that no file of JSON could hold, and what is wrong."""
    if depth > DEEPEST:
        yield name, f"holds more than {DEEPEST} levels"
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            inner_name = f"{name}.{show_key(key)}" if name else show_key(key)
            if not isinstance(key, str | int | float):
                yield inner_name, "is not named by a text"
            yield from _odd_values(key, inner_name, depth + 1)
            yield from _odd_values(inner, inner_name, depth + 1)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _odd_values(inner, name, depth + 1)
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield name, "must be a finite number"
    elif isinstance(value, str):
        if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
            yield name, "holds NUL, or half of a character"
    elif value is not None and not isinstance(value, int):
        yield name, f"holds a {type(value).__name__}, which is neither a text nor a number"


def show_key(key: Any) -> str:
    """Return an option's name as a message shows it."""
    return key if isinstance(key, str) and len(key) <= SHOWN else show_value(key)


def _refuse_unknown(
    config_type: type, values: Mapping[str, Any], where: str, faults: Faults, prefix: str = ""
) -> None:
    hints = typing.get_type_hints(config_type)
    allowed = [f"{prefix}{option.name}" for option in fields(config_type)]
    for name, value in values.items():
        with faults.gather():
            refuse_unknown([f"{prefix}{show_key(name)}"], allowed, "unknown option", where)
        declared = hints.get(name)
        is_union = typing.get_origin(declared) in (typing.Union, types.UnionType)
        for inner_type in typing.get_args(declared) if is_union else (declared,):
            if is_dataclass(inner_type) and isinstance(value, Mapping):
                inner = typing.cast(type, inner_type)
                _refuse_unknown(inner, value, where, faults, f"{prefix}{name}.")


def _plain(value: Any) -> Any:
    """The value with tuples as lists and keys as texts, as JSON would have it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value
