"""Hostile constitutions: mutations of the shipped ones, and what breaks readers of YAML.

`draw_constitution(rng)` gives the bytes of a file, `find_fault(data, folder)` what is wrong with
how it was read. The oracle is PyYAML's own safe_load and the JSON schema: what they refuse must be
refused, and what is accepted must hold what safe_load gives.
"""

import json
import random
import time
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from stages.guards.errors import UserError
from stages.principles.constitution import SHIPPED, Constitution, load

GOOD = "name: mine\nprinciples:\n  - id: kind\n    text: The response is kind.\n"
SLOWEST = 10.0
VALUES = [
    "!!bool abc",
    "!!int ''",
    "!!int _",
    "!!int '-'",
    "!!float ''",
    "!!float x",
    "!!null x",
    "!!str [a]",
    "!!timestamp abc",
    "!!timestamp 2024-13-45",
    "!!binary x",
    "!!binary YQ==",
    "!!set {a, b}",
    "!!omap [a: 1]",
    "!!pairs [a: 1]",
    "!!map x",
    "!!seq x",
    "!!value x",
    "!!merge x",
    "!x y",
    "! y",
    "=",
    "!!python/object/apply:os.system [true]",
    "!!python/name:os.system ''",
    "!<tag:yaml.org,2002:set> {a}",
    "1:99999999:1",
    "1:99999999:1.5",
    "9" * 400 + ":1.5",
    "9" * 5000,
    "-" + "9" * 4301,
    "0x" + "f" * 5000,
    "0b",
    "0x",
    "0o9",
    "_",
    "1__0",
    "1e999",
    "1.0e+999",
    ".inf",
    "-.inf",
    ".nan",
    "~",
    "null",
    "yes",
    "no",
    "2024-01-01",
    "0000-01-01",
    "9999-12-31T23:59:59-23:00",
    "2024-01-01T00:00:00+99:99",
    "2024-02-30",
    "1_000",
    "+1",
    "-0",
    "1e3",
    "0.0",
    "[]",
    "{}",
    "[a, b]",
    "{a: b}",
    "{{ x }}",
    "[[a]]",
    '"\\ud800"',
    '"\\UFFFFFFFF"',
    '"\\U00110000"',
    '"\\x00"',
    '"\\x1b[31m"',
    '"\\u202e"',
    '"\\u200b"',
    '"\\uFEFF"',
    '"\\e"',
    '"\\q"',
    "'",
    '"',
    "|",
    ">",
    "|9\n x",
    ">-\n\n",
    "&a x",
    "*a",
    "&a [*a]",
    "%x",
    "@x",
    "`x`",
    "- x",
    "? x",
    ": x",
    "a: b: c",
    "# x",
    "\t",
    "\u2028",
    "\x85",
    "\ufeff",
    "\u200b\u200d",
    "😀",
    "{{ ''.__class__ }}",
    "{% for i in range(10**9) %}",
    "${oc.env:HOME}",
    "[red]x[/red]",
    "true",
    "1.5",
    "''",
]
KEYS = [
    "null",
    "true",
    "1",
    "1.5",
    "~",
    "<<",
    "=",
    "''",
    "2024-01-01",
    "[a]",
    "{a: b}",
    "é",
    "ID",
    "!!int ''",
    "!!binary YQ==",
    "x" * 5000,
    "name",
    "principles",
    "text",
    "id",
    "weight",
    "targets",
    "\ufeffname",
]
HEADS = [
    "%YAML 1.1\n---\n",
    "%YAML 9.9\n---\n",
    "%YAML x\n",
    "%YAML 1." + "9" * 5000 + "\n---\n",
    "%TAG ! tag:yaml.org,2002:\n---\n",
    "%TAG !! tag:x,2000:\n---\n",
    "%FOO\n---\n",
    "---\n",
    "...\n",
    "--- !!map\n",
    "--- !!set\n",
    "\ufeff",
    "\ufeff\ufeff",
    "\x00",
    "\t",
    "# \x1b\n",
]
TAILS = [
    "---\n" + GOOD,
    "...\n",
    "...\n---\n",
    "---\n",
    "\x00",
    "\ufeff",
    "\n\ttitle: x\n",
    "\x1a",
    "<<: 5\n",
    "<<: {title: x}\n",
    "<<: [{title: x}, 5]\n",
    "? [a]\n: b\n",
    "\u2028title: x\n",
    "#" * 5000,
]
ENCODINGS = ["utf-16", "utf-16-le", "utf-32", "utf-7", "latin-1", "utf-8-sig", "cp037"]


@cache
def shipped() -> list[str]:
    """The texts of the shipped constitutions."""
    return [path.read_text(encoding="utf-8") for path in sorted(SHIPPED.glob("*.yaml"))]


@cache
def validator() -> Any:
    """The published schema of a constitution."""
    return jsonschema.Draft202012Validator(json.loads((SHIPPED / "schema.json").read_text()))


def draw_constitution(rng: random.Random) -> bytes:
    """Return a file: now and then a sound one, mostly one with a few mutations."""
    text = GOOD if rng.random() < 0.5 else rng.choice(shipped())
    if len(text) > 8000:
        text = text[: text.rindex("\n", 0, 8000) + 1]
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
        text = rng.choice(MUTATIONS)(rng, text)
    data = text.encode("utf-8", "surrogatepass")
    if rng.random() < 0.08:
        data = _mutate_bytes(rng, data)
    if rng.random() < 0.04:
        data = text.encode(rng.choice(ENCODINGS), "replace")
    return data


