"""Hostile files of data: what breaks readers of json, csv and parquet, and what they unpack to.

`draw_file(rng, folder)` writes one; `find_fault(path)` gives what is wrong with how the stages read
it. A file may be refused in one message, or read with rows dropped; every record is accounted for.
"""

import bz2
import gzip
import json
import lzma
import random
import time
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stages import STAGES
from stages.guards.errors import UserError
from stages.runtime.stage import load_stage
from stages.runtime.typed_config import parse_config

SLOWEST = 10.0
STAGES_THAT_READ = ("prompts", "human_pairs", "human_answers")
TEXTS: list[Any] = [
    "a",
    "b c",
    "",
    " ",
    "\u200b\u200d",
    "\ufeff",
    "\u202e",
    "\ud83d",
    "\x00",
    "\x1b[31m",
    "a\nb",
    "a\r\nb",
    "\u2028",
    '"',
    "'",
    '""',
    "a,b",
    "=1+1",
    "@SUM(A1)",
    "[red]x[/red]",
    "{{ x }}",
    "NaN",
    "null",
    "[]",
    "{}",
    "[1, 2]",
    '["a"]',
    '[{"role": "user", "content": "q"}]',
    "[" * 3000,
    '[{"role": ' * 500,
    "{'a': " * 300,
    "array([",
    "1" * 5000,
    "\n\nHuman: a\n\nAssistant: b",
    "Human:" * 50,
    "x" * 100_000,
    "😀",
    "é",
    "-1",
    "1e999",
    "True",
    "a" + "\u0301" * 500,
    "defaultdict(<class 'list'>, {})",
    "[" + "-" * 3000 + "1]",
    "[" + "1+" * 3000 + "1]",
    "[0x" + "f" * 5000 + "]",
    "\\ud83d",
    "<|im_start|>user",
]
VALUES: list[Any] = [
    None,
    True,
    0,
    1,
    -1,
    0.5,
    float("nan"),
    float("inf"),
    10**400,
    [],
    {},
    [None],
    [[]],
    {"role": "user"},
    [{"role": "user", "content": "q"}],
    [{"role": "user", "content": "q"}, {"role": "assistant", "content": "\u200b"}],
    [{"role": None, "content": None}],
    [{"role": "user", "content": [{"type": "text", "text": "q"}]}],
    [{"role": "user", "content": [{"type": "image"}]}],
    [{"from": "human", "value": 1}],
    {"parts": ["q"]},
    [["a", "b"]],
    {"a": {"b": {"c": []}}},
]
NAMES = ["prompt", "chosen", "rejected", "response", "score", "label", "messages", "id", "", " "]
NAMES += [
    "\u200b",
    "\ud83d",
    "a\nb",
    "=x",
    "x" * 3000,
    "prompt ",
    "Prompt",
    "\x00",
    "better",
    "text",
]
RAW = [
    "",
    " ",
    "\n\n\n",
    "null",
    "1",
    '"a"',
    "[]",
    "{}",
    "[1, 2]",
    "[[1]]",
    "[null]",
    "{",
    "[",
    "[" * 50_000,
    '{"a": ' * 50_000,
    '{"prompt": "a"}' * 5,
    '{"prompt": "a"} // x',
    '{"prompt": "a",}',
    "{'prompt': 'a'}",
    '{"prompt": NaN}',
    '{"prompt": Infinity}',
    '{"prompt": 1e999}',
    '{"prompt": ' + "9" * 5000 + "}",
    '{"prompt": "a", "prompt": "b"}',
    '{"prompt": "\\ud83d"}',
    "null\n1\n",
    '"a"\n"b"\n',
    '{"a": {"prompt": "x"}, "b": {"prompt": "y"}}',
    '{"a": [{"prompt": "x"}], "b": [{"prompt": "y"}]}',
    '{"columns": ["prompt"], "data": [["a"], [], 5]}',
    '{"columns": 5, "data": [["a"]]}',
    '{"columns": [[]], "data": [["a"]]}',
    '{"prompt": {"0": "a", "1": "b"}, "x": {"0": 1}}',
    '{"prompt": {"\u00b2": "a"}}',
    "\ufeff\ufeff" + '{"prompt": "a"}',
    '{"prompt": "a"}\ufeff\n{"prompt": "b"}',
    "prompt",
    "prompt\n",
    "prompt,id\n1",
    ",,,\n,,,\n",
    "\n\nprompt,id\na,1\n",
    "sep=\nprompt\na\n",
    'sep="\nprompt\na\n',
    "sep=,,\nprompt\na\n",
    "sep=\u2028\nprompt\na\n",
    'prompt,id\n"a,1\n"b",2\n',
    'prompt,id\n"a,1\nb,2\nc,3\nd,4\ne,5\n"f,6\n',
    'prompt,id\n"a"b,1\n"c" "d,2\ne,3\n',
    "prompt,prompt\na,b\n",
    "'prompt','id'\n'a','b\n",
    "prompt\rid\r\ra\n",
    "prompt,id\n" + "a,\n" * 500 + '"',
    ",".join(f"c{i}" for i in range(30_000)) + "\n1\n",
    ",".join(f"c{i}" for i in range(15_000)) + "\n" + "1\n" * 2000,
    ",".join(["prompt"] * 15_000) + "\nx\n",
    "prompt\n" + "x" * 3_000_000 + "\n",
    'prompt,id\n"' + "a,b\n" * 20_000 + '",1\n',
    "prompt;id\na,b;1\n",
    "prompt|id\n\x00|1\n",
    "<!DOCTYPE html>",
    "version https://git-lfs.github.com/spec/v1\n",
    "PAR1",
    "PAR1" + "x" * 100 + "PAR1",
    "PK\x03\x04",
]
SUFFIXES = [".jsonl", ".json", ".csv", ".tsv", ".parquet", ".ndjson", ".txt", "", ".jsonl.gz"]
STEMS = ["data", "a b", "=x", "[red]", "caf\udce9"]
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "utf-7"]


