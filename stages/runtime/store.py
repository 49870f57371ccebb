"""The call store: it holds the answer of every call.

One mechanism gives resuming after a crash, a second run without calls, and reuse across ablations:
a stage simply runs again, and its calls are answered from here. A key never depends on batch order,
paths or time. The answers lie in a SQLite file, or on a server that several machines share
(`stores/`).
"""

import asyncio
import contextlib
import hashlib
import json
import sqlite3
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from stages.guards.errors import UserError
from stages.guards.text import replace_surrogates
from stages.runtime.stores.batches import Batches
from stages.runtime.stores.database import SCHEME, Database
from stages.runtime.stores.postgres import PostgresDatabase
from stages.runtime.stores.sqlite import SqliteDatabase

T = TypeVar("T")
MOST_ROWS = 5_000
"""Of one commit, of those that another store holds."""
Row = tuple[Database | None, str, str]
"""An answer to store: the database whose damaged value it replaces, if there is one, its key, its
text.
"""


as_plain_json = json.JSONEncoder(ensure_ascii=False).encode
as_key_json = json.JSONEncoder(ensure_ascii=False, sort_keys=True).encode
"""Returns a part of a call's key as `join_key` takes it."""


def call_key(**parts: Any) -> str:
    """Return the SHA-256 of the canonical JSON of what decides an answer.

    Args:
        parts: model content, messages, sampling, seed, options.
    """
    return join_key({name: as_key_json(value) for name, value in parts.items()})


def join_key(parts: Mapping[str, str]) -> str:
    """Return `call_key` of parts that are JSON already, since many calls share some of them."""
    canonical = ", ".join([f'"{name}": {parts[name]}' for name in sorted(parts)])
    return hashlib.sha256(_encode(f"{{{canonical}}}")).hexdigest()


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
    digest = hashlib.sha256(_encode(as_plain_json(parts))).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFFFFFF


