"""Logs of inspect_ai: `.eval` (a zip of JSON files), or its JSON form.

In: a file, or a folder of them. Out: one log, with a metric for each task and score; of a folder
one for each model. Letters count as inspect counts them: C is 1, P one half, I and N are 0. An item
is a sample. Its value is the one that inspect averages: that of its epochs after the reducer, which
the name of the metric states if it is not the mean. A log without such values (an evaluation that
broke off) gives the scores of its epochs, averaged.

Since 2026 inspect packs the members of a `.eval` with zstd, which Python's `zipfile` finds but does
not unpack.
"""

import io
import re
import struct
import zipfile
from collections.abc import (
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.compare.logs.log import (
    Log,
    is_number,
    require,
)
from stages.guards.decoding import decompress
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
REDUCTIONS = "reductions.json"
"""The member with the value of each sample after the reducer."""
OWN_NUMBERS = ("accuracy", "mean")
"""Of the metrics of a score, those that are the mean of its values."""
MEAN = "mean"
"""The reducer that a metric's name leaves out."""
MEASURED_BY = ("task_version", "task_args")
"""What two logs must share to be comparable."""
JSON_LOG = re.compile(r"\d{4}-\d\d-\d\dT[^_]+_.+\.json")
"""The name of a log: its date, its task and an id."""
NOT_ENDED = "the evaluation did not end"
UNREADABLE = (
    zipfile.BadZipFile,
    UnicodeDecodeError,
    EOFError,
    OSError,
    struct.error,
    NotImplementedError,
)
ATTACHMENT = "attachment://"
"""How a sample refers to a long text, by the name that it has among the sample's attachments."""
ZSTD = 93
"""Of the methods of a zip archive, by its specification."""
LOCAL_HEADER = struct.Struct("<26xHH")
"""Of a member: 26 bytes that the directory repeats, the lengths of its name and its extra field."""


def is_inspect_json(value: Any) -> bool:
    """Whether the content of a JSON file is a log of inspect."""
    return isinstance(value, Mapping) and {"eval", "samples"} <= value.keys()


def log_files(folder: Path) -> list[Path]:
    """The logs of a folder: `.eval`, and JSON under the names that inspect gives."""
    files = list(folder.glob("*.eval"))
    return files + [path for path in folder.glob("*.json") if JSON_LOG.fullmatch(path.name)]


@dataclass(frozen=True)
class _File:
    """The parts of a log; its samples are read only when they are asked for."""

    path: Path
    header: Any
    samples: Iterable[Any]
    reduced: Any

    @property
    def task(self) -> str:
        return str((self.header.get("eval") or {}).get("task", "")).rpartition("/")[2]

    @property
    def model(self) -> str:
        return str((self.header.get("eval") or {}).get("model", ""))

    @property
    def ended_well(self) -> bool:
        return self.header.get("status") in (None, "success")


def read_inspect(
    path: Path,
    name: str,
) -> Log:
    """Read a log of either form.

    Raises:
        UserError: it is damaged, was not finished, or holds no score.
    """
    log = Log(name, TOOL, path)
    _add(log, _open(path))
    return require(log)


def read_inspect_folder(
    paths: Sequence[Path],
    name: str,
    folder: Path,
) -> list[Log]:
    """Read the newest log of each model and task; a model's tasks are one log.

    A log that broke off is read only if there is no other one of its model and task.

    Raises:
        UserError: a log is damaged, or none holds a score.
    """
    files = []
    unfinished = 0
    for path in sorted(paths):
        try:
            files.append(_open(path))
        except UserError as error:
            if NOT_ENDED not in str(error):
                raise
            unfinished += 1
    newest: dict[tuple[str, str], _File] = {}
    for file in sorted(files, key=lambda file: file.ended_well):
        newest[file.model, file.task] = file
    logs: dict[str, Log] = {}
    for file in newest.values():
        log = logs.setdefault(file.model, Log(name, TOOL, folder))
        _add(log, file)
    for model, log in logs.items():
        older = sum(file.model == model for file in files)
        older -= sum(file.model == model for file in newest.values())
        if older:
            log.notes.append(f"{older} other logs of the same tasks are left out")
        if unfinished:
            log.notes.append(f"{unfinished} logs of the folder did not end, and are left out")
        if len(logs) > 1:
            log.name = f"{name} {model}".strip()
    scored = [log for log in logs.values() if log.scores]
    return scored or [require(Log(name, TOOL, folder))]


def _open(path: Path) -> _File:
    if path.suffix == ".json":
        value = read_json(path)
        samples = value.get("samples") or []
        return _File(path, value, samples, value.get("reductions") or [])
    try:
        content = read_bytes(path)
        archive = zipfile.ZipFile(io.BytesIO(content))
        size = sum(member.file_size for member in archive.infolist())
        if size > MOST_BYTES:
            raise _damaged(path, f"it holds {size:,} bytes, more than {MOST_BYTES:,}")
        members = archive.namelist()
        heads = [name for name in HEADS if name in members]
        if not heads:
            raise _damaged(path, f"{HEADS[0]} is missing: {NOT_ENDED}")
        header = _member(archive, content, heads[0], path)
        reduced = []
        if REDUCTIONS in members:
            reduced = _member(archive, content, REDUCTIONS, path)
        return _File(path, header, _samples(archive, content, path), reduced)
    except UNREADABLE as error:
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


def _member(
    archive: zipfile.ZipFile,
    content: bytes,
    member: str,
    path: Path,
) -> Any:
    """The JSON of a member."""
    where = f"{path}: {member}"
    facts = archive.getinfo(member)
    if facts.compress_type != ZSTD:
        return parse_json(archive.read(member).decode("utf-8"), where)
    start = facts.header_offset
    lengths = LOCAL_HEADER.unpack_from(content, start)
    start += LOCAL_HEADER.size + sum(lengths)
    packed = content[start : start + facts.compress_size]
    return parse_json(decompress(packed, where).decode("utf-8"), where)


def _samples(
    archive: zipfile.ZipFile,
    content: bytes,
    path: Path,
) -> Iterator[Any]:
    try:
        for member in archive.namelist():
            if member.startswith("samples/") and member.endswith(".json"):
                yield _member(archive, content, member, path)
    except UNREADABLE as error:
        raise _damaged(path, str(error)) from None


def _add(
    log: Log,
    file: _File,
) -> None:
    """Add a task: its texts, the values that inspect averages, and the numbers that it reports."""
    facts = file.header.get("eval") or {}
    of_epochs: list[tuple[str, dict[str, float | None]]] = []
    unscored = 0
    for sample in file.samples:
        item = _join(file.task, "/", sample.get("id"))
        values: dict[str, float | None] = {}
        for scorer, score in (sample.get("scores") or {}).items():
            values |= _values(scorer, score)
        unscored += not any(is_number(value) for value in values.values())
        of_epochs.append((item, values))
        log.add(item, _attached(sample, sample.get("input")), _answer(sample), {})
    for item, values in [] if file.reduced else of_epochs:
        log.add(item, "", "", {_join(file.task, " ", name): values[name] for name in values})
    for reduction in file.reduced:
        for score in reduction["samples"]:
            values = {}
            for metric, value in _values(reduction["scorer"], score).items():
                values[_metric_name(file.task, metric, reduction.get("reducer"))] = value
            log.add(_join(file.task, "/", score["sample_id"]), "", "", values)
    what = f"{file.task}: " if file.task else ""
    if unscored:
        log.notes.append(f"{what}{unscored} answers have no score, so they are left out")
    if not file.ended_well:
        log.notes.append(f"{what}the evaluation ended as {file.header['status']!r}")
    for key in MEASURED_BY:
        if key in facts:
            log.measured_by[f"{key.replace('_', ' ')} of {file.task}"] = str(facts[key])
    for score in (file.header.get("results") or {}).get("scores") or []:
        for key in OWN_NUMBERS:
            number = (score.get("metrics") or {}).get(key)
            if number:
                metric = _metric_name(file.task, score["name"], score.get("reducer"))
                log.reported.setdefault(metric, float(number["value"]))


def _values(scorer: str, score: Any) -> dict[str, float | None]:
    """The numbers of a score: one under the scorer's name, or those of a mapping."""
    value = score.get("value") if isinstance(score, Mapping) else score
    if isinstance(value, Mapping):
        return {str(key): as_number(part) for key, part in value.items()}
    return {scorer: as_number(value)}


def _metric_name(task: str, metric: str, reducer: str | None) -> str:
    name = metric if reducer in (None, MEAN) else f"{metric} ({reducer})"
    return _join(task, " ", name)


def _join(task: str, mark: str, name: Any) -> str:
    """What a task's name begins, so that two tasks of a log are apart."""
    return f"{task}{mark}{name}" if task else str(name)


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
        return _attached(sample, output["completion"])
    choices = output.get("choices") or [{}]
    return _attached(sample, (choices[0].get("message") or {}).get("content", ""))


def _attached(sample: Mapping[str, Any], text: Any) -> Any:
    """A text, where the sample keeps it apart from the place that it belongs to."""
    if isinstance(text, str) and text.startswith(ATTACHMENT):
        return (sample.get("attachments") or {}).get(text.removeprefix(ATTACHMENT), text)
    return text
