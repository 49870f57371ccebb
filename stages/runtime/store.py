"""The call store: one SQLite file that remembers every call ever answered.

The same mechanism is crash resume, a free second run and reuse across ablations: a stage simply
runs again and its calls are answered from here. A key never depends on batch order, paths or time.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from stages.runtime.errors import UserError

STORE_VERSION = 1
Wait = Callable[[str], object]
PATIENCE = 60.0  # seconds that a write waits for the writes of other runs


def call_key(**parts: Any) -> str:
    """SHA-256 of the canonical JSON of what decides an answer: model content, messages, sampling,
    seed, options.
    """
    return hashlib.sha256(
        json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()
    ).hexdigest()


def derive_seed(*parts: Any) -> int:
    """A request's seed (31 bits) from (run seed, row id, purpose, index); equal parts give equal
    seeds on any machine.
    """
    digest = hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFFFFFF


@contextlib.contextmanager
def locked(
    file: Path, wait: Wait = lambda owner: None, kind: str = "folder", option: str = "runs_dir"
) -> Iterator[None]:
    """Wait for our turn, and keep other runs out for the length of a `with`, or until the process
    dies.

    Args:
        file: the lock; its folder is made.
        wait: told once, if another run holds it, by what process.
        kind, option: what it is for, and what to change if it cannot be made.

    Raises:
        UserError: it cannot be made.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = file.open("a+", encoding="utf-8", errors="replace")
        try:
            fcntl.flock(
                lock, fcntl.LOCK_EX | fcntl.LOCK_NB
            )  # the kernel lets go when the process dies, however it dies
        except BlockingIOError:
            lock.seek(0)
            wait(lock.read(20).strip() or "unknown")
            fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError as error:
        fix = f"set {option} to a place where you may write"
        raise UserError(
            f"the {kind} cannot be used: {error.strerror}", where=str(file), fix=fix
        ) from None
    pid = os.getpid()
    with contextlib.suppress(
        OSError
    ):  # a courtesy to who finds the lock taken; a full disk is told by what needs the room
        lock.truncate(0)
        os.write(lock.fileno(), str(pid).encode())
    try:
        yield
    finally:
        if (
            os.getpid() == pid
            # a forked child has the same lock; closing our end alone would leave it held for its
            # lifetime
        ):
            fcntl.flock(lock, fcntl.LOCK_UN)
        lock.close()


class CallStore:
    """Append-only map from call key to answer. Several runs of one machine may use it at once.

    Each answer is committed when it arrives (WAL, synchronous=NORMAL): killing the process loses
    only calls in flight; a power cut can also lose the last moments' commits, never the file.

    Args:
        behind: another store, only read, for what is not in this one.

    Raises:
        UserError: a newer Credo wrote the store, it is no store, or the disk is full.
    """

    def __init__(self, path: Path, behind: Path | None = None):
        self.path = path
        self._behind = (
            sqlite3.connect(f"{behind.resolve().as_uri()}?mode=ro", uri=True) if behind else None
        )
        if not path.name:
            raise UserError(
                "names no file",
                where="store",
                fix="give a file with store=PATH, such as runs/calls.sqlite",
            )
        with locked(
            path.with_suffix(".lock"), kind="store", option="store"
        ):  # another run may be making the file
            self._open()

    def _open(self) -> None:
        try:
            self._db = sqlite3.connect(self.path, isolation_level=None, timeout=PATIENCE)
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version > STORE_VERSION:
                raise UserError(
                    f"the store was written by a newer Credo (format {version}, this one reads {STORE_VERSION})",
                    where=str(self.path),
                    fix="update Credo, or give another file with store=PATH",
                )
            if (
                version == 0
                and self._db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]
            ):
                raise self._trouble("another program's database")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            if (
                version == 0
                # table and version in one transaction: a kill between them must not leave another's
                # database
            ):
                self._db.execute("BEGIN IMMEDIATE")
                self._db.execute(
                    "CREATE TABLE calls (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"
                )
                self._db.execute(f"PRAGMA user_version={STORE_VERSION}")
                self._db.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            raise self._trouble(error) from None

    def _trouble(self, error: Exception | str) -> UserError:
        if "full" in str(error) or "disk I/O" in str(error):
            return UserError(
                f"the call store cannot grow: {error}",
                where=str(self.path),
                fix="free some disk space and run again; every call answered so far is kept",
            )
        return UserError(
            f"the call store cannot be used: {error}",
            where=str(self.path),
            fix="give another file with store=PATH, or move this one away",
        )

    def get(self, key: str) -> Any | None:
        """The stored answer, or None."""
        try:
            for store in filter(None, (self._db, self._behind)):
                if found := store.execute(
                    "SELECT value FROM calls WHERE key = ?", (key,)
                ).fetchone():
                    return json.loads(found[0])
            return None
        except (
            sqlite3.Error,
            ValueError,
            TypeError,
        ) as error:  # a damaged page, or a value that is no JSON
            raise self._trouble(error) from None

    def put(self, key: str, value: Any) -> None:
        """Remember an answer; the first one wins."""
        try:
            self._db.execute(
                "INSERT OR IGNORE INTO calls VALUES (?, ?)",
                (key, json.dumps(value, ensure_ascii=False)),
            )
        except sqlite3.Error as error:
            raise self._trouble(error) from None

    def absorb(self, path: Path) -> None:
        """Take over the answers of another store, and remove its file."""
        try:
            with contextlib.closing(sqlite3.connect(path)) as other:
                self._db.executemany(
                    "INSERT OR IGNORE INTO calls VALUES (?, ?)",
                    other.execute("SELECT key, value FROM calls"),
                )
        except sqlite3.Error as error:
            raise self._trouble(error) from None
        for file in path.parent.glob(f"{path.stem}.*"):
            file.unlink(missing_ok=True)

    def __len__(self) -> int:
        return self._db.execute("SELECT COUNT(*) FROM calls").fetchone()[0]

    def close(self) -> None:
        for store in filter(None, (self._db, self._behind)):
            store.close()
