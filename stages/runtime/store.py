"""The call store: one SQLite file that holds the answer of every call.

One mechanism gives resuming after a crash, a second run without calls, and reuse across ablations:
a stage simply runs again, and its calls are answered from here. A key never depends on batch order,
paths or time.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import sqlite3
import time
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from stages.guards.console import open_console
from stages.guards.disk import CannotWrite, is_full
from stages.guards.errors import UserError
from stages.guards.files import as_path, exists, open_file
from stages.guards.locks import hold_lock
from stages.guards.text import replace_surrogates

T = TypeVar("T")
STORE_VERSION = 2
"""In version 1 answers had no checksum; they are still read."""
SQLITE_HEAD = b"SQLite format 3\0"
BUSY_SECONDS = 60.0  # how long a call waits for the writes of other processes
BUSY_STEP = 2.0  # seconds before it says that it waits
MOST_BYTES = 64 * 2**20
"""Of one answer."""


def call_key(**parts: Any) -> str:
    """Return the SHA-256 of the canonical JSON of what decides an answer.

    Args:
        parts: model content, messages, sampling, seed, options.
    """
    canonical = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(_encode(canonical)).hexdigest()


def as_json(value: Any) -> str:
    """Return an answer as the store holds it.

    Raises:
        ValueError: it holds a number that is infinite or no number.
    """
    return str(replace_surrogates(json.dumps(value, ensure_ascii=False, allow_nan=False)))


def _sealed(text: str) -> str:
    """An answer's JSON, which is one line, and a checksum: a flipped bit may leave valid JSON."""
    return f"{text}\n{zlib.crc32(text.encode()):08x}"


def _unsealed(value: str) -> str:
    text, end, _ = value.rpartition("\n")
    if end and value != _sealed(text):
        raise ValueError("the checksum is another one")
    return text if end else value  # as earlier versions stored it


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


class CallStore:
    """Append-only map from call key to answer. Several runs of one machine may use it at once.

    An answer is committed before its call returns, together with all that arrived at the same time
    (WAL, synchronous=NORMAL): killing the process loses only calls in flight; a power cut can also
    lose the last commits, but never the whole file.

    Args:
        path: the SQLite file; it is created if there is none.
        behind: another store, which is asked for keys that are not in this one.

    Attributes:
        damaged: how many stored values were no answers.

    Raises:
        UserError: a newer Credo wrote the store, it is not a store, or the disk is full. What is
            refused stays as it is, and nothing is left beside it.
    """

    def __init__(self, path: Path, behind: Path | None = None):
        self.path = as_path(path, "store")
        self.damaged = 0
        self._behind: sqlite3.Connection | None = None
        self._replaced: dict[str, sqlite3.Connection] = {}
        """By the keys of damaged values, where those are."""
        self._waited = False
        self._arrived: list[tuple[sqlite3.Connection | None, str, str, asyncio.Future[None]]] = []
        """Answers that the next commit stores: where, under which key, and who waits for it."""
        _refuse_other_files(self.path)
        if behind:
            self._behind = _connect(behind)
        self._db = self._open()

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

    def get(self, key: str, check: Callable[[str], T] = json.loads) -> T | None:
        """Return the stored answer, or None.

        Args:
            check: reads an answer from its JSON, and raises a ValueError for what is none. Such a
                value counts as not stored, and the next `put` takes its place.

        Raises:
            UserError: a page is damaged.
        """
        for store in self._connections():
            try:
                row = self._wait_for(partial(_select, store, key))
                if row:
                    return check(_unsealed(str(row[0], "utf-8")))
            except (ValueError, TypeError, RecursionError, sqlite3.DataError):
                self.damaged += 1
                self._replaced[key] = store
        return None

    def put(self, key: str, value: Any) -> None:
        """Store an answer; if the key has a sound one already, that one stays.

        A number that is infinite or no number is no answer: it is not stored.
        """
        try:
            text = _sealed(as_json(value))
        except ValueError:
            return
        store = self._replaced.pop(key, None)
        if store:
            self._write(store, "REPLACE", [(key, text)])
        else:
            self._write(self._db, "IGNORE", [(key, text)])

    async def put_soon(self, key: str, value: Any) -> None:
        """Do what `put` does, in one commit with the other answers that have arrived.

        Returns when it is committed.

        Raises:
            UserError: as `put` does.
        """
        try:
            text = _sealed(as_json(value))
        except ValueError:
            return
        loop = asyncio.get_running_loop()
        loop.call_soon(self._commit)  # after all that has arrived by now was read
        waiter = loop.create_future()
        self._arrived.append((self._replaced.pop(key, None), key, text, waiter))
        await waiter

    def _commit(self) -> None:
        """Store what has arrived, and wake those who wait for it."""
        arrived, self._arrived = self._arrived, []
        if not arrived:  # the first of them has stored the others
            return
        try:
            for place in {store for store, *_ in arrived}:
                rows = [(key, text) for store, key, text, _ in arrived if store is place]
                self._write(place or self._db, "REPLACE" if place else "IGNORE", rows)
        except BaseException as error:
            for *_, waiter in arrived:
                if not waiter.done():
                    waiter.set_exception(error)
            return
        for *_, waiter in arrived:
            if not waiter.done():
                waiter.set_result(None)

    def absorb(self, path: Path) -> None:
        """Take over the answers of another store, and remove its file."""
        try:
            with contextlib.closing(sqlite3.connect(path)) as other:
                rows = other.execute("SELECT key, value FROM calls").fetchall()
        except sqlite3.Error as error:
            raise self._user_error(error) from None
        self._write(self._db, "IGNORE", rows)
        for file in path.parent.glob(f"{path.stem}.*"):
            file.unlink(missing_ok=True)

    def _write(self, store: sqlite3.Connection, rule: str, rows: list[tuple[str, str]]) -> None:
        statement = f"INSERT OR {rule} INTO calls VALUES (?, ?)"
        if len(rows) == 1:  # a transaction of its own
            self._wait_for(lambda: store.execute(statement, rows[0]))
            return

        def write_all() -> None:
            with store:  # all or none; it commits
                store.execute("BEGIN IMMEDIATE")
                store.executemany(statement, rows)

        self._wait_for(write_all)

    def close(self) -> None:
        """Close the files; store first what has arrived."""
        if self._arrived:  # a run was interrupted at this moment
            self._commit()
        for store in self._connections():
            store.close()

    def _connections(self) -> list[sqlite3.Connection]:
        """This store and, if there is one, the store behind it."""
        return [self._db, self._behind] if self._behind else [self._db]

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


def _select(store: sqlite3.Connection, key: str) -> Any:
    return store.execute("SELECT value FROM calls WHERE key = ?", (key,)).fetchone()


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
