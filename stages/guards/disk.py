"""Writing to the disk: complete or not at all, and one message where the system refuses."""

import os
import shutil
from pathlib import Path

from stages.guards.errors import UserError


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that it is either complete or missing, even after a power cut.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        try:
            with partial.open("w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(partial, path)
            flush(path.parent)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise refuse_writing(error, path) from None


def refuse_writing(error: OSError, place: Path) -> UserError:
    """Return what to say where the system refuses to write."""
    reason = error.strerror or str(error).partition(chr(10))[0] or type(error).__name__
    return UserError(
        f"this cannot be written: {reason}",
        where=str(place),
        fix="free some disk space or fix the permissions, then run again; finished steps and "
        "answered calls are kept",
    )


def flush(path: Path) -> None:
    """Return once a file, or the names in a folder, have reached the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
