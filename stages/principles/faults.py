"""Turn pydantic's errors on a constitution file into messages: what is wrong, where, and a fix."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from stages.guards.errors import MOST_FAULTS, UserError, did_you_mean
from stages.guards.files import shorten
from stages.principles.document import Document

SEE_README = "see constitutions/README.md for the format"
TARGETS_FORMAT = "write targets: {<name>: {<dimension>: <number from -1 to 1>}}"
THEORY_FORMAT = "write theory: {circle: [<dimension>, ...], groups: {<name>: [<dimension>, ...]}}"
YAML_NAMES = {
    bool: "a yes/no value",
    int: "a number",
    float: "a number",
    date: "a date",
    datetime: "a date",
    dict: "a mapping",
    list: "a list",
}


def slug(text: str) -> str:
    """Return `text` as a slug: lower case letters and digits, joined by hyphens, a letter first."""
    words = "-".join(re.findall(r"[a-z0-9]+", text.lower()))[:60].strip("-")
    return words if words[:1].isalpha() else f"p-{words}".strip("-")


def explain(
    error: ValidationError | None,
    document: Document,
    *keys: list[str],
) -> list[UserError]:
    """Return the faults of a file, by line; a missing key comes last, as it may be a misspelt one.

    Args:
        error: what is wrong with the data, beside the faults that reading it showed.
        keys: those of the file, of a principle, of an example, and of a theory.
    """
    details = error.errors(include_url=False) if error else []
    of_theory = [fault for each in details for fault in each.get("ctx", {}).get("faults", ())]
    details = [each for each in details if each["type"] != "theory"]
    ordered = sorted(
        details, key=lambda fault: (fault["type"] == "missing", document.line(*_path(fault)))
    )
    errors = {fault.where: [fault] for fault in reversed(document.faults)}
    read = set(errors)
    for detail in ordered[:MOST_FAULTS]:
        path = _path(detail)
        what, fix = _what_and_fix(detail, keys[_depth(detail["loc"])])
        what = f"{_principle_prefix(path, document.data)}{what}"
        fault = UserError(what, where=document.where(*path), fix=fix)
        if fault.where not in read:  # a value that cannot be read is also missing
            errors.setdefault(fault.where, []).append(fault)
    for each in sorted(of_theory, key=lambda fault: document.line(*fault.path)):
        fault = UserError(each.what, where=document.where(*each.path), fix=each.fix)
        errors.setdefault(fault.where, []).append(fault)
    return [fault for faults in errors.values() for fault in faults]


def _depth(location: tuple[int | str, ...]) -> int:
    """Return what a value belongs to: 0 the file, 1 a principle, 2 an example, 3 a theory."""
    if location[:1] == ("theory",) and len(location) > 1:
        return 3
    if location[:1] != ("principles",) or len(location) < 3:
        return 0
    return 2 if location[2] == "examples" and len(location) > 4 else 1


def _path(detail: ErrorDetails) -> tuple[int | str, ...]:
    location = tuple(detail.get("ctx", {}).get("path", detail["loc"]))
    return location[:-1] if location[-1:] == ("[key]",) else location


def _principle_prefix(path: tuple[int | str, ...], data: Any) -> str:
    if len(path) < 2 or path[0] != "principles" or not isinstance(path[1], int):
        return ""
    entry = data["principles"][path[1]]
    name = entry.get("id") if isinstance(entry, dict) else None
    return (
        f"principle {name[:80]!r}: "
        if isinstance(name, str)
        else f"principle number {path[1] + 1}: "
    )


def _what_and_fix(detail: ErrorDetails, allowed_keys: list[str]) -> tuple[str, str]:
    value = detail["input"]
    path = _path(detail)
    is_list_item = len(path) > 1 and isinstance(path[-1], int)
    key = shorten(str(path[-2] if is_list_item else path[-1]))
    list_of_keys = f"the keys are: {', '.join(allowed_keys)}"
    match detail["type"]:
        case "extra_forbidden":
            what = f"unknown key {key!r}{did_you_mean(key, allowed_keys)}"
            fix = list_of_keys
        case "invalid_key":
            what = f"the key {_shorten(value)} is not text"
            fix = list_of_keys
        case "missing":
            what = f"the key {key!r} is missing"
            fix = f"add {key}: ... ; {SEE_README}"
        case "string_type" if value is not None:
            what = f"{key!r} must be text, not {_describe(value)}"
            fix = f'put it in quotes: {key}: "..."'
        case "string_type" | "string_too_short":
            what = f"{key!r} is empty"
            fix = "write the text, or remove the key"
        case "string_pattern_mismatch":
            what = f"{_shorten(value)!r} is not a slug"
            fix = f"use lower case letters, digits and single hyphens: {slug(str(value))}"
        case "float_type" | "int_type":
            what = f"{key!r} must be a number, not {_describe(value)}"
            fix = (
                "write a plain number without quotes, such as 0.5 "
                "(1e-3 is text in YAML, 1.0e-3 a number)"
            )
        case "greater_than":
            what = f"{key!r} must be above {detail['ctx']['gt']:g}, not {_shorten(value)}"
            fix = "to leave a principle out, drop it"
        case "model_type":
            what = f"this must be a mapping, not {_describe(value)}"
            fix = "start each principle with - id: ..."
            if path[0] == "theory":
                fix = THEORY_FORMAT
            elif _depth(detail["loc"]):
                fix = "write - {request: ..., good: [...], bad: [...]}"
        case "literal_error":
            levels = re.findall(r"'([^']+)'", detail["ctx"]["expected"])
            what = f"{key!r} is {_shorten(value)!r}{did_you_mean(str(value)[:80], levels)}"
            fix = f"write one of: {', '.join(levels)}"
        case "tuple_type":
            what = f"{key!r} must be a list, not {_describe(value)}"
            fix = f"write {key}: [...], or one - item a line"
        case "dict_type":
            what = f"{key!r} must be a mapping, not {_describe(value)}"
            fix = TARGETS_FORMAT if path[0] == "targets" else THEORY_FORMAT
        case "too_short" | "too_long" if path[0] == "theory":
            what = f"{key!r} must name two groups"
            fix = "write <axis>: [<group at the positive end>, <group at the negative end>]"
        case "too_short" if path[0] == "targets":
            what = f"{key!r} has no numbers"
            fix = TARGETS_FORMAT
        case "too_short":
            what = f"{key!r} is empty: there is nothing in it"
            fix = SEE_README
        case "control_character":
            what = f"{key!r} holds a control character"
            fix = "remove it; only line breaks and tabs are allowed"
        case "no_answer":
            what = detail["msg"]
            fix = "give it good: [...] or bad: [...]"
        case "duplicate_id":
            what = detail["msg"]
            fix = "give every principle its own id"
        case _:
            what = f"{key!r}: {detail['msg']}"
            fix = SEE_README
    return what, fix


def _describe(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    name = YAML_NAMES.get(type(value), "another kind of value")
    return name if isinstance(value, dict | list) else f"{name} ({_shorten(value)})"


def _shorten(value: Any) -> str:
    try:
        return str(value)[:40]
    except ValueError:  # a whole number of more digits than Python writes
        return "thousands of digits"
