"""Cells of multiple-choice files: options, the right one, and how people answered. Pure functions.

In: a cell as it was read, text or structured. Out: plain values, or a UserError that names the
place of the cell.
"""

import ast
import contextlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from stages.runtime.errors import UserError

NOT_LITERAL = (ValueError, SyntaxError, MemoryError, RecursionError)
"""What `ast.literal_eval` raises."""


def plain_text(value: Any) -> str:
    """A cell as text."""
    return str(value).strip()


def option_texts(value: Any, where: str) -> list[str]:
    """A cell with several options, or one.

    It is a list, or a list written in JSON or as Python prints it; a mapping by letter, {"A": ...,
    "B": ...}; a table of labels and texts; or one text.

    Raises:
        UserError: an option is not a text.
    """
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        value = _parse(value)
    if isinstance(value, Mapping):
        texts = value.get("text")
        if isinstance(texts, list):
            value = texts
        else:
            value = [option for option in value.values() if option is not None]
    if not isinstance(value, (list, tuple)):
        text = plain_text(value)
        return [text] if text else []
    for option in value:
        if not isinstance(option, (str, int, float)):
            raise UserError(
                "an option is not a text",
                where=where,
                fix="let `choices` name a column that lists texts",
            )
    return [plain_text(option) for option in value]


def _parse(text: str) -> Any:
    """The value that a text holds in JSON or as Python prints it; else the text."""
    with contextlib.suppress(ValueError):
        return json.loads(text)
    with contextlib.suppress(*NOT_LITERAL):
        return ast.literal_eval(text)
    return text


def people_shares(value: Any, count: int, where: str) -> dict[str, list[float]]:
    """The fraction of people for each option, by group; groups with a wrong count are left out.

    GlobalOpinionQA writes them as Python prints a defaultdict.

    Args:
        count: the number of options.

    Raises:
        UserError: the cell is not a mapping.
    """
    if isinstance(value, str):
        text = re.sub(
            r"^defaultdict\(<class 'list'>, (.*)\)$", r"\1", value.strip(), flags=re.DOTALL
        )
        with contextlib.suppress(*NOT_LITERAL):
            value = ast.literal_eval(text)
    if not isinstance(value, Mapping):
        raise UserError(
            "how people answered is not a mapping",
            where=where,
            fix="let `people` name a column of {group: [share, one an option]}",
        )
    groups = {}
    for name, shares in value.items():
        if _are_shares(shares) and len(shares) == count and sum(shares) > 0:
            total = sum(shares)
            groups[str(name)] = [share / total for share in shares]
    return groups


def _are_shares(shares: Any) -> bool:
    if not isinstance(shares, (list, tuple)):
        return False
    return all(isinstance(share, (int, float)) and share >= 0 for share in shares)


def gold_index(answer: Any, options: list[str], first: int, where: str) -> int:
    """The place of the right option.

    Args:
        answer: the option's text, its letter, in parentheses or not, or its number.
        first: the number of the first option.

    Raises:
        UserError: the answer is not one of the options.
    """
    text = plain_text(answer)
    if text not in options:
        text = text.removeprefix("(").removesuffix(")")
    index: int | None = None
    if isinstance(answer, str) and text in options:
        index = options.index(text)
    elif len(text) == 1 and text.upper() in ascii_uppercase:
        index = ascii_uppercase.index(text.upper())
    elif text.removeprefix("-").isdecimal() and text.isascii():
        index = int(text) - first
    if index is None or not 0 <= index < len(options):
        raise UserError(
            f"the right answer {answer!r} is not one of the {len(options)} options",
            where=where,
            fix=f"`gold` holds a number from {first}, a letter from A or an option's text; set "
            "`first` to the number of the first option",
        )
    return index


def read_gold_file(path: str) -> Mapping[str, Any]:
    """A file of answers by question, such as SafetyBench's {id: {category, answer}}.

    Raises:
        UserError: it cannot be read, or is not a JSON object.
    """
    file = Path(path).expanduser()
    try:
        answers = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"the answers cannot be read: {error}",
            where=path,
            fix="give a JSON file with one object: {<key of a question>: <answer>}",
        ) from None
    if not isinstance(answers, dict):
        raise UserError(
            "the answers are not a JSON object", where=path, fix='write {"<key>": <answer>, ...}'
        )
    return answers