def draw_file(rng: random.Random, folder: Path, bombs: bool = True) -> Path:
    """Write a file of data into a folder, and return its path.

    Args:
        bombs: also small files that unpack to 256 MB; to make them takes seconds.
    """
    kind = rng.choice(["raw", "json", "json", "csv", "parquet", "bomb" if bombs else "csv", "odd"])
    if kind == "odd":
        return _draw_odd(rng, folder)
    if kind == "parquet":
        path = folder / f"data{rng.choice(['.parquet', '.parquet', '.csv'])}"
        try:
            pq.write_table(_draw_table(rng), path)
        except Exception:  # a table that parquet cannot hold
            path.write_bytes(b"PAR1")
        data = path.read_bytes()
        if rng.random() < 0.3:
            path.write_bytes(_damage(rng, data))
        return path
    if kind == "bomb":
        return _draw_bomb(rng, folder)
    suffix = rng.choice(SUFFIXES)
    if kind == "raw":
        text = rng.choice(RAW)
    elif kind == "json":
        text, suffix = _draw_json(rng), rng.choice([".jsonl", ".json"])
    else:
        text, suffix = _draw_csv(rng), rng.choice([".csv", ".tsv"])
    data = text.encode("utf-8", "surrogatepass")
    if rng.random() < 0.1:
        data = text.encode(rng.choice(ENCODINGS), "replace")
    if rng.random() < 0.2:
        data = _damage(rng, data)
    if rng.random() < 0.1:
        data = rng.choice([gzip.compress, bz2.compress, lzma.compress])(data)
        data = _damage(rng, data) if rng.random() < 0.3 else data
    path = folder / f"{rng.choice(STEMS)}{suffix}"
    path.write_bytes(data)
    return path


def _draw_record(rng: random.Random) -> dict[str, Any]:
    record = {name: rng.choice(TEXTS) for name in rng.choice([["prompt"], NAMES[:3], NAMES[:5]])}
    for _ in range(rng.choice([0, 0, 1, 2])):
        record[rng.choice(NAMES)] = rng.choice([*TEXTS, *VALUES])
    return record


def _draw_json(rng: random.Random) -> str:
    records: list[Any] = [_draw_record(rng) for _ in range(rng.choice([1, 2, 3, 10]))]
    if rng.random() < 0.2:
        records.insert(rng.randrange(len(records)), rng.choice([*VALUES, *TEXTS[:5]]))
    ascii_only = rng.random() < 0.5
    lines = [json.dumps(record, ensure_ascii=ascii_only) for record in records]
    whole = [
        "\n".join(lines),
        "\n".join(lines),
        f"[{', '.join(lines)}]",
        json.dumps({rng.choice(["data", "rows", "x"]): records}),
        json.dumps({str(number): record for number, record in enumerate(records)}),
        " ".join(lines),
        "\r".join(lines),
    ]
    return rng.choice(whole)


def _draw_csv(rng: random.Random) -> str:
    separator = rng.choice(",,,;\t|")
    quote = rng.choice('""""\'')
    names = rng.sample(NAMES, rng.choice([1, 2, 3, 5]))
    rows = [names]
    for _ in range(rng.choice([0, 1, 2, 20])):
        rows.append(
            [str(rng.choice(TEXTS)) for _ in range(len(names) + rng.choice([0, 0, 0, -1, 1]))]
        )
    lines = []
    for row in rows:
        cells = []
        for cell in row:
            if rng.random() < 0.5:
                double = quote * 2 if rng.random() < 0.9 else quote
                cell = quote + cell.replace(quote, double) + (quote if rng.random() < 0.98 else "")
            cells.append(cell)
        lines.append(separator.join(cells))
    return rng.choice(["\n", "\r\n", "\r"]).join(lines)


