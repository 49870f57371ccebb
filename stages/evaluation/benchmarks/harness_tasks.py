"""Tasks of lm-evaluation-harness: found by name or by file, read from a user's own data, known by
their content.

A task is one that ships with lm_eval (`crows_pairs_english`, a group such as `mmlu`) or a YAML
file. Its data come from the
Hub, as the task says, or from files: {task: [file, ...]}. They take the place of the split that is
evaluated; few-shot examples are then drawn from them, too, never a question for itself.

Metrics that lm_eval would fetch as code through the library `evaluate` are refused: a model hub is
no place to run code from.
"""

import importlib.util
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from stages.runtime.errors import UserError, did_you_mean
from stages.text.records import file_hash

FORMATS = {".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet"}


def harness_version() -> str:
    """Raises:
    UserError: lm_eval is not installed.
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
    """The version stands for the tasks that ship with it; files by their content, and by that of
    what lies beside them.

    Raises:
        UserError: a task, a file of data or lm_eval is missing; so the plan tells it.
    """
    found: dict[str, Any] = {
        "lm_eval": harness_version(),
        "data": {name: [file_hash(f) for f in files] for name, files in data.items()},
    }
    names = {_task_name(task) for task in tasks}
    for name, files in data.items():
        if name not in names:
            hint = did_you_mean(name, sorted(names))
            fix = f"name one of the step's tasks: {', '.join(sorted(names))}"
            raise UserError(
                f"data are given for {name!r}, which is no task here.{hint}",
                where=", ".join(files),
                fix=fix,
            )
        _format(files)
    for task in tasks:
        if _is_file(task):
            found[f"task {name_of(task)}"] = _file_content(Path(task).expanduser())
        elif not _named_somewhere(task):
            raise UserError(
                f"lm_eval has no task {task!r}",
                where="tasks",
                fix="see `lm_eval ls tasks`, or give a YAML file's path",
            )
    return found


def name_of(task: str) -> str:
    return Path(task).stem if _is_file(task) else task


def _is_file(task: str) -> bool:
    if Path(task).suffix not in (".yaml", ".yml"):
        return False
    if not Path(task).expanduser().is_file():
        raise UserError(
            "no such task file",
            where=task,
            fix="give the path of a YAML file, or the name of one of lm_eval's tasks",
        )
    return True


def _task_name(task: str) -> str:
    """The name that lm_eval knows the task by: in a file the value of `task:` or `group:`."""
    if not _is_file(task):
        return task
    found = re.search(r"^(?:task|group):\s*[\"']?([\w.:-]+)", _text(task), re.MULTILINE)
    if not found:
        raise UserError("the file names no task", where=task, fix="write `task: <a name>` into it")
    return found[1]


def _text(task: str) -> str:
    try:
        return Path(task).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"the task file cannot be read: {error}", where=task, fix="save it as UTF-8"
        ) from None


def _file_content(path: Path) -> dict[str, str]:
    """The file, and the YAML and Python files beside it, which it may include; data files that it
    names.
    """
    beside = [
        p
        for p in sorted(path.parent.iterdir())
        if p.suffix in (".yaml", ".yml", ".py") and p != path
    ]
    content = {"file": file_hash(str(path))} | {p.name: file_hash(str(p)) for p in beside}
    for word in re.findall(r"[^\s\"'\[\]{},]+", path.read_text(encoding="utf-8")):
        if Path(word.removesuffix(".gz")).suffix in FORMATS and Path(word).is_file():
            content[word] = file_hash(word)
    return content


@lru_cache(maxsize=64)
def _named_somewhere(task: str) -> bool:
    """Whether any of lm_eval's files says this name: a second's search where its own index takes
    ten.
    """
    found = importlib.util.find_spec("lm_eval")
    root = Path(found.origin or "").parent / "tasks" if found else Path()
    word = re.compile(rb"(?<![\w-])" + re.escape(task.encode()) + rb"(?![\w-])")
    return any(word.search(path.read_bytes()) for path in root.rglob("*.yaml"))


def _format(files: Sequence[str]) -> str:
    kinds = [Path(file.removesuffix(".gz")).suffix for file in files]
    if not kinds or len(set(kinds)) > 1 or kinds[0] not in FORMATS:
        fix = f"give files of one kind: {', '.join(FORMATS)}, plain or .gz"
        raise UserError(
            f"data cannot be read from {' and '.join(kinds) or 'no'} files",
            where=", ".join(files),
            fix=fix,
        )
    return kinds[0]


def load_tasks(
    tasks: Sequence[str], data: Mapping[str, Sequence[str]]
) -> tuple[Any, list[Any], dict[str, Any]]:
    """lm_eval's manager, what to ask it for, and the tasks by name with their data loaded.

    Raises:
        UserError: a task is unknown, its data cannot be loaded, or a metric is not lm_eval's own.
    """
    from lm_eval.tasks import TaskManager

    alone = all(
        _is_file(task) and "task_list" not in _text(task) and "group:" not in _text(task)
        for task in tasks
    )
    manager = TaskManager(include_defaults=not alone)  # to list what ships takes ten seconds
    specs = [_spec(task, data, manager) for task in tasks]
    with no_fetched_metrics():
        loaded: dict[str, Any] = {}
        for task, spec in zip(tasks, specs, strict=True):
            try:
                loaded |= manager.load([spec])["tasks"]
            except (
                Exception
            ) as error:  # a task's file may run anything; the user needs one line of it
                reason = " ".join(str(error).split())[:300] or type(error).__name__
                hint = f" or give its data as a file: `data: {{{_task_name(task)}: <a file>}}`"
                raise UserError(
                    f"the task cannot be loaded: {reason}",
                    where=task,
                    fix=f"check the file, and that its data can be reached;{hint}",
                ) from error
    for name, task in loaded.items():
        fetched = [m for m, call in getattr(task, "_metric_fn_list", {}).items() if call is None]
        if fetched and getattr(task.config, "process_results", None) is None:
            fix = "take another task, or give one with metrics of lm_eval's own or with `process_results`"
            raise UserError(
                f"its metric {fetched[0]!r} would be fetched as code from the Hub",
                where=name,
                fix=fix,
            )
    return manager, specs, loaded


@contextmanager
def no_fetched_metrics() -> Iterator[None]:
    """While this is open `import evaluate` fails, as it does where the library is not installed."""
    known = sys.modules.get("evaluate")
    sys.modules["evaluate"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["evaluate"]
        if known is not None:
            sys.modules["evaluate"] = known


def _spec(task: str, data: Mapping[str, Sequence[str]], manager: Any) -> Any:
    """A name or a path for lm_eval; with data of one's own the task's whole configuration, its data
    exchanged.
    """
    from lm_eval.tasks._yaml_loader import load_yaml

    path = Path(task).expanduser().resolve() if _is_file(task) else None
    if path is None and task not in manager.task_index:
        hint = did_you_mean(task, list(manager.all_tasks))
        raise UserError(
            f"lm_eval has no task {task!r}.{hint}", where="tasks", fix="see `lm_eval ls tasks`"
        )
    files = data.get(_task_name(task))
    if files is None:
        return str(path) if path else task
    path = path or manager.task_index[task].yaml_path
    config = load_yaml(path) if path else {}
    if not isinstance(config.get("task"), str) or "class" in config:
        fix = "give data to the tasks of a group one by one"
        raise UserError(
            f"{task!r} is no single task, so it has no data of its own",
            where=", ".join(files),
            fix=fix,
        )
    kind = _format(files)
    split = config.get("test_split") or config.get("validation_split") or "test"
    own = {"data_files": {split: [str(Path(file).expanduser().resolve()) for file in files]}} | (
        {"sep": "\t"} if kind == ".tsv" else {}
    )
    splits = {
        "test_split": split,
        "validation_split": None,
        "training_split": None,
        "fewshot_split": None,
    }
    return (
        config
        | {"dataset_path": FORMATS[kind], "dataset_name": None, "dataset_kwargs": own}
        | splits
    )
