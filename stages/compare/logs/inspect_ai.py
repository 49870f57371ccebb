"""Logs of inspect_ai: `.eval` (a zip of JSON files), or its JSON form.

In: a file. Out: one log, with a metric for each score. Letters count as inspect counts them: C is
1, P one half, I and N are 0. An item is a sample; the scores of its epochs are averaged.
"""

import io
import zipfile
from collections.abc import (
    Iterator,
    Mapping,
)
from pathlib import Path
from typing import Any

from stages.compare.logs.log import (
    Log,
    require,
)
from stages.guards.errors import UserError
from stages.guards.files import (
    MOST_BYTES,
    parse_json,
    read_bytes,
    read_json,
)

TOOL = "inspect"
LETTERS = {
    "C": 1.0,
    "P": 0.5,
    "I": 0.0,
    "N": 0.0,
}
WORDS = {
    "yes": 1.0,
    "true": 1.0,
    "no": 0.0,
    "false": 0.0,
}
HEADS = ("header.json", "results.json")
"""Members of a `.eval` with the results; the second is that of the first versions."""
OWN_NUMBERS = ("accuracy", "mean")
"""Of the metrics of a score, those that are the mean of its values."""


def is_inspect_json(value: Any) -> bool:
    """Whether the content of a JSON file is a log of inspect."""
    return isinstance(value, Mapping) and {"eval", "samples"} <= value.keys()


def read_inspect(
    path: Path,
    name: str,
) -> Log:
    """Read a log of either form.

    Raises:
        UserError: it is damaged, was not finished, or holds no score.
    """
    if path.suffix == ".json":
        value = read_json(path)
        return _read(path, name, value, value.get("samples") or [])
    try:
        archive = zipfile.ZipFile(io.BytesIO(read_bytes(path)))
        size = sum(member.file_size for member in archive.infolist())
        if size > MOST_BYTES:
            raise _damaged(path, f"it holds {size:,} bytes, more than {MOST_BYTES:,}")
        heads = [name for name in HEADS if name in archive.namelist()]
        if not heads:
            raise _damaged(path, f"{HEADS[0]} is missing: the evaluation did not end")
        header = parse_json(archive.read(heads[0]).decode("utf-8"), f"{path}: {heads[0]}")
        return _read(path, name, header, _samples(archive, path))
    except NotImplementedError:
        raise UserError(
            "the log is compressed in a way that Python cannot read",
            where=str(path),
            fix="run `inspect log convert --to json --output-dir logs-as-json FILE`, "
            "and give its result",
        ) from None
    except (zipfile.BadZipFile, UnicodeDecodeError, EOFError, OSError) as error:
        raise _damaged(path, str(error)) from None


def _damaged(
    path: Path,
    why: str,
) -> UserError:
    return UserError(
        f"the log of inspect cannot be read: {why}",
        where=str(path),
        fix="give a .eval file that inspect itself opens",
    )


def _samples(
    archive: zipfile.ZipFile,
    path: Path,
) -> Iterator[Any]:
    for member in archive.namelist():
        if member.startswith("samples/") and member.endswith(".json"):
            yield parse_json(archive.read(member).decode("utf-8"), f"{path}: {member}")


def _read(
    path: Path,
    name: str,
    header: Any,
    samples: Any,
) -> Log:
    log = Log(name, TOOL, path)
    unscored = 0
    for sample in samples:
        scores = sample.get("scores") or {}
        unscored += not scores
        values: dict[str, float | None] = {}
        for scorer, score in scores.items():
            value = score.get("value") if isinstance(score, Mapping) else score
            if isinstance(value, Mapping):
                values |= {str(key): as_number(part) for key, part in value.items()}
            else:
                values[scorer] = as_number(value)
        log.add(str(sample.get("id")), sample.get("input"), _answer(sample), values)
    if unscored:
        log.notes.append(f"{unscored} samples have no score, so they are left out")
    if header.get("status") not in (None, "success"):
        log.notes.append(f"the evaluation ended as {header['status']!r}")
    for score in (header.get("results") or {}).get("scores") or []:
        for key in OWN_NUMBERS:
            number = (score.get("metrics") or {}).get(key)
            if number:
                log.reported.setdefault(score["name"], float(number["value"]))
    return require(log)


def as_number(value: Any) -> float | None:
    """The number of a score: inspect's letters, yes and no, numbers also as text."""
    if isinstance(value, int | float):
        return float(value)
    if not isinstance(value, str):
        return None
    if value in LETTERS:
        return LETTERS[value]
    if value.lower() in WORDS:
        return WORDS[value.lower()]
    try:
        return float(value)
    except ValueError:
        return None


def _answer(sample: Mapping[str, Any]) -> Any:
    output = sample.get("output") or {}
    if output.get("completion"):
        return output["completion"]
    choices = output.get("choices") or [{}]
    return (choices[0].get("message") or {}).get("content", "")
