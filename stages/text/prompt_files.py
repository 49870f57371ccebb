"""Reading prompts and pairs: jsonl, json, csv, tsv and parquet files, plain or .gz, Hub datasets,
hh-rlhf transcripts.
"""

import csv
import gzip
import hashlib
import io
import json
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stages.runtime.artifacts import canonical
from stages.runtime.errors import UserError, did_you_mean
from stages.runtime.rows import Message

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
_TURN = re.compile(r"(?:^|\n\n)(Human|Assistant): ?")
_ROLES = {"Human": "user", "Assistant": "assistant"}

Record = tuple[Any, ...]  # where it stands, and the values of the columns asked for


def source_identity(source: str, others: str = "") -> dict[str, Any]:
    """A file is known by its content, a Hub dataset by its name alone.

    Raises:
        UserError: the source is neither; `others` tells what else it may be.
    """
    path = Path(os.path.expanduser(source))
    if os.path.isfile(path):  # false, too, for what can be no path
        return {"source": content_hash(source)}
    if source.count("/") == 1 and not path.suffix and not path.is_absolute():
        return {}
    raise UserError(
        "no such file",
        where=source,
        fix=f"give a file ({', '.join(SUFFIXES)}; also .gz), a Hub id owner/name{others}",
    )


def content_hash(source: str) -> str:
    """First 16 hex digits of the SHA-256 of a file's bytes.

    Raises:
        UserError: there is no such file.
    """
    try:
        return hashlib.sha256(Path(os.path.expanduser(source)).read_bytes()).hexdigest()[:16]
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"the file cannot be read: {reason}", where=source, fix="give the path of a file"
        ) from None


def read_source(
    source: str, subset: str | None, folder: str | None, split: str, *columns: str
) -> Iterator[Record]:
    """Yield (where, value, ...) for every record of a file or a Hub dataset, one value for each of
    `columns`.

    Raises:
        UserError: as `read_file` and `read_hub`.
    """
    path = Path(os.path.expanduser(source))
    if os.path.isfile(path):
        return read_file(path, *columns)
    return read_hub(source, subset, folder, split, *columns)


def without_folder(where: str, source: str) -> str:
    """`where` for a row: rows do not depend on where their file lies."""
    return where.removeprefix(f"{Path(os.path.expanduser(source)).parent}/")


