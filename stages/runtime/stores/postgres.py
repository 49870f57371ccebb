"""A call store on a PostgreSQL server: several machines share its answers.

The URL is libpq's (`postgresql://user@host:5432/database?sslmode=require`). A password comes from
PGPASSWORD or from ~/.pgpass, as for every program that uses libpq. Where the connection is lost, as
when the server restarts, a statement waits and is sent again: all of them may run twice.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from stages.guards.console import open_console
from stages.guards.disk import CannotWrite
from stages.guards.errors import UserError
from stages.guards.secrets import mask, remember_secret
from stages.runtime.stores.database import MOST_BYTES, SCHEME, STORE_VERSION

T = TypeVar("T")
PATIENCE = 120.0  # seconds that a statement waits for a server that is gone
MOST_KEYS = 5_000  # of one statement
PAUSE = 1.0  # seconds between attempts
SETTINGS: dict[str, Any] = {
    "connect_timeout": 10,
    "application_name": "credo",
    "tcp_user_timeout": 30_000,  # milliseconds; else a network that is gone is noticed after hours
    "keepalives_idle": 30,
    "client_encoding": "UTF8",
    "autocommit": True,
}
LOCK = 0x63726564  # of the transaction that creates the table
TABLE = "credo_calls"
CREATE = f"""
CREATE TABLE {TABLE} (key text COLLATE "C" PRIMARY KEY, value bytea NOT NULL);
COMMENT ON TABLE {TABLE} IS 'format {STORE_VERSION}'
"""
COLUMNS = """
SELECT attname, format_type(atttypid, NULL) FROM pg_attribute
WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
SELECT = f"""
SELECT key, CASE WHEN octet_length(value) <= {MOST_BYTES} THEN value END FROM {TABLE}
WHERE key = ANY(%s::text[])
"""
INSERT = f"""
INSERT INTO {TABLE} SELECT * FROM unnest(%s::text[], %s::bytea[]) ON CONFLICT (key) DO
"""
OUTDATED = ("57P01", "57P02", "57P03", "40001", "40P01")
"""The server's codes for: it stops, it starts, two transactions stood in each other's way."""