def _encode(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def derive_fraction(*parts: Any) -> float:
    """Return a number in [0, 1), uniform over parts; equal parts give equal numbers."""
    return derive_seed(*parts) / 2**31


class CallStore:
    """Append-only map from call key to answer. Several runs may use it at once.

    An answer is committed before its call returns, together with all that arrived at the same time:
    killing the process loses only calls in flight. A power cut can also lose the last commits to a
    SQLite file, but never the whole file.

    Args:
        place: a SQLite file, created if there is none, or `postgresql://user@host/database`.
        behind: another store, which is asked for keys that are not in this one.

    Attributes:
        damaged: how many stored values were no answers.

    Raises:
        UserError: see `stores/`.
    """

    def __init__(self, place: str | Path, behind: str | Path | None = None):
        self.damaged = 0
        self._replaced: dict[str, Database] = {}
        """By the keys of damaged values, where those are."""
        self._arrived: list[tuple[Row, asyncio.Future[None]]] = []
        """Answers that the next commit stores, and who waits for it."""
        self._behind = open_database(behind) if behind else None
        self._db = open_database(place)
        self._databases = [self._db, self._behind] if self._behind else [self._db]
        self._reads: Batches[str, list[tuple[Database, bytes | None]]] | None = None
        self._writes: Batches[Row, None] | None = None
        if self._db.is_remote:
            self._reads = Batches(self._select)
            self._writes = Batches(self._write)

    @property
    def place(self) -> str:
        """What opens the same store in another process; it may hold a password."""
        return self._db.place

    @property
    def name(self) -> str:
        """What messages call it."""
        return self._db.name

    def get(self, key: str, check: Callable[[str], T] = json.loads) -> T | None:
        """Return the stored answer, or None.

        Args:
            check: reads an answer from its JSON, and raises a ValueError for what is none. Such a
                value counts as not stored, and the next `put` takes its place.

        Raises:
            UserError: a page is damaged, or the server is gone.
        """
        for database in self._databases:
            found = database.select((key,))
            if found and (answer := self._read(database, key, found[key], check)) is not None:
                return answer
        return None

    async def get_soon(self, key: str, check: Callable[[str], T] = json.loads) -> T | None:
        """Do what `get` does; a server is asked once for all keys that have arrived."""
        if not self._reads:
            return self.get(key, check)
        values = await self._reads.add(key)
        return self._read_first(key, values, check)

    def get_many(self, keys: Sequence[str], check: Callable[[str], T] = json.loads) -> dict[str, T]:
        """Return the stored answers of these keys; see `get`."""
        answers = {}
        for key, values in zip(keys, self._select(keys), strict=True):
            answer = self._read_first(key, values, check)
            if answer is not None:
                answers[key] = answer
        return answers

    def _select(self, keys: Sequence[str]) -> list[list[tuple[Database, bytes | None]]]:
        """Return the values of each key, in the order of the databases."""
        found = [(database, database.select(keys)) for database in self._databases]
        return [
            [(database, values[key]) for database, values in found if key in values] for key in keys
        ]

    def _read_first(
        self, key: str, values: Sequence[tuple[Database, bytes | None]], check: Callable[[str], T]
    ) -> T | None:
        for database, value in values:
            answer = self._read(database, key, value, check)
            if answer is not None:
                return answer
        return None

    def _read(
        self, database: Database, key: str, value: bytes | None, check: Callable[[str], T]
    ) -> T | None:
        """Return the answer in a value; where it is damaged, count it and have it replaced."""
        try:
            if value is not None:
                return check(_unsealed(str(value, "utf-8")))
        except (ValueError, TypeError, RecursionError):
            pass
        self.damaged += 1
        self._replaced[key] = database
        return None

    def put(self, key: str, value: Any) -> None:
        """Store an answer; if the key has a sound one already, that one stays.

        A number that is infinite or no number is no answer: it is not stored.
        """
        self.put_many({key: value})

    def put_many(self, answers: Mapping[str, Any]) -> None:
        """Do what `put` does, for all of them in one commit."""
        rows = [self._row(key, value) for key, value in answers.items()]
        self._write([row for row in rows if row])

    async def put_soon(self, key: str, value: Any) -> None:
        """Do what `put` does, in one commit with the other answers that have arrived.

        Returns when it is committed.

        Raises:
            UserError: as `put` does.
        """
        row = self._row(key, value)
        if not row:
            return
        if self._writes:
            await self._writes.add(row)
            return
        loop = asyncio.get_running_loop()
        loop.call_soon(self._commit)  # after all that has arrived by now was read
        waiter = loop.create_future()
        self._arrived.append((row, waiter))
        await waiter

    def _row(self, key: str, value: Any) -> Row | None:
        """Return what is written of an answer; None for what is none."""
        try:
            text = _sealed(as_json(value))
        except ValueError:
            return None
        return self._replaced.pop(key, None), key, text

    def _commit(self) -> None:
        """Store what has arrived, and wake those who wait for it."""
        arrived, self._arrived = self._arrived, []
        if not arrived:  # the first of them has stored the others
            return
        try:
            self._write([row for row, _ in arrived])
        except BaseException as error:
            for _, waiter in arrived:
                if not waiter.done():
                    waiter.set_exception(error)
            return
        for _, waiter in arrived:
            if not waiter.done():
                waiter.set_result(None)

    def _write(self, rows: Sequence[Row]) -> list[None]:
        """Store rows; return None for each, as `Batches` asks for."""
        for place in {place for place, _, _ in rows}:
            answers = [(key, text) for where, key, text in rows if where is place]
            if place:
                place.replace(answers)
            else:
                self._db.insert(answers)
        return [None] * len(rows)

    def absorb(self, path: Path) -> None:
        """Take over the answers of another store, a SQLite file, and remove its file."""
        try:
            with contextlib.closing(sqlite3.connect(path)) as other:
                rows = other.execute("SELECT key, value FROM calls")
                while part := rows.fetchmany(MOST_ROWS):
                    self._db.insert(part)
        except sqlite3.Error as error:
            raise UserError(
                f"the calls of another process cannot be read: {error}",
                where=str(path),
                fix="run the same command again",
            ) from None
        for file in path.parent.glob(f"{path.stem}.*"):
            file.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the files and connections; store first what has arrived."""
        if self._arrived:  # a run was interrupted at this moment
            self._commit()
        for batches in (self._reads, self._writes):
            if batches:
                batches.close()
        for database in self._databases:
            database.close()


def open_database(place: str | Path) -> Database:
    """Open the database that an option `store` names; create its table if there is none.

    Raises:
        UserError: it cannot be used.
    """
    if "://" not in str(place):
        return SqliteDatabase(place)
    if not str(place).startswith(SCHEME):
        scheme, _, _ = str(place).partition("://")
        raise UserError(
            f"no store is called {scheme + '://'!r}",
            where="store",
            fix=f"give a file with store=PATH, or a server with store={SCHEME}user@host/database",
        )
    return PostgresDatabase(str(place))
