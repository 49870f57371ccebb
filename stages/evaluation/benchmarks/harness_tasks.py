"""Tasks of lm-evaluation-harness: given by name or by file, and identified by their content.

A task is one that ships with lm_eval (`crows_pairs_english`, a group such as `mmlu`) or a YAML
file. Its data come from the Hub, as the task specifies, or from files: {task: [file, ...]}.
`harness_loading.py` loads both.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from stages.evaluation.benchmarks.harness_code import MOST_BYTES, own_files, tasks_folder
from stages.guards.errors import UserError, refuse_unknown
from stages.guards.files import read_text
from stages.sources.records import file_hash

TASK_FILES = (".yaml", ".yml")
FORMATS = {".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet"}
"""The library `datasets`' names for kinds of files."""


def harness_version() -> str:
    """The version of lm_eval.

    Raises:
        UserError: it is not installed.
    """
    try:
        return version("lm_eval")
    except PackageNotFoundError:
        raise UserError(
            "lm-evaluation-harness is not installed",
            where="stage 'harness'",
            fix="pip install lm_eval==0.4.13, or see requirements/",
        ) from None


def tasks_identity(tasks: Sequence[str], data: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """What identifies the tasks and their data.

    The version of lm_eval identifies the tasks that ship with it. A task file is identified by its
    content and that of the files beside it.

    Raises:
        UserError: a task, a file of data or lm_eval is missing. The plan reports it.
    """
    facts: dict[str, Any] = {
        "lm_eval": harness_version(),
        "data": {name: [file_hash(f) for f in files] for name, files in data.items()},
    }
    names = sorted({task_name(task) for task in tasks})
    for name, files in data.items():
        refuse_unknown([name], names, "data are given for the unknown task", ", ".join(files))
        data_format(files)
    for task in tasks:
        if is_task_file(task):
            facts[f"task {Path(task).stem}"] = _file_content(Path(task).expanduser())
        elif not _is_named_in_lm_eval(task):
            raise UserError(
                f"lm_eval has no task {task!r}",
                where="tasks",
                fix="see `lm_eval ls tasks`, or give a YAML file's path",
            )
    return facts


def is_task_file(task: str) -> bool:
    """Whether a task is given by the path of a YAML file.

    Raises:
        UserError: there is no such file.
    """
    if Path(task).suffix not in TASK_FILES:
        return False
    if not Path(task).expanduser().is_file():
        raise UserError(
            "there is no such task file",
            where=task,
            fix="give the path of a YAML file, or the name of one of lm_eval's tasks",
        )
    return True


def task_name(task: str) -> str:
    """The name that lm_eval has for the task: in a file the value of `task:` or `group:`."""
    if not is_task_file(task):
        return task
    text = read_task_file(task)
    match = re.search(r"^(?:task|group):\s*[\"']?([\w.:-]+)", text, re.MULTILINE)
    if not match:
        raise UserError("the file names no task", where=task, fix="write `task: <a name>` into it")
    return match[1]


def read_task_file(task: str) -> str:
    """The text of a task file."""
    return read_text(task, most=MOST_BYTES)


def data_format(files: Sequence[str]) -> str:
    """The file ending that all files of data share, without .gz.

    Raises:
        UserError: they cannot be read together.
    """
    endings = [Path(file.removesuffix(".gz")).suffix for file in files]
    if not endings or len(set(endings)) > 1 or endings[0] not in FORMATS:
        raise UserError(
            f"data cannot be read from {' and '.join(endings) or 'no'} files",
            where=", ".join(files),
            fix=f"give files of one kind: {', '.join(FORMATS)}, plain or .gz",
        )
    return endings[0]


def _file_content(path: Path) -> dict[str, str]:
    """The hashes of a task file and of what it can include.

    These are the YAML and Python files beside it, and data files that it names.
    """
    beside = [
        p
        for p in sorted(path.parent.iterdir())
        if p.suffix in (".yaml", ".yml", ".py") and p != path and p.is_file()
    ]
    content = {"file": file_hash(str(path))} | {p.name: file_hash(str(p)) for p in beside}
    for included, _ in own_files(path):
        if included.resolve().parent != path.resolve().parent:
            content[f"included {included.name}"] = file_hash(str(included))
    for word in re.findall(r"[^\s\"'\[\]{},]+", read_task_file(str(path))):
        if Path(word.removesuffix(".gz")).suffix in FORMATS and Path(word).is_file():
            content[word] = file_hash(word)
    return content


@lru_cache(maxsize=64)
def _is_named_in_lm_eval(task: str) -> bool:
    """Whether any of lm_eval's files contains this name.

    This search takes one second; lm_eval's own index takes ten.
    """
    word = re.compile(rb"(?<![\w-])" + re.escape(task.encode()) + rb"(?![\w-])")
    return any(word.search(path.read_bytes()) for path in tasks_folder().rglob("*.yaml"))
