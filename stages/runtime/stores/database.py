"""Where a call store keeps its answers: what a database must do.

`store=PATH` is a SQLite file of this machine, `store=postgresql://user@host/database` a server that
several machines share. The rows are the same: a key, and an answer with its checksum.
"""

from collections.abc import Sequence
from typing import Protocol

SCHEME = "postgresql://"
STORE_VERSION = 2
"""In version 1 answers had no checksum; they are still read."""
MOST_BYTES = 64 * 2**20
"""Of one answer."""


class Database(Protocol):
    """A table of answers by key.

    Attributes:
        name: what messages call it.
        is_remote: a statement takes a journey over a network, so it should carry many rows.
    """

    name: str
    is_remote: bool

    @property
    def place(self) -> str:
        """What opens the same database in another process; it may hold a password."""
        ...

    def select(self, keys: Sequence[str]) -> dict[str, bytes | None]:
        """Return the values that are there, by key; None for one that cannot be read.

        Raises:
            UserError: the database cannot be read.
        """
        ...

    def insert(self, rows: Sequence[tuple[str, str]]) -> None:
        """Store all rows in one transaction; a key that is there keeps its value.

        Returns when they are durable.

        Raises:
            UserError: the database cannot be written.
        """
        ...

    def replace(self, rows: Sequence[tuple[str, str]]) -> None:
        """As `insert`, but a key that is there gets the new value."""
        ...

    def close(self) -> None:
        """Close the file or the connection."""
        ...
