"""Turn what pydantic found in a constitution file into one message: what, where with file and line,
how to fix it.
"""

from __future__ import annotations

import re
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from stages.principles.document import Document
from stages.runtime.errors import UserError, did_you_mean

README = "see constitutions/README.md for the format."
TARGETS = (
    "write targets: {<dimension>: <number>}, or {<name>: {<dimension>: <number>}} for several."
)
YAML_NAMES = {
    bool: "a yes/no value",
    int: "a number",
    float: "a number",
    dict: "a mapping",
    list: "a list",
}


def slug(text: str) -> str:
    """Return `text` as a slug: lower case letters and digits, joined by hyphens, a letter first."""
    words = "-".join(re.findall(r"[a-z0-9]+", text.lower()))[:60].strip("-")
    return words if words[:1].isalpha() else f"p-{words}".strip("-")


def explain(
    error: ValidationError, document: Document, top_keys: list[str], principle_keys: list[str]
) -> UserError:
    """Return the first fault of `error` in the file as a UserError; a missing key comes last, as it
    may be a misspelt one.
    """
    found = [(document.where(*_path(detail)), detail) for detail in error.errors()]
    where, first = min(
        found, key=lambda pair: (pair[1]["type"] == "missing", int(pair[0].rpartition(":")[2]))
    )
    inside = first["loc"][:1] == ("principles",) and len(first["loc"]) > 2
    what, fix = _fault(first, principle_keys if inside else top_keys)
    more = f" (Faults in this file: {len(found)}.)" if len(found) > 1 else ""
    return UserError(f"{_principle(_path(first), document.data)}{what}{more}", where=where, fix=fix)


def _path(detail: ErrorDetails) -> tuple[int | str, ...]:
    path = tuple(detail.get("ctx", {}).get("path", detail["loc"]))
    tagged = (
        path[:1] == ("targets",)
        and path[1:2] in (("flat",), ("named",))
        and "path" not in detail.get("ctx", {})
    )
    return path[:1] + path[2:] if tagged else path  # pydantic puts the tag of a union into the path


def _principle(path: tuple[int | str, ...], data: Any) -> str:
    if len(path) < 2 or path[0] != "principles" or not isinstance(path[1], int):
        return ""
    entry = data["principles"][path[1]]
    name = entry.get("id") if isinstance(entry, dict) else None
    return f"principle {name!r}: " if isinstance(name, str) else f"principle number {path[1] + 1}: "


def _fault(detail: ErrorDetails, known: list[str]) -> tuple[str, str]:
    kind, given, context = detail["type"], detail["input"], detail.get("ctx", {})
    path = _path(detail)
    key = str(path[-2] if len(path) > 1 and isinstance(path[-1], int) else path[-1])
    match kind:
        case "extra_forbidden":
            return (
                f"unknown key {key!r}.{did_you_mean(key, known)}",
                f"the keys are: {', '.join(known)}.",
            )
        case "missing":
            return f"the key {key!r} is missing.", f"add {key}: ... ; {README}"
        case "string_type" if given is None:
            return f"{key!r} is empty.", "write the text, or take the key out."
        case "string_type":
            return f"{key!r} must be text, not {_named(given)}.", f'put it in quotes: {key}: "...".'
        case "string_too_short":
            return f"{key!r} is empty.", "write the text, or take the key out."
        case "string_pattern_mismatch":
            return (
                f"{given!r} is no slug.",
                f"lower case letters, digits and single hyphens: {slug(str(given))}.",
            )
        case "float_type" | "int_type":
            advice = "write a plain number without quotes, such as 0.5 (1e-3 is text in YAML, 1.0e-3 a number)."
            return f"{key!r} must be a number, not {_named(given)}.", advice
        case "greater_than":
            return (
                f"{key!r} must be above {context['gt']:g}, not {given}.",
                "to leave a principle out, drop it.",
            )
        case "model_type":
            return (
                f"this must be a mapping, not {_named(given)}.",
                "start each principle with - id: ...",
            )
        case "tuple_type":
            return (
                f"{key!r} must be a list, not {_named(given)}.",
                f"write {key}: [...], or one - item a line.",
            )
        case "dict_type" | "dict_attributes_type":
            return f"{key!r} must be a mapping, not {_named(given)}.", TARGETS
        case "invalid_key":
            return f"the key {given!r} is no text.", f"the keys are: {', '.join(known)}."
        case "too_short" if path[0] == "targets":
            return f"{key!r} has no numbers.", TARGETS
        case "too_short":
            return f"{key!r} is empty: there is nothing in it.", README
        case "control_character":
            return (
                f"{key!r} holds a control character.",
                "remove it; only line breaks and tabs are allowed.",
            )
        case "duplicate_id":
            return f"{detail['msg']}.", "give every principle its own id."
        case "unknown_dimension":
            return f"{detail['msg']}.", "correct the name, or give a principle this dimension."
        case _:
            return f"{key!r}: {detail['msg']}.", README


def _named(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    name = YAML_NAMES.get(type(value), "a date")
    return name if isinstance(value, (dict, list)) else f"{name} ({value})"
