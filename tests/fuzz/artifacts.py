"""Damage to what Credo wrote: artifact folders, checkpoints and call stores, drawn at random.

`damage(folder, rng)` and `damage_store(path, rng)` do one harm and say which. What they write is
never what a step made, but it may be harmless.
"""

import json
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

MANIFEST = "manifest.json"
JUNK: list[Any] = [None, True, -1, 3.5, 10**400, "", "x\x00y", "../../evil", [], {}, [[None]]]
JUNK += [float("nan"), float("inf"), -(2**63), "[/red]", "\ud800", "9" * 400, {"": {"rows": 1}}]


def damage(folder: Path, rng: random.Random) -> str:
    """Damage an artifact's folder, or a checkpoint's, in one way; return what was done."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    tables = [path for path in files if path.suffix == ".parquet"]
    ways: list[Callable[[], str]] = [lambda: _spoil(rng.choice(files), rng)] * 6
    ways += [lambda: _replace(rng.choice(files), rng)] * 6
    ways += [lambda: _replace(folder, rng)]
    if (folder / MANIFEST).is_file():
        ways += [lambda: _edit_manifest(folder / MANIFEST, rng)] * 6
        ways += [lambda: _spoil(folder / MANIFEST, rng), lambda: _replace(folder / MANIFEST, rng)]
    if tables:
        ways += [lambda: _edit_table(rng.choice(tables), rng)] * 6
        ways += [lambda: _spoil(rng.choice(tables), rng), lambda: _replace(rng.choice(tables), rng)]
    return rng.choice(ways)()


def _spoil(path: Path, rng: random.Random) -> str:
    """Change a file's bytes."""
    content = bytearray(path.read_bytes())
    way = rng.choice(["truncate", "empty", "flip", "append", "zeros", "text", "noise", "sparse"])
    if way == "truncate":
        content = content[: rng.randrange(max(1, len(content)))]
    elif way == "empty":
        content = bytearray()
    elif way == "flip":
        for _ in range(rng.choice([1, 1, 8, 200])):
            if content:
                content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif way == "append":
        content += rng.randbytes(rng.choice([1, 300]))
    elif way == "zeros":
        start = rng.randrange(max(1, len(content)))
        content[start : start + 64] = bytes(64)
    elif way == "text":
        content = bytearray(rng.choice([b"null", b"[]", b"{}", b"[" * 100_000, b'{"a":' * 3000]))
    elif way == "noise":
        content = bytearray(rng.randbytes(len(content)))
    path.write_bytes(content)
    if way == "sparse":
        os.truncate(path, 2**30)
    return f"{way} {path.name}"


NO_FILES = {
    "folder": Path.mkdir,
    "pipe": os.mkfifo,
    "link": lambda path: path.symlink_to("nowhere"),
    "loop": lambda path: path.symlink_to(path.name),
}
"""What can be where a file should be."""


def _replace(path: Path, rng: random.Random) -> str:
    """Put something else where a file or a folder is."""
    way = rng.choice(["nothing", "folder", "pipe", "link", "loop", "file", "full folder"])
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    if way in NO_FILES:
        NO_FILES[way](path)
    elif way == "full folder":
        path.mkdir()
        (path / "inner").write_text("x")
    elif way == "file":
        path.write_text("x")
    return f"{way} for {path.name}"


def _edit_manifest(path: Path, rng: random.Random) -> str:
    """Change one value of a manifest; sometimes make it one of a version that sealed none."""
    manifest = json.loads(path.read_text(encoding="utf-8"))
    is_old = rng.random() < 0.5
    if is_old:
        manifest.pop("digest", None)
        manifest.pop("files", None)
    place, name = (
        manifest,
        rng.choice(["step", "fingerprint", "payload", "rows", "dropped", "calls"]),
    )
    if not is_old:
        name = rng.choice(sorted(manifest))
    while isinstance(place[name], dict) and place[name] and rng.random() < 0.6:
        place, name = place[name], rng.choice(sorted(place[name]))
    if rng.random() < 0.25:
        del place[name]
        what = "gone"
    else:
        place[name] = rng.choice([value for value in JUNK if value != place[name]])
        what = ascii(place[name])[:30]
    path.write_text(json.dumps(manifest), encoding="utf-8", errors="surrogatepass")
    return f"{MANIFEST}: {name} {what}" + (" (of an old version)" if is_old else "")


def _edit_table(path: Path, rng: random.Random) -> str:
    """Write other rows, or rows of other columns."""
    table = pq.read_table(path)
    way = rng.choice(["fewer", "none", "more", "no column", "new column", "nulls", "type", "kind"])
    name = rng.choice(table.column_names)
    place = table.column_names.index(name)
    if way == "fewer":
        table = table.slice(1)
    elif way == "none":
        table = table.slice(0, 0)
    elif way == "more":
        table = pa.concat_tables([table, table.slice(0, 1)])
    elif way == "no column":
        table = table.drop_columns([name])
    elif way == "new column":
        table = table.append_column("evil", pa.array([1] * len(table)))
    elif way == "nulls":
        table = table.set_column(place, name, pa.nulls(len(table), table.schema.field(name).type))
    elif way == "type":
        table = table.set_column(place, name, pa.array([b"x"] * len(table)))
    else:
        table = table.replace_schema_metadata({"row_type": rng.choice(["Tested", "Prompt", "X"])})
    pq.write_table(table, path)
    return f"{way} {name} in {path.name}"


def damage_store(path: Path, rng: random.Random) -> str:
    """Damage a call store in one way; return what was done. Nobody may have it open."""
    way = rng.randrange(8)
    if way == 0:
        return _replace(path, rng)
    if way == 1:
        return _spoil(path, rng)
    if way == 2:
        beside = Path(f"{path}{rng.choice(['-wal', '-shm', '.lock'])}")
        beside.write_bytes(rng.randbytes(rng.choice([0, 32, 5000])))
        return f"noise in {beside.name} " + (_replace(beside, rng) if rng.random() < 0.4 else "")
    with sqlite3.connect(path) as store:
        keys = [key for (key,) in store.execute("SELECT key FROM calls ORDER BY key")]
        if way == 3:
            statement = rng.choice(
                [
                    "DROP TABLE calls",
                    "ALTER TABLE calls RENAME COLUMN value TO text",
                    "ALTER TABLE calls ADD COLUMN more TEXT",
                    "DELETE FROM calls",
                    "PRAGMA user_version=99",
                    "PRAGMA user_version=0",
                    "CREATE TABLE other (x)",
                ]
            )
            store.execute(statement)
            return statement
        values = [b"\xff\xfe", 7, 0.5, "", "null", "{torn", "['a']", "[" * 50_000, "[NaN]", "true"]
        values += ['{"text": null}', '{"logprobs": [-Infinity]}', '"text"', "{}", "[]", "1e999"]
        chosen = rng.sample(keys, min(len(keys), rng.choice([1, 3, len(keys)])))
        value = rng.choice(values)
        store.executemany("UPDATE calls SET value=? WHERE key=?", [(value, key) for key in chosen])
        return f"{len(chosen)} values {value!r:.30}"
