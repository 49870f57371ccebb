"""The call store: one SQLite file that holds the answer of every call.

One mechanism gives resuming after a crash, a second run without calls, and reuse across ablations:
a stage simply runs again, and its calls are answered from here. A key never depends on batch order,
paths or time.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from stages.guards.errors import UserError
from stages.guards.text import replace_surrogates

STORE_VERSION = 1
BUSY_SECONDS = 60.0  # how long a write waits for the writes of other runs


def call_key(**parts: Any) -> str:
    """Return the SHA-256 of the canonical JSON of what decides an answer.

    Args:
        parts: model content, messages, sampling, seed, options.
    """
    canonical = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(_encode(canonical)).hexdigest()


def derive_seed(*parts: Any) -> int:
    """Return a request's seed (31 bits); equal parts give equal seeds on any machine.

    Args:
        parts: run seed, row id, purpose, index.
    """
    digest = hashlib.sha256(_encode(json.dumps(parts, ensure_ascii=False))).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFFFFFF


def _encode(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def derive_fraction(*parts: Any) -> float:
    """Return a number in [0, 1), uniform over parts; equal parts give equal numbers."""
    return derive_seed(*parts) / 2**31


@contextlib.contextmanager
def hold_lock(
    file: Path,
    on_wait: Callable[[str], object] | None = None,
    kind: str = "folder",
    option: str = "runs_dir",
) -> Iterator[None]:
    """Hold a lock against other runs inside a `with`, or until the process dies.

    Args:
        file: the lock; its folder is created.
        on_wait: called once with the owner's process id if another run holds the lock.
        kind: what the lock protects, for messages.
        option: what to change if the lock cannot be created.

    Raises:
        UserError: the lock cannot be created.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = file.open("a+", encoding="utf-8", errors="replace")
        _acquire(lock, on_wait)
    except OSError as error:
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


def _acquire(lock: TextIO, on_wait: Callable[[str], object] | None) -> None:
    """Wait for the lock; the kernel releases it when the process dies, however it dies."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        owner = lock.read(20).strip() or "unknown"
        if on_wait:
            on_wait(owner)
        fcntl.flock(lock, fcntl.LOCK_EX)


class CallStore:
    """Append-only map from call key to answer. Several runs of one machine may use it at once.

    Each answer is committed when it arrives (WAL, synchronous=NORMAL): killing the process loses
    only unanswered calls; a power cut can also lose the last commits, but never the whole file.

    Args:
        path: the SQLite file; it is created if there is none.
        behind: another store, read-only, which is asked for keys that are not in this one.

    Raises:
        UserError: a newer Credo wrote the store, it is not a store, or the disk is full.
    """

    def __init__(self, path: Path, behind: Path | None = None):
        self.path = path
        self._behind: sqlite3.Connection | None = None
        if behind:
            self._behind = sqlite3.connect(f"{behind.resolve().as_uri()}?mode=ro", uri=True)
        if not path.name:
            raise UserError(
                "names no file",
                where="store",
                fix="give a file with store=PATH, such as runs/calls.sqlite",
            )
        # Another run may be creating the file.
        with hold_lock(path.with_suffix(".lock"), kind="store", option="store"):
            self._open()

    def _open(self) -> None:
        try:
            self._db = sqlite3.connect(self.path, isolation_level=None, timeout=BUSY_SECONDS)
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version > STORE_VERSION:
                raise UserError(
                    f"the store was written by a newer Credo (format {version}, "
                    f"this one reads {STORE_VERSION})",
                    where=str(self.path),
                    fix="update Credo, or give another file with store=PATH",
                )
            tables = self._db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]
            if version == 0 and tables:
                raise self._user_error("another program's database")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            if version == 0:
                self._create_table()
        except sqlite3.DatabaseError as error:
            raise self._user_error(error) from None

    def _create_table(self) -> None:
        """Create table and version in one transaction.

        A kill between the two would leave what looks like another program's database.
        """
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute(
            "CREATE TABLE calls (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"
        )
        self._db.execute(f"PRAGMA user_version={STORE_VERSION}")
        self._db.execute("COMMIT")

    def _user_error(self, error: Exception | str) -> UserError:
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
        """Return the stored answer, or None.

        Raises:
            UserError: a page is damaged, or the value is not JSON.
        """
        try:
            for store in self._connections():
                row = store.execute("SELECT value FROM calls WHERE key = ?", (key,)).fetchone()
                if row:
                    return json.loads(row[0])
            return None
        except (sqlite3.Error, ValueError, TypeError) as error:
            raise self._user_error(error) from None

    def put(self, key: str, value: Any) -> None:
        """Store an answer; if the key has one already, that one stays."""
        text = replace_surrogates(json.dumps(value, ensure_ascii=False))
        self._insert([(key, text)])

    def absorb(self, path: Path) -> None:
        """Take over the answers of another store, and remove its file."""
        try:
            with contextlib.closing(sqlite3.connect(path)) as other:
                self._insert(other.execute("SELECT key, value FROM calls"))
        except sqlite3.Error as error:
            raise self._user_error(error) from None
        for file in path.parent.glob(f"{path.stem}.*"):
            file.unlink(missing_ok=True)

    def _insert(self, rows: Iterable[tuple[str, str]]) -> None:
        try:
            self._db.executemany("INSERT OR IGNORE INTO calls VALUES (?, ?)", rows)
        except sqlite3.Error as error:
            raise self._user_error(error) from None

    def close(self) -> None:
        """Close the files."""
        for store in self._connections():
            store.close()

    def _connections(self) -> list[sqlite3.Connection]:
        """This store and, if there is one, the store behind it."""
        return [self._db, self._behind] if self._behind else [self._db]
