"""The one writer of csv files: what a spreadsheet would run as a formula stays a text.

In: columns and rows. Out: a file in UTF-8. A spreadsheet runs a cell that begins with = + - or @ as
a formula. In files for people such a text gets an apostrophe before it, by which spreadsheets know
text; numbers stay as they are.
"""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""How a formula may begin; the last four are wide forms, which spreadsheets fold."""


def write_csv(
    path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]], exact: bool = False
) -> None:
    """Write a csv file.

    Args:
        exact: write every text as it is, for a program that reads it as data.

    Raises:
        OSError: it cannot be written.
    """
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        for row in rows:
            writer.writerow(row if exact else map(as_cell, row))


def as_cell(value: Any) -> Any:
    """Return a value as a spreadsheet shows it: a text that looks like a formula stays a text."""
    if isinstance(value, str) and value.lstrip(" ").startswith(FORMULA) and not _is_number(value):
        return f"'{value}"
    return value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
