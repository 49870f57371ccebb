"""The call store: one SQLite file that remembers every call ever answered.

The same mechanism is crash resume, a free second run and reuse across ablations: a stage simply runs again and
its calls are answered from here. A key never depends on batch order, paths or time.
"""

import fcntl
import hashlib
import json
import os
import sqlite3
from pathlib import Path
from typing import Any

from stages.runtime.errors import UserError

STORE_VERSION = 1


def call_key(**parts: Any) -> str:
    """SHA-256 of the canonical JSON of what decides an answer: model content, messages, sampling, seed, options."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def derive_seed(*parts: Any) -> int:
    """A request's seed (31 bits) from (run seed, row id, purpose, index); equal parts give equal seeds on any machine."""
    digest = hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFFFFFF


class CallStore:
    """Append-only map from call key to answer, for one run at a time.

    Each answer is committed when it arrives (WAL, synchronous=NORMAL): killing the process loses only calls in
    flight; a power cut can also lose the last moments' commits, never the file.

    Raises:
        UserError: another run holds the store, a newer Credo wrote it, it is no store, or the disk is full.
    """

    def __init__(self, path: Path):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = self._take_lock()
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version > STORE_VERSION:
                raise UserError(
                    f"the store was written by a newer Credo (format {version}, this one reads {STORE_VERSION})",
                    where=str(path),
                    mend="update Credo, or give another file with store=PATH",
                )
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute("CREATE TABLE IF NOT EXISTS calls (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")
            self._db.execute(f"PRAGMA user_version={STORE_VERSION}")
        except sqlite3.DatabaseError as error:
            raise self._trouble(error) from None

    def _take_lock(self) -> int:
        lock = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel lets go when the process dies, however it dies
        except BlockingIOError:
            owner = os.read(lock, 20).decode(errors="replace").strip()
            os.close(lock)
            raise UserError(
                f"another run (process {owner or 'unknown'}) is using this store",
                where=str(self.path),
                mend="wait until it ends, or give this run its own with store=PATH",
            ) from None
        os.ftruncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())
        return lock

    def _trouble(self, error: sqlite3.Error) -> UserError:
        if "full" in str(error) or "disk I/O" in str(error):
            return UserError(
                f"the call store cannot grow: {error}",
                where=str(self.path),
                mend="free some disk space and run again; every call answered so far is kept",
            )
        return UserError(
            f"the call store cannot be used: {error}",
            where=str(self.path),
            mend="give another file with store=PATH, or move this one away",
        )

    def get(self, key: str) -> Any | None:
        """The stored answer, or None."""
        found = self._db.execute("SELECT value FROM calls WHERE key = ?", (key,)).fetchone()
        return json.loads(found[0]) if found else None

    def put(self, key: str, value: Any) -> None:
        """Remember an answer; the first one wins."""
        try:
            self._db.execute("INSERT OR IGNORE INTO calls VALUES (?, ?)", (key, json.dumps(value, ensure_ascii=False)))
        except sqlite3.Error as error:
            raise self._trouble(error) from None

    def __len__(self) -> int:
        return self._db.execute("SELECT COUNT(*) FROM calls").fetchone()[0]

    def close(self) -> None:
        """Close the file and let the next run in."""
        self._db.close()
        os.close(self._lock)
