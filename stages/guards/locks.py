"""Locks among runs of one machine: files that the kernel unlocks however a process dies."""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from stages.guards.disk import FULL, refuse_writing
from stages.guards.errors import UserError


@contextlib.contextmanager
def hold_lock(
    file: Path,
    on_wait: Callable[[str], object] | None = None,
    kind: str = "folder",
    option: str = "runs_dir",
    shared: bool = False,
) -> Iterator[None]:
    """Hold a lock against other runs inside a `with`, or until the process dies.

    Args:
        file: the lock; its folder is created.
        on_wait: called once with the owner, such as `process 12`, if another run holds the lock.
        kind: what the lock protects, for messages.
        option: what to change if the lock cannot be created.
        shared: several runs may hold it at the same time, if all of them share it.

    Raises:
        UserError: the lock cannot be created.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = file.open("a+", encoding="utf-8", errors="replace")
        _acquire(lock, on_wait, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
    except OSError as error:
        if error.errno in FULL:
            raise refuse_writing(error, file) from None
        raise UserError(
            f"the {kind} cannot be used: {error.strerror}",
            where=str(file),
            fix=f"set {option} to a place where you may write",
        ) from None
    pid = os.getpid()
    # The process id is only for the message of those who wait, so a full disk does no harm here.
    with contextlib.suppress(OSError):
        lock.truncate(0)
        os.write(lock.fileno(), str(pid).encode())
    try:
        yield
    finally:
        # A forked child shares the lock: closing the file here would not release it while the child
        # lives. The child itself must not release it.
        if os.getpid() == pid:
            fcntl.flock(lock, fcntl.LOCK_UN)
        lock.close()


def is_locked(file: Path) -> bool:
    """Return whether a living process holds a lock."""
    try:
        with file.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # there is no such file
        return False
    return False


def _acquire(lock: TextIO, on_wait: Callable[[str], object] | None, kind: int) -> None:
    """Wait for the lock; the kernel releases it when the process dies, however it dies."""
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        owner = f"process {lock.read(20).strip() or 'unknown'}"
        if on_wait:
            on_wait(owner)
        fcntl.flock(lock, kind)