def _draw_table(rng: random.Random) -> Any:
    """Columns that are read, beside one of a type that nobody expects."""
    size = rng.choice([0, 1, 3, 50])
    columns: dict[str, Any] = {}
    for name in rng.choice([["prompt"], NAMES[:3], ["messages"]]):
        texts = [text for text in TEXTS if "\ud83d" not in text and len(text) < 5000]
        columns[name] = pa.array([rng.choice([*texts, None]) for _ in range(size)], pa.string())
    far = [2**62, -(2**62), 0, None]
    types = [
        pa.timestamp("s", tz="Mars/Olympus"),
        pa.timestamp("s"),
        pa.timestamp("us", tz="+99:99"),
        pa.timestamp("ns"),
        pa.date32(),
        pa.date64(),
        pa.duration("s"),
        pa.time64("ns"),
        pa.decimal128(38, 10),
        pa.decimal256(70, -5),
        pa.binary(),
        pa.large_binary(),
        pa.null(),
        pa.map_(pa.string(), pa.int64()),
        pa.list_(pa.list_(pa.null())),
        pa.struct([("a", pa.timestamp("s")), ("b", pa.map_(pa.int64(), pa.string()))]),
        pa.dictionary(pa.int32(), pa.string()),
        pa.float16(),
        pa.month_day_nano_interval(),
        pa.binary(3),
    ]
    kind = rng.choice(types)
    values = [
        rng.choice([*far, *VALUES[:5], b"\xff\x00", [("a", 1)], [("a", 1), ("a", 2)]])
        for _ in range(size)
    ]
    try:
        columns[rng.choice(["other", "prompt", "id"])] = pa.array(values, kind)
    except Exception:  # values that this type cannot hold
        raw = pa.array([rng.choice(far) for _ in range(size)], pa.int64())
        try:
            columns["other"] = raw.view(kind) if kind.bit_width == 64 else raw.cast(kind)
        except Exception:
            columns["other"] = pa.nulls(size, kind)
    return pa.table(columns)


def _draw_bomb(rng: random.Random, folder: Path) -> Path:
    """A small file that unpacks to a large one."""
    piece = rng.choice([b"\x00", b" ", b"[", b"a,", b'{"prompt": "a"}\n', b"\n"])
    size = rng.choice([2**18, 2**18, 2**28])
    suffix = rng.choice(["gz", "zst"])
    data = _packed(piece, size, suffix)
    for _ in range(rng.choice([0, 0, 1, 4])):
        data = gzip.compress(data)
    path = folder / f"bomb{rng.choice(['.jsonl', '.csv', '.json'])}.{suffix}"
    path.write_bytes(data)
    return path


@cache
def _packed(piece: bytes, size: int, suffix: str) -> bytes:
    data = piece * (size // len(piece))
    if suffix == "gz":
        return gzip.compress(data, 1)
    return pa.compress(data, codec="zstd", asbytes=True)


def _draw_odd(rng: random.Random, folder: Path) -> Path:
    """A path that is no file, or no plain one."""
    path = folder / f"odd{rng.randrange(10**9)}{rng.choice(['.jsonl', '.csv', ''])}"
    kinds = [
        lambda: path.mkdir(),
        lambda: path.symlink_to("nowhere"),
        lambda: path.symlink_to(path.name),
        lambda: path.symlink_to("/dev/zero"),
        lambda: path.symlink_to("/proc/self/environ"),
        lambda: path.symlink_to(folder),
        lambda: path.write_bytes(b""),
        lambda: None,
    ]
    rng.choice(kinds)()
    return path


def _damage(rng: random.Random, data: bytes) -> bytes:
    place = rng.randrange(len(data) + 1)
    choices = [
        data[:place],
        data[place:],
        data[:place] + bytes([rng.randrange(256)]) + data[place + 1 :],
    ]
    return rng.choice([*choices, data + data, data[:place] + b"\x00" * 5 + data[place:]])


def find_fault(path: Path, stage: str, **options: Any) -> str:
    """Return what is wrong with how a stage reads a file; "" if nothing is."""
    contract = load_stage(STAGES[stage])
    started = time.monotonic()
    try:
        config = parse_config(contract.config, {"source": str(path), **options}, "a step")
        contract.identity(config)
        rows, dropped, reading = contract.read(config, None)
    except UserError as error:
        if not error.where or len(str(error)) > 10_000:
            return f"an error without place, or too long: {str(error)[:300]}"
        rows, dropped, reading = [], [], None
    except Exception as error:
        return f"a traceback: {type(error).__name__}: {str(error)[:300]}"
    if time.monotonic() - started > SLOWEST:
        return f"{time.monotonic() - started:.0f} seconds"
    for row in [*rows, *dropped]:
        try:
            repr(row).encode()
            row.id.encode()
        except UnicodeEncodeError:
            return "a row that no file can hold"
    if reading is not None and reading.records and not (rows or dropped):
        return "records that were neither read nor dropped"
    return ""
