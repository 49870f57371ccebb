"""The one rule for names that become a part of a path: steps, models, published files."""

import re

from stages.guards.errors import UserError

LONGEST = 80
NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.-]{{0,{LONGEST - 1}}}")


def is_safe_name(name: object) -> bool:
    """Return whether a name can be a folder's or a file's on any system, and no path."""
    return (
        isinstance(name, str)
        and NAME.fullmatch(name) is not None
        and ".." not in name
        and not name.endswith(".")
    )


def check_name(name: object, what: str, where: str) -> str:
    """Return the name.

    Args:
        what: what it names, such as "a step".

    Raises:
        UserError: it is empty, too long, or holds what could lead out of its folder.
    """
    if is_safe_name(name):
        return str(name)
    raise UserError(
        f"{str(name)[:LONGEST]!r} cannot name {what}",
        where=where,
        fix=f"use letters, digits, - and _, at most {LONGEST} of them, a letter or a digit first",
    )
