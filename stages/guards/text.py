"""Text from outside: characters that no file holds or a terminal obeys, numbers in commands."""

import math
import re
import unicodedata
from argparse import ArgumentTypeError
from collections.abc import Callable
from contextlib import suppress
from typing import Any

SURROGATE = re.compile("[\ud800-\udfff]")
CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)
"""Characters that move the cursor, set colours, end lines or turn the direction of text."""

UNSEEN = {"Cc", "Cf", "Mn", "Me", "Zs", "Zl", "Zp"}
"""Unicode categories that show nothing on their own."""
FILLERS = "\u115f\u1160\u2800\u3164\uffa0"
"""Letters and symbols that are blank."""


def is_visible(text: str) -> bool:
    """Return whether a text shows anything: not only blanks, marks and zero-width characters."""
    return any(
        letter not in FILLERS and unicodedata.category(letter) not in UNSEEN for letter in text
    )


def replace_surrogates(value: Any) -> Any:
    """Return plain data with U+FFFD for each half of a character, in names and in values.

    Models and servers cut emoji in half. Such a text cannot be encoded, so no file can hold it.
    """
    if isinstance(value, str):
        return value if value.isascii() else SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {replace_surrogates(key): replace_surrogates(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [replace_surrogates(item) for item in value]
    return value


def spell_controls(text: str) -> str:
    """Return a text that a terminal shows as it is: control characters and halves are spelt out.

    Line breaks and tabs stay. `"\\x1b[31m"` becomes the ten visible characters `\\x1b[31m`.
    """
    visible = CONTROL.sub(lambda match: ascii(match.group())[1:-1], text)
    return SURROGATE.sub(lambda match: ascii(match.group())[1:-1], visible)


def read_count(text: str) -> int:
    """Return a whole number from 1, as an option of a command gives it.

    Raises:
        ArgumentTypeError: it is none; argparse shows the message.
    """
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"write a whole number from 1, not {text!r}")
    return int(text)


def number_from(low: float, high: float = math.inf) -> Callable[[str], float]:
    """Return a reader of numbers from `low` to `high`, for an option of a command.

    It raises ArgumentTypeError, whose message argparse shows.
    """
    bounds = f"of {low:g} or more" if math.isinf(high) else f"from {low:g} to {high:g}"

    def read(text: str) -> float:
        with suppress(ValueError):
            number = float(text)
            if low <= number <= high and math.isfinite(number):
                return number
        raise ArgumentTypeError(f"write a number {bounds}, not {text!r}")

    return read
