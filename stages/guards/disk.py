"""Writing to the disk: complete or not at all, and one message where the system refuses."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.guards.errors import UserError, find_cause

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
"""What the system says of a disk that takes no more."""
PLACES = {
    errno.ENOENT: "its folder does not exist",
    errno.ENOTDIR: "a part of its path is a file, not a folder",
    errno.EISDIR: "this is a folder, not a file",
    errno.ENAMETOOLONG: "its name is too long",
}
"""What the system says of a place that cannot exist, in words: no space or right would help."""
REFUSALS = FULL | {errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE}
"""The same, and what it says of missing rights and of too many open files."""


def write_atomically(path: Path, text: str, survives_power_cut: bool = True) -> None:
    """Write a file so that it is either complete or as before, even after a power cut if asked.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    partial = path.with_name(f"{path.name}.partial")
    with errors_of_writing(path):
        try:
            with partial.open("w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                if survives_power_cut:
                    os.fsync(stream.fileno())
            os.replace(partial, path)
            if survives_power_cut:
                flush(path.parent)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def errors_of_writing(place: Path) -> Iterator[None]:
    """Turn any error of the system inside a `with` that only writes into a UserError.

    Raises:
        UserError: the disk is full or the place cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise refuse_writing(error, place) from None


class CannotWrite(UserError):
    """The system refuses to write: whatever a run did next would be lost too."""


def refuse_writing(error: OSError, place: str | Path) -> CannotWrite:
    """Return the message where the system refuses to write."""
    if error.errno in PLACES:
        what = f"this cannot be written: {PLACES[error.errno]}"
        return CannotWrite(what, where=str(place), fix="name a file in a folder that exists")
    reason = error.strerror or str(error).partition(chr(10))[0] or type(error).__name__
    return CannotWrite(
        f"this cannot be written: {reason}",
        where=str(place),
        fix="free some space (see `df -h`) and files (see `df -i`) or fix the permissions, then "
        "run the same command again; finished steps and answered calls are kept",
    )


@contextmanager
def report_refusals(folder: Path) -> Iterator[None]:
    """Turn what the system says of a full disk or missing rights into a UserError.

    Unlike `errors_of_writing` it leaves other errors of the system as they are.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        raise refuse_writing(error, error.filename or folder) from None


def as_disk_error(error: BaseException) -> UserError | None:
    """Return the message for an error whose cause is that the disk takes no more; else None."""
    cause = find_cause(error, OSError)
    if cause is None or cause.errno not in FULL:
        return None
    return refuse_writing(cause, cause.filename or "the disk")


def is_full(folder: Path) -> bool:
    """Return whether no block, or no inode for another file, is left on a folder's disk.

    Libraries that create files of their own, as SQLite does, name another fault then.
    """
    try:
        disk = os.statvfs(folder)
    except OSError:
        return False
    has_inodes = disk.f_files == 0 or disk.f_favail > 0  # some file systems do not count them
    return disk.f_bavail == 0 or not has_inodes


def flush(path: Path) -> None:
    """Return once a file, or the names in a folder, have reached the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a further name, or copy it where the disk has no such names."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
