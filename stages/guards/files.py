"""The one way to open a file that Credo did not write itself.

A path from a config can name a folder, a pipe that never ends, a device, a file of this machine
that changes while it is read, or nothing. What is not a regular file of a limited size is refused.
"""

import errno
import json
import os
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

from stages.guards.errors import UserError

MOST_BYTES = 4 * 2**30
"""The largest file that is read whole, where the caller sets no limit of its own."""
LONGEST_SHOWN = 200
"""Characters of a path in a message."""
NOT_FILES = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
NO_REGULAR_FILES = ("/proc/", "/sys/")
"""Folders whose regular files are the system's, and need not end."""


def as_path(name: str | Path, where: str = "") -> Path:
    """Return the path that a name means, with `~` as the home folder.

    Raises:
        UserError: no path can be of this name.
    """
    text = os.fspath(name)
    fault = ""
    if not text.strip():
        fault = "an empty name is no path"
    elif "\0" in text:
        fault = f"{text[:80]!a} holds a NUL character, which no path can"
    else:
        try:
            os.fsencode(text)
        except UnicodeEncodeError:
            fault = f"{text[:80]!a} holds half of a character, which no path can"
    if fault:
        raise UserError(fault, where=where, fix="correct the path")
    return Path(os.path.expanduser(text))


def exists(name: str | Path) -> bool:
    """Return whether a path is in use: also by a folder, a pipe or a link that leads nowhere."""
    try:
        return os.path.lexists(os.path.expanduser(name))
    except ValueError:  # a name that no path can have
        return False


@contextmanager
def open_file(
    name: str | Path, where: str = "", most: int = MOST_BYTES
) -> Iterator[tuple[BufferedReader, int]]:
    """Open a regular file, and give the stream and its size in bytes.

    Raises:
        UserError: as `read_bytes`; also where reading fails inside the `with`.
    """
    path = as_path(name, where)
    where = where or shorten(str(path))
    try:
        # Only what is known to be a file is opened: to open a device may already change it. A pipe
        # that takes its place meanwhile would be waited for without O_NONBLOCK.
        _check_kind(path, where, os.stat(path).st_mode)
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, "rb") as stream:
            facts = os.fstat(handle)
            _check_kind(path, where, facts.st_mode)
            if facts.st_size > most:
                raise UserError(
                    f"the file is too large: {facts.st_size:,} bytes, at most {most:,} are read",
                    where=where,
                    fix="check that it is the right file; split a larger one",
                )
            yield stream, facts.st_size
    except OSError as error:
        raise _unreadable(path, where, error) from None


def read_bytes(name: str | Path, where: str = "", most: int = MOST_BYTES) -> bytes:
    """Return the content of a regular file.

    Args:
        where: what messages call the place; "": the path itself.
        most: the most bytes that are read.

    Raises:
        UserError: there is no such file, it is no regular file, it cannot be read, it is larger, or
            it changes meanwhile.
    """
    with open_file(name, where, most) as (stream, size):
        content = stream.read(size + 1)
    if len(content) != size:
        raise UserError(
            "the file changed while it was read",
            where=where or shorten(str(name)),
            fix="wait until it is written, or copy it",
        )
    return content


def read_text(name: str | Path, where: str = "", most: int = MOST_BYTES) -> str:
    """Return the text of a regular UTF-8 file; a byte order mark is left out.

    Raises:
        UserError: as `read_bytes`, or it is not UTF-8; the message names the line.
    """
    content = read_bytes(name, where, most)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        place = f"{where or shorten(str(name))}:{line}"
        raise UserError("the file is not UTF-8", where=place, fix="save it as UTF-8") from None


def read_json(name: str | Path, where: str = "", most: int = MOST_BYTES) -> Any:
    """Return the content of a JSON file.

    Raises:
        UserError: as `read_text`, or it is not JSON, or too deep.
    """
    return parse_json(read_text(name, where, most), where or shorten(str(name)))


def parse_json(text: str, where: str) -> Any:
    """Return the value that a JSON text holds.

    Raises:
        UserError: it is not JSON, has a key twice in one object, holds a number of thousands of
            digits, or is nested too deep.
    """
    try:
        return json.loads(text, object_pairs_hook=single_keys)
    except json.JSONDecodeError as error:
        place = f"{where}:{error.lineno}"
        raise UserError(
            f"not valid JSON: {error.msg}", where=place, fix="correct the file"
        ) from None
    except RecursionError:
        raise UserError(
            "nested too deep to be read", where=where, fix="check that it is the right file"
        ) from None
    except ValueError as error:  # a key twice, or an integer of more digits than Python converts
        raise UserError(str(error), where=where, fix="correct the file") from None


def single_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON, for `object_pairs_hook`.

    Raises:
        ValueError: it has a key twice, so that one of the values would be lost.
    """
    value = dict(pairs)
    if len(value) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        doubled = next(key for key, number in counts.items() if number > 1)
        raise ValueError(f"the key {doubled[:LONGEST_SHOWN]!r} stands twice in one object")
    return value


def shorten(text: str) -> str:
    """Return a path or a name as a message shows it: the middle of a long one is left out."""
    half = LONGEST_SHOWN // 2
    return text if len(text) <= LONGEST_SHOWN else f"{text[:half]}...{text[-half:]}"


def _check_kind(path: Path, where: str, mode: int) -> None:
    kind = stat.S_IFMT(mode)
    if kind != stat.S_IFREG:
        raise UserError(
            f"this is {NOT_FILES.get(kind, 'something else')}, not a file",
            where=where,
            fix="give the path of a file",
        )
    if os.path.realpath(path).startswith(NO_REGULAR_FILES):
        raise UserError(
            "this is a view of the running system, not a file on a disk",
            where=where,
            fix="copy what it shows into a file",
        )


def _unreadable(path: Path, where: str, error: OSError) -> UserError:
    if error.errno == errno.ENOENT and path.is_symlink():
        return UserError(
            f"this link leads nowhere: {os.readlink(path)!r} does not exist",
            where=where,
            fix="correct the link",
        )
    if error.errno == errno.ENOENT:
        return UserError("there is no such file", where=where, fix="check the path")
    return UserError(
        f"the file cannot be read: {error.strerror or error}",
        where=where,
        fix="check the path, and that you may read it",
    )