class PostgresDatabase:
    """The table `credo_calls` of a database.

    Args:
        place: its URL.

    Raises:
        UserError: psycopg is not installed, nobody answers there, or it holds another table of
            this name.
    """

    is_remote = True

    def __init__(self, place: str):
        try:
            import psycopg
            from psycopg.conninfo import conninfo_to_dict
        except ImportError:
            raise UserError(
                "a store on a PostgreSQL server needs psycopg, which is not installed",
                where="store",
                fix="run `pip install -r requirements/several-machines.txt`",
            ) from None
        self._errors = psycopg.Error
        self._lost = (psycopg.OperationalError, psycopg.InterfaceError)
        self._connect = psycopg.connect
        self._waited = False
        self.place = place
        self.name = "the call store"
        try:
            facts = conninfo_to_dict(place)
        except psycopg.ProgrammingError as error:
            raise self._user_error(error) from None
        remember_secret(str(facts.get("password") or ""))
        self.name = _name_of(facts)
        try:
            self.connection = self._open()
            self._check()
        except psycopg.Error as error:
            raise self._user_error(error) from None

    def select(self, keys: Sequence[str]) -> dict[str, bytes | None]:
        """See `Database`."""
        values: dict[str, bytes | None] = {}
        for start in range(0, len(keys), MOST_KEYS):
            part = keys[start : start + MOST_KEYS]
            values.update(self._send(partial(self._fetch, part)))
        return values

    def _fetch(self, keys: Sequence[str]) -> list[tuple[str, bytes | None]]:
        rows: list[tuple[str, bytes | None]]
        rows = self.connection.execute(SELECT, [list(keys)], binary=True).fetchall()
        return rows

    def insert(self, rows: Sequence[tuple[str, str]]) -> None:
        """See `Database`."""
        self._write(rows, f"{INSERT} NOTHING")

    def replace(self, rows: Sequence[tuple[str, str]]) -> None:
        """See `Database`."""
        self._write(rows, f"{INSERT} UPDATE SET value = EXCLUDED.value")

    def _write(self, rows: Sequence[tuple[str, str]], statement: str) -> None:
        values: dict[str, str | bytes] = {}
        for key, value in rows:
            values.setdefault(key, value)
        keys = sorted(values)  # in one order, so that two runs do not wait for each other
        answers = [_as_bytes(values[key]) for key in keys]
        self._send(lambda: self.connection.execute(statement, [keys, answers]))

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def _open(self) -> Any:
        return self._connect(self.place, **SETTINGS)

    def _check(self) -> None:
        """Create the table if there is none; refuse another one of its name."""
        with self.connection.transaction():
            table = self._look_up_table()
            if not table:
                self.connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
                table = self._look_up_table()  # another run may have created it meanwhile
            if not table:
                self.connection.execute(CREATE)
                return
        columns = self.connection.execute(COLUMNS, [table]).fetchall()
        if columns != [("key", "text"), ("value", "bytea")]:
            raise self._user_error(f"its table {TABLE} is another program's")
        comment = self.connection.execute("SELECT obj_description(%s, 'pg_class')", [table])
        version = str(comment.fetchone()[0] or "").removeprefix("format ")
        if not version.isdigit() or int(version) > STORE_VERSION:
            raise UserError(
                f"the store was written by a newer Credo (format {version or 'unknown'}, this one "
                f"reads {STORE_VERSION})",
                where=self.name,
                fix="update Credo, or give another database with store=URL",
            )

    def _look_up_table(self) -> int | None:
        found = self.connection.execute("SELECT to_regclass(%s)::oid", [TABLE]).fetchone()
        return found[0] if found else None

    def _send(self, action: Callable[[], T]) -> T:
        """Run a statement; connect again and repeat it where the server went away.

        Raises:
            UserError: the server refuses, or is gone for longer than PATIENCE.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                if self.connection.closed:
                    self.connection = self._open()
                return action()
            except self._errors as error:
                is_passing = error.sqlstate in OUTDATED or (
                    isinstance(error, self._lost) and (self.connection.closed or not error.sqlstate)
                )
                if not is_passing or time.monotonic() > deadline:
                    raise self._user_error(error) from None
                self._say_waiting(error)
                time.sleep(PAUSE)

    def _say_waiting(self, error: Exception) -> None:
        if not self._waited:
            self._waited = True
            open_console(stderr=True).print(
                f"{self.name}: waiting for the server (at most {PATIENCE:g} seconds a call): "
                f"{mask(_first_line(error))}"
            )

    def _user_error(self, error: Exception | str) -> UserError:
        code = getattr(error, "sqlstate", None)
        fix = (
            f"see that the server runs and that `psql {self.name}` connects (a password comes from "
            "PGPASSWORD or ~/.pgpass), or give a file with store=PATH; every call answered so far "
            "is kept"
        )
        what = "cannot be used"
        if code == "53100":
            what = "cannot grow"
            fix = "free some space on the server and run again; every call answered so far is kept"
        if code == "42501":
            fix = (
                f"grant the user SELECT, INSERT and UPDATE on {TABLE}, and CREATE on the schema "
                "where the table is not there yet"
            )
        words = mask(_first_line(error))
        return CannotWrite(f"the call store {what}: {words}", where=self.name, fix=fix)


def _first_line(error: Exception | str) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _name_of(facts: dict[str, Any]) -> str:
    """Return a URL for messages: without a password and further settings."""
    user = f"{facts['user']}@" if facts.get("user") else ""
    port = f":{facts['port']}" if facts.get("port") else ""
    return f"{SCHEME}{user}{facts.get('host', '')}{port}/{facts.get('dbname', '')}"


def _as_bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value
