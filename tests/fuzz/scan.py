"""Search everything that a run leaves for a secret, in any spelling."""

import base64
import binascii
import contextlib
import gzip
import json
import re
import sqlite3
import urllib.parse
import zlib
from collections.abc import Iterator
from pathlib import Path

PACKED = re.compile(rb"[A-Za-z0-9+/_-]{24,}={0,2}")
"""What may be base64."""
WINDOW = 10
"""Letters of a secret that must not stand anywhere: a cut key helps to guess the rest."""


def find_leaks(secret: str, places: list[Path]) -> list[str]:
    """Return where a part of the secret stands: files, with the spelling.

    Args:
        places: files and folders.
    """
    needles = list(spellings(secret))
    leaks = []
    for place in filter(Path.exists, places):
        for path in [place, *place.rglob("*")]:
            if not path.is_file() or path.name.endswith(("-shm", "-wal")):
                continue  # a store is read with its log of writes
            names = [path.name.encode()]
            for content in [*names, *contents(path)]:
                text = content.lower()
                leaks += [f"{path.name}: as {how}" for how, needle in needles if needle in text]
    return sorted(set(leaks))


def spellings(secret: str) -> Iterator[tuple[str, bytes]]:
    """Yield each way to write a part of the secret, in lower case."""
    windows = {secret[start : start + WINDOW] for start in range(len(secret) - WINDOW + 1)}
    for part in sorted(windows or {secret}):
        yield "it is", part.lower().encode(errors="surrogateescape")
        yield "JSON", json.dumps(part)[1:-1].lower().encode()
        yield "Python", repr(part)[1:-1].lower().encode(errors="surrogateescape")
        yield "an address", urllib.parse.quote(part, safe="").lower().encode()


def contents(path: Path) -> Iterator[bytes]:
    """Yield what a file holds: its bytes, and what is packed inside them."""
    raw = path.read_bytes()
    yield raw
    if path.suffix == ".parquet":
        import pyarrow.parquet

        table = pyarrow.parquet.read_table(path)
        yield json.dumps(table.to_pylist(), ensure_ascii=False, default=str).encode()
        yield str(table.schema).encode()
    elif path.suffix == ".sqlite":
        with contextlib.closing(sqlite3.connect(path)) as store:
            for row in store.execute("SELECT key, value FROM calls"):
                yield str(row).encode()
        for log in path.parent.glob(f"{path.name}-wal"):
            yield log.read_bytes()
    elif raw[:2] == b"\x1f\x8b":
        yield gzip.decompress(raw)
    else:
        yield from unpacked(raw)


def unpacked(raw: bytes) -> Iterator[bytes]:
    """Yield what base64 in a file spells, and what is compressed in that."""
    for match in PACKED.finditer(raw):
        with contextlib.suppress(binascii.Error, ValueError):
            plain = base64.b64decode(match[0] + b"=" * (-len(match[0]) % 4), altchars=b"-_")
            yield plain
            with contextlib.suppress(zlib.error):
                yield zlib.decompress(plain)