def read_file(path: Path, *columns: str) -> Iterator[Record]:
    """Yield (`file:line`, value, ...) for every record, one value for each of `columns`.

    Raises:
        UserError: a broken line, a record that is no object, a missing column, an unknown kind of
        file.
    """
    kind = next((s for s in reversed(path.suffixes) if s != ".gz"), "")
    if kind not in SUFFIXES:
        raise UserError(
            f"records cannot be read from a {kind or 'suffixless'} file",
            where=str(path),
            fix=f"give {', '.join(SUFFIXES)}, plain or .gz",
        )
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        records = (
            _parquet(data)
            if kind == ".parquet"
            else _text_records(data.decode("utf-8-sig"), kind, path)
        )
        for number, record in records:
            yield f"{path}:{number}", *_pick(record, columns, f"{path}:{number}")
    except UnicodeDecodeError as error:
        raise UserError(
            f"not UTF-8 text (byte {error.start})", where=str(path), fix="save the file as UTF-8"
        ) from None
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise UserError(
            f"the file cannot be read: {error}",
            where=str(path),
            fix="check that it is whole and readable",
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
        reader = csv.DictReader(
            io.StringIO(text, newline=""), delimiter="\t" if kind == ".tsv" else ","
        )
        for record in reader:
            yield reader.line_num, record
    elif kind == ".json":
        yield from enumerate(_parse(text, f"{path}", list), start=1)
    else:
        for number, line in enumerate(
            text.split("\n"), start=1
        ):  # JSON texts may hold U+2028, at which splitlines() cuts
            if line.strip():
                yield number, _parse(line, f"{path}:{number}", (dict, str))


def _parse(text: str, where: str, wanted: Any) -> Any:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        line = f", line {error.lineno}" if "\n" in text else ""
        raise UserError(
            f"broken JSON: {error.msg} (column {error.colno}{line})",
            where=where,
            fix="fix or delete the line",
        ) from None
    except (RecursionError, ValueError) as error:  # ValueError: a number of more than 4300 digits
        what = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise UserError(
            f"JSON that cannot be read: {what}", where=where, fix="fix or delete the line"
        ) from None
    if not isinstance(value, wanted):
        raise UserError(
            f"a {type(value).__name__} where {'a list of records' if wanted is list else 'an object'} is expected",
            where=where,
            fix="give one JSON object a line (.jsonl) or one list of objects (.json)",
        )
    return value


def _pick(record: Any, columns: tuple[str, ...], where: str) -> tuple[Any, ...]:
    if isinstance(record, str) and len(columns) == 1:
        return (record,)
    known = [str(k) for k in record] if isinstance(record, dict) else []
    for column in columns:
        if not isinstance(record, dict) or column not in record:
            raise UserError(
                f"there is no column {column!r}.{did_you_mean(column, known)}",
                where=where,
                fix=f"name one of {', '.join(known) or '(none found)'} in the step's options",
            )
    # an empty cell: dropped and counted as an empty prompt
    return tuple("" if record[column] is None else record[column] for column in columns)


def read_hub(
    name: str, subset: str | None, folder: str | None, split: str, *columns: str
) -> Iterator[Record]:
    """Yield records of a Hub dataset (`owner/name`), through the `datasets` library.

    Raises:
        UserError: it cannot be loaded, or lacks a column.
    """
    from datasets import load_dataset

    try:
        dataset = load_dataset(name, subset, data_dir=folder, split=split)
    except Exception as error:  # the library raises a dozen types; each means the same to a user
        raise UserError(
            f"the dataset cannot be loaded: {str(error).splitlines()[0]}",
            where=name,
            fix="check the name, the split and the network, or give a local file",
        ) from None
    for number, record in enumerate(dataset):
        yield f"{name}[{number}]", *_pick(record, columns, f"{name}[{number}]")


def conversations(value: Any, turns: str, where: str) -> list[list[Message]]:
    """Turn a column's value into conversations that end with the user's turn; none where no user
    ever speaks.

    Args:
        turns: "last" keeps the conversation up to its last user turn, "first" only the first user
            turn, "each" gives one prompt per user turn (Bai et al. 2022b, section 3).

    Raises:
        UserError: the value is neither text nor messages.
    """
    messages = read_messages(value, where)
    ends = [i for i, m in enumerate(messages) if m["role"] == "user" and m["content"]]
    if not ends:
        return []
    chosen = {"first": ends[:1], "last": ends[-1:], "each": ends}[turns]
    return [messages[: end + 1] for end in chosen]


def read_messages(value: Any, where: str) -> list[Message]:
    """Turn a column's value into messages.

    A list is taken as messages, a text with hh-rlhf's Human/Assistant marks is split at them (only
    where a mark
    starts a paragraph, so `: ` inside a text cuts nothing), any other text is one user turn.

    Raises:
        UserError: the value is neither text nor messages.
    """
    if isinstance(value, list):
        if not all(
            isinstance(m, dict)
            and isinstance(m.get("content"), str)
            and m.get("role") in ("system", "user", "assistant")
            for m in value
        ):
            raise UserError(
                "the messages lack `role` or `content`",
                where=where,
                fix='give [{"role": "user", "content": "..."}]',
            )
        return [{"role": m["role"], "content": m["content"]} for m in value]
    if not isinstance(value, str):
        raise UserError(
            f"a {type(value).__name__} where text or messages are expected",
            where=where,
            fix="choose another column",
        )
    if _TURN.match(value):
        pieces = _TURN.split(value)[1:]
        return [
            {"role": _ROLES[who], "content": said.strip()}
            for who, said in zip(pieces[::2], pieces[1::2], strict=True)
        ]
    return [{"role": "user", "content": value.strip()}]


def content_id(value: Any, where: str) -> str:
    """First 12 hex digits of the SHA-256 of plain data; of a prompt's messages it is the prompt's
    id.

    Raises:
        UserError: a text that no file can hold.
    """
    try:
        return hashlib.sha256(canonical(value).encode()).hexdigest()[:12]
    except UnicodeEncodeError as error:
        lone = ascii(error.object[error.start])
        raise UserError(
            f"the text holds {lone}, half a character", where=where, fix="fix or delete the record"
        ) from None
