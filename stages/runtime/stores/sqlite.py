"""A call store in one SQLite file: the default, for the runs of one machine."""

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from stages.guards.console import open_console
from stages.guards.disk import CannotWrite, is_full
from stages.guards.errors import UserError
from stages.guards.files import as_path, exists, open_file
from stages.guards.locks import hold_lock
from stages.runtime.stores.database import MOST_BYTES, STORE_VERSION

T = TypeVar("T")
SQLITE_HEAD = b"SQLite format 3\0"
BUSY_SECONDS = 60.0  # how long a call waits for the writes of other processes
BUSY_STEP = 2.0  # seconds before it says that it waits


class SqliteDatabase:
    """One file, which several processes of one machine may use at once (WAL, synchronous=NORMAL).

    Args:
        path: the file; it is created if there is none.

    Attributes:
        connection: of Python's sqlite3.

    Raises:
        UserError: a newer Credo wrote the store, it is not a store, or the disk is full. What is
            refused stays as it is, and nothing is left beside it.
    """

    is_remote = False

    def __init__(self, path: str | Path):
        self.path = as_path(path, "store")
        self.name = str(self.path)
        self._waited = False
        _refuse_other_files(self.path)
        self.connection = self._open()

    @property
    def place(self) -> str:
        """See `Database`."""
        return str(self.path.resolve())

    def select(self, keys: Sequence[str]) -> dict[str, bytes | None]:
        """See `Database`."""
        values: dict[str, bytes | None] = {}
        for key in keys:
            try:
                row = self._wait_for(partial(self._select, key))
            except sqlite3.DataError:  # too large to be an answer
                values[key] = None
                continue
            if row:
                values[key] = row[0]
        return values

    def _select(self, key: str) -> Any:
        return self.connection.execute("SELECT value FROM calls WHERE key = ?", (key,)).fetchone()

    def insert(self, rows: Sequence[tuple[str, str]]) -> None:
        """See `Database`."""
        self._write("IGNORE", rows)

    def replace(self, rows: Sequence[tuple[str, str]]) -> None:
        """See `Database`."""
        self._write("REPLACE", rows)

    def _write(self, rule: str, rows: Sequence[tuple[str, str]]) -> None:
        statement = f"INSERT OR {rule} INTO calls VALUES (?, ?)"
        if len(rows) == 1:  # a transaction of its own
            self._wait_for(lambda: self.connection.execute(statement, rows[0]))
            return

        def write_all() -> None:
            with self.connection:  # all or none; it commits
                self.connection.execute("BEGIN IMMEDIATE")
                self.connection.executemany(statement, rows)

        self._wait_for(write_all)

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def _open(self) -> sqlite3.Connection:
        # Another run may be creating the file.
        is_new = not os.path.exists(self.path) or not self.path.stat().st_size
        if is_new:
            lock = self.path.with_name(f"{self.path.name}.lock")
            with hold_lock(lock, self._say_waiting, kind="store", option="store"):
                return self._connect_checked()
        return self._connect_checked()

    def _connect_checked(self) -> sqlite3.Connection:
        try:
            db = _connect(self.path)
        except sqlite3.Error as error:
            raise self._user_error(error) from None
        try:
            self._wait_for(lambda: self._check(db))
        except BaseException:
            db.close()
            raise
        return db

    def _check(self, db: sqlite3.Connection) -> None:
        """Refuse what is no store of this version; make one out of an empty file."""
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > STORE_VERSION:
            raise UserError(
                f"the store was written by a newer Credo (format {version}, "
                f"this one reads {STORE_VERSION})",
                where=str(self.path),
                fix="update Credo, or give another file with store=PATH",
            )
        tables = db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]
        if version == 0 and tables:
            raise self._user_error("another program's database")
        columns = [row[1] for row in db.execute("PRAGMA table_info(calls)")]
        if version and columns != [b"key", b"value"]:
            raise self._user_error("its table of calls is gone, or another one")
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        if version == 0:
            self._create_table(db)
        elif version < STORE_VERSION:  # an older Credo cannot read what is now added
            db.execute(f"PRAGMA user_version={STORE_VERSION}")

    def _create_table(self, db: sqlite3.Connection) -> None:
        """Create table and version in one transaction.

        A kill between the two would leave what looks like another program's database.
        """
        db.execute("BEGIN IMMEDIATE")
        db.execute(
            "CREATE TABLE IF NOT EXISTS calls "
            "(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"
        )
        db.execute(f"PRAGMA user_version={STORE_VERSION}")
        db.execute("COMMIT")

    def _user_error(self, error: Exception | str) -> CannotWrite:
        is_disk = "full" in str(error) or "disk I/O" in str(error)
        if is_disk or is_full(self.path.parent):
            return CannotWrite(
                f"the call store cannot grow: {error}",
                where=str(self.path),
                fix="free some space (see `df -h`) and files (see `df -i`) and run again; every "
                "call answered so far is kept",
            )
        if "locked" in str(error):
            return CannotWrite(
                f"the call store is locked by {self._owner()} since {BUSY_SECONDS:g} seconds",
                where=str(self.path),
                fix="end what locks it and run again; every call answered so far is kept",
            )
        return CannotWrite(
            f"the call store cannot be used: {error}",
            where=str(self.path),
            fix="give another file with store=PATH, or move this one away (`sqlite3 OLD .recover | "
            "sqlite3 NEW` saves what can be read of a damaged one)",
        )

    def _wait_for(self, action: Callable[[], T]) -> T:
        """Do what another process may lock out; say so once, after a moment.

        Raises:
            UserError: SQLite refuses, or the lock lasts longer than BUSY_SECONDS.
        """
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                return action()
            except sqlite3.DataError:
                raise
            except sqlite3.Error as error:
                code = getattr(error, "sqlite_errorcode", 0) & 0xFF
                is_locked = code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
                if not is_locked or time.monotonic() > deadline:
                    raise self._user_error(error) from None
                self._say_waiting(self._owner())
                time.sleep(0.02)  # SQLite does not wait where two processes wait for each other

    def _say_waiting(self, owner: str) -> None:
        if not self._waited:
            self._waited = True
            open_console(stderr=True).print(
                f"{self.path}: waiting for {owner}, which locks the call store "
                f"(at most {BUSY_SECONDS:g} seconds a call)"
            )

    def _owner(self) -> str:
        """Which process holds a lock on the files, as far as the kernel tells."""
        files = [Path(f"{self.path}{ending}") for ending in ("", "-shm", "-wal")]
        numbers = {str(file.stat().st_ino) for file in files if file.exists()}
        owners = set()
        with contextlib.suppress(OSError):
            for line in Path("/proc/locks").read_text(encoding="utf-8").splitlines():
                *_, owner, place, _, _ = line.split()
                if place.rpartition(":")[2] in numbers and int(owner) != os.getpid():
                    owners.add(owner)
        return f"process {', '.join(sorted(owners))}" if owners else "another process"


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, timeout=BUSY_STEP)
    db.text_factory = bytes  # else a value that is not UTF-8 cannot be told from a damaged file
    db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_BYTES)
    return db


def _refuse_other_files(path: Path) -> None:
    """Refuse what is there and is no SQLite file, before anything is written beside it.

    Raises:
        UserError: names what is there.
    """
    if not path.name:
        raise UserError(
            "names no file",
            where="store",
            fix="give a file with store=PATH, such as runs/calls.sqlite",
        )
    if not exists(path):
        return
    fault = ""
    try:
        with open_file(path, most=2**60) as (stream, _):
            head = stream.read(len(SQLITE_HEAD))
        if head and head != SQLITE_HEAD:
            fault = "file is not a database"
    except UserError as error:
        fault = error.what
    if fault:
        raise UserError(
            f"the call store cannot be used: {fault}",
            where=str(path),
            fix="give another file with store=PATH, or move this one away",
        )
