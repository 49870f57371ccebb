"""Reading prompts: jsonl, json, csv, tsv and parquet files, plain or gzipped, Hub datasets, hh-rlhf transcripts."""

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stages.runtime.errors import UserError, did_you_mean
from stages.runtime.rows import Message

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
_TURN = re.compile(r"(?:^|\n\n)(Human|Assistant): ?")
_ROLES = {"Human": "user", "Assistant": "assistant"}

Record = tuple[str, Any]  # (where it stands, its value)


def read_file(path: Path, column: str) -> Iterator[Record]:
    """Yield (`file:line`, value of `column`) for every record.

    Raises:
        UserError: a broken line, a record that is no object, a missing column, an unknown kind of file.
    """
    kind = next((s for s in reversed(path.suffixes) if s != ".gz"), "")
    if kind not in SUFFIXES:
        raise UserError(
            f"prompts cannot be read from a {kind or 'suffixless'} file",
            where=str(path),
            mend=f"give {', '.join(SUFFIXES)}, plain or .gz",
        )
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        records = _parquet(data) if kind == ".parquet" else _text_records(data.decode("utf-8-sig"), kind, path)
        for number, record in records:
            yield f"{path}:{number}", _pick(record, column, f"{path}:{number}")
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8 text (byte {error.start})", where=str(path), mend="save the file as UTF-8") from None
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise UserError(
            f"the file cannot be read: {error}", where=str(path), mend="check that it is whole and readable"
        ) from None


def _parquet(data: bytes) -> Iterator[tuple[int, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        yield from enumerate(pq.read_table(io.BytesIO(data)).to_pylist(), start=1)
    except pa.ArrowInvalid as error:
        raise OSError(str(error)) from None


def _text_records(text: str, kind: str, path: Path) -> Iterator[tuple[int, Any]]:
    if kind in (".csv", ".tsv"):
        csv.field_size_limit(2**31 - 1)  # a transcript may have more than the module's 128 KB
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t" if kind == ".tsv" else ",")
        for record in reader:
            yield reader.line_num, record
    elif kind == ".json":
        yield from enumerate(_parse(text, f"{path}", list), start=1)
    else:
        for number, line in enumerate(text.split("\n"), start=1):  # JSON texts may hold U+2028, at which splitlines() cuts
            if line.strip():
                yield number, _parse(line, f"{path}:{number}", (dict, str))


def _parse(text: str, where: str, wanted: Any) -> Any:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        line = f", line {error.lineno}" if "\n" in text else ""
        raise UserError(
            f"broken JSON: {error.msg} (column {error.colno}{line})", where=where, mend="mend or delete the line"
        ) from None
    except (RecursionError, ValueError) as error:  # ValueError: a number of more than 4300 digits
        what = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise UserError(f"JSON that cannot be read: {what}", where=where, mend="mend or delete the line") from None
    if not isinstance(value, wanted):
        raise UserError(
            f"a {type(value).__name__} where {'a list of records' if wanted is list else 'an object'} is expected",
            where=where,
            mend="give one JSON object a line (.jsonl) or one list of objects (.json)",
        )
    return value


def _pick(record: Any, column: str, where: str) -> Any:
    if isinstance(record, str):
        return record
    if not isinstance(record, dict) or column not in record:
        known = [str(k) for k in record] if isinstance(record, dict) else []
        raise UserError(
            f"there is no column {column!r}.{did_you_mean(column, known)}",
            where=where,
            mend=f"set `column` to one of {', '.join(known) or '(none found)'}",
        )
    return "" if record[column] is None else record[column]  # an empty cell: dropped and counted as an empty prompt


def read_hub(name: str, subset: str | None, folder: str | None, split: str, column: str) -> Iterator[Record]:
    """Yield records of a Hub dataset (`owner/name`), through the `datasets` library.

    Raises:
        UserError: it cannot be loaded, or lacks the column.
    """
    from datasets import load_dataset

    try:
        dataset = load_dataset(name, subset, data_dir=folder, split=split)
    except Exception as error:  # the library raises a dozen types; each means the same to a user
        raise UserError(
            f"the dataset cannot be loaded: {str(error).splitlines()[0]}",
            where=name,
            mend="check the name, the split and the network, or give a local file",
        ) from None
    for number, record in enumerate(dataset):
        yield f"{name}[{number}]", _pick(record, column, f"{name}[{number}]")


def conversations(value: Any, turns: str, where: str) -> list[list[Message]]:
    """Turn a column's value into conversations that end with the user's turn.

    A list is taken as messages, a text with hh-rlhf's Human/Assistant marks is split at them (only where a mark
    starts a paragraph, so `: ` inside a text cuts nothing), any other text is one user turn.

    Args:
        turns: "last" keeps the conversation up to its last user turn, "first" only the first user turn, "each"
            gives one prompt per user turn (Bai et al. 2022b, section 3).

    Raises:
        UserError: the value is neither text nor messages, or no user ever speaks.
    """
    if isinstance(value, list):
        if not all(
            isinstance(m, dict) and isinstance(m.get("content"), str) and m.get("role") in ("system", "user", "assistant")
            for m in value
        ):
            raise UserError(
                "the messages lack `role` or `content`", where=where, mend='give [{"role": "user", "content": "..."}]'
            )
        messages = [{"role": m["role"], "content": m["content"]} for m in value]
    elif not isinstance(value, str):
        raise UserError(
            f"a {type(value).__name__} where text or messages are expected", where=where, mend="choose another `column`"
        )
    elif _TURN.match(value):
        pieces = _TURN.split(value)[1:]
        messages = [{"role": _ROLES[who], "content": said.strip()} for who, said in zip(pieces[::2], pieces[1::2], strict=True)]
    else:
        messages = [{"role": "user", "content": value.strip()}]
    ends = [i for i, m in enumerate(messages) if m["role"] == "user" and m["content"]]
    if not ends:
        return []
    chosen = {"first": ends[:1], "last": ends[-1:], "each": ends}[turns]
    return [messages[: end + 1] for end in chosen]