def _set_value(rng: random.Random, text: str) -> str:
    lines = text.splitlines(keepends=True)
    places = [n for n, line in enumerate(lines) if ": " in line] or [0]
    place = rng.choice(places)
    key = lines[place].partition(":")[0] if lines else "title"
    lines[place : place + 1] = [f"{key}: {rng.choice(VALUES)}\n"]
    return "".join(lines)


def _add_key(rng: random.Random, text: str) -> str:
    names = [
        *Constitution.model_fields,
        "opposite",
        "tags",
        "situations",
        "dimension",
        "rewordings",
        "because",
        "examples",
        "authority",
    ]
    key = rng.choice(KEYS) if rng.random() < 0.5 else rng.choice(names)
    return f"{text}{rng.choice(['', '    ', '  - '])}{key}: {rng.choice(VALUES)}\n"


def _insert(rng: random.Random, text: str) -> str:
    place = rng.randrange(len(text) + 1)
    piece = rng.choice([*VALUES, *"[]{}:-&*!|>#'\"\n\t,?%@\x00\ud800\x85\u200b", " ", "\n  ", "\r"])
    return text[:place] + piece + text[place:]


def _delete(rng: random.Random, text: str) -> str:
    place = rng.randrange(len(text) + 1)
    return text[:place] + text[place + rng.choice([1, 1, 2, 10, 100]) :]


def _repeat(rng: random.Random, text: str) -> str:
    lines = text.splitlines(keepends=True) or [""]
    place = rng.randrange(len(lines))
    end = place + rng.choice([1, 2, 3])
    return "".join(lines[:end] + lines[place:end] * rng.choice([1, 1, 3]) + lines[end:])


def _large(rng: random.Random, text: str) -> str:
    count = rng.choice([30, 1000, 20_000])
    kinds = [
        lambda: f"title: {'[' * count}\n",
        lambda: f"title: {'{a: ' * count}\n",
        lambda: f"title: {'[' * count}{']' * count}\n",
        lambda: "".join(f"a{i}: &a{i} x\n" for i in range(count)),
        lambda: "".join(f"  - id: a{i}\n    text: b.\n" for i in range(count)),
        lambda: f"title: {'x' * count * 10}\n",
        lambda: f'title: "{chr(92) + "n"}{"a " * count}"\n',
        lambda: "- " * count + "\n",
        lambda: "? " * min(count, 1000) + "\n",
        lambda: "a: &a [x, x]\n" + "".join(f"b{i}: &b{i} [*a, *a]\n" for i in range(9)),
    ]
    return text + rng.choice(kinds)()


MUTATIONS = [
    _set_value,
    _set_value,
    _set_value,
    _add_key,
    _add_key,
    _insert,
    _insert,
    _delete,
    _repeat,
    _large,
    lambda rng, text: rng.choice(HEADS) + text,
    lambda rng, text: text + rng.choice(TAILS),
    lambda rng, text: text.replace("\n", rng.choice(["\r", "\r\n", "\n\n", "\u2028"])),
    lambda rng, text: text.swapcase() if rng.random() < 0.2 else text.replace("kind", "Kind", 1),
]


def _mutate_bytes(rng: random.Random, data: bytes) -> bytes:
    place = rng.randrange(len(data) + 1)
    return (
        data[:place]
        + bytes(rng.randrange(256) for _ in range(rng.choice([1, 2, 4])))
        + data[place:]
    )


def _safe_load(data: bytes) -> Any:
    """PyYAML's reading; its two parsers differ in whether a tab may stand after a value."""
    text = data.decode("utf-8-sig")
    try:
        return yaml.safe_load(text)
    except yaml.scanner.ScannerError as error:
        if "\\t" not in str(error):
            raise
        return yaml.load(text, yaml.CSafeLoader)


def must_be(data: bytes) -> str:
    """Return "refused", "accepted", or "unknown"."""
    if data in [GOOD.encode(), *(text.encode() for text in shipped())]:
        return "accepted"
    if data.count(b"[") + data.count(b"{") > 500:
        return "unknown"  # PyYAML's own parser takes long for these
    try:
        plain = _safe_load(data)
    except Exception:  # what PyYAML cannot read, Credo must not either
        return "refused"
    try:
        broken = not isinstance(plain, dict) or next(validator().iter_errors(plain), None)
    except Exception:  # keys of other types than text
        return "refused"
    return "refused" if broken else "unknown"


def find_fault(data: bytes, folder: Path) -> str:
    """Return what is wrong with how a constitution is read; "" if nothing is."""
    path = folder / "mine.yaml"
    path.write_bytes(data)
    started = time.monotonic()
    try:
        constitution = load(path)
    except UserError as error:
        faults = getattr(error, "errors", [error])
        if not all(fault.where and fault.fix and "mine.yaml" in fault.where for fault in faults):
            return f"an error without place or fix: {error}"
        if len(str(error)) > 50_000:
            return "an error of more than 50,000 characters"
        constitution = None
    except Exception as error:
        return f"a traceback: {type(error).__name__}: {error}"
    if time.monotonic() - started > SLOWEST:
        return f"{time.monotonic() - started:.0f} seconds"
    if constitution is None:
        return "refused, though it is sound" if must_be(data) == "accepted" else ""
    if len(data) > 100_000:
        return ""  # the oracle itself would take long
    if must_be(data) == "refused":
        return "accepted, though the schema or safe_load refuse it"
    return _difference(constitution, _safe_load(data))


def _difference(constitution: Constitution, plain: Any) -> str:
    read = constitution.model_dump(mode="json", exclude_unset=True)
    same = json.dumps(_stripped(read), sort_keys=True) == json.dumps(
        _stripped(plain), sort_keys=True
    )
    return "" if same else "accepted with other values than safe_load gives"


def _stripped(value: Any) -> Any:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, dict):
        return {_stripped(key): _stripped(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_stripped(inner) for inner in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
