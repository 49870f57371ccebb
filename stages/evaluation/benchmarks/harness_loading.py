"""Load tasks of lm-evaluation-harness with the Hub's data, or with a user's own.

A user's data replace the split that is evaluated. Few-shot examples are then drawn from them, too,
but a question is never its own example.

Metrics that lm_eval would fetch as code through the library `evaluate` are refused, because code
from a model hub is not safe to run. So is code in a user's task file (`harness_code.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.evaluation.benchmarks.harness_code import no_foreign_code, refuse_code
from stages.evaluation.benchmarks.harness_tasks import (
    FORMATS,
    data_format,
    is_task_file,
    read_task_file,
    task_name,
)
from stages.guards.decoding import decompress
from stages.guards.errors import UserError, did_you_mean
from stages.guards.files import read_bytes


@dataclass(frozen=True)
class LoadedTasks:
    """Tasks with their data."""

    manager: Any
    """lm_eval's task manager."""
    specs: list[Any]
    """What the manager is asked to load."""
    by_name: dict[str, Any]


def load_tasks(
    tasks: Sequence[str], data: Mapping[str, Sequence[str]], trust_files: bool
) -> LoadedTasks:
    """Load tasks and their data.

    Args:
        data: files by task, in place of the Hub's data.
        trust_files: code in the users' own task files may run.

    Raises:
        UserError: a task is unknown, its data cannot be loaded, or it would run or fetch code.
    """
    if not trust_files:
        refuse_code(list(filter(is_task_file, tasks)))
    from lm_eval.tasks import TaskManager

    # to list the tasks that ship with lm_eval takes ten seconds
    manager = TaskManager(include_defaults=not all(_needs_no_other(task) for task in tasks))
    specs = [_spec(task, data, manager) for task in tasks]
    by_name: dict[str, Any] = {}
    with no_foreign_code():
        for task, spec in zip(tasks, specs, strict=True):
            by_name |= _load(task, spec, manager)
    for name, loaded in by_name.items():
        _refuse_fetched_metrics(name, loaded)
    return LoadedTasks(manager, specs, by_name)


def _needs_no_other(task: str) -> bool:
    """Whether a task is a file that names no task that ships with lm_eval."""
    if not is_task_file(task):
        return False
    text = read_task_file(task)
    return "task_list" not in text and "group:" not in text


def _load(task: str, spec: Any, manager: Any) -> dict[str, Any]:
    try:
        loaded: dict[str, Any] = manager.load([spec])["tasks"]
    except Exception as error:  # a task's file may run any code
        raise UserError(
            f"the task cannot be loaded: {one_line(error)}",
            where=task,
            fix="check the file, and that its data can be reached; or give its data as a file: "
            f"`data: {{{task_name(task)}: <a file>}}`",
        ) from error
    return loaded


def one_line(error: Exception) -> str:
    """An error's message as one short line."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def _refuse_fetched_metrics(name: str, task: Any) -> None:
    metrics = getattr(task, "_metric_fn_list", {})
    fetched = [metric for metric, function in metrics.items() if function is None]
    has_own_results = getattr(task.config, "process_results", None) is not None
    if fetched and not has_own_results:
        raise UserError(
            f"the task's metric {fetched[0]!r} would be fetched as code from the Hub",
            where=name,
            fix="choose another task, or give one with lm_eval's own metrics or with "
            "`process_results`",
        )


def _spec(task: str, data: Mapping[str, Sequence[str]], manager: Any) -> Any:
    """What lm_eval is asked to load: a name, a path, or with a user's data a configuration."""
    from lm_eval.tasks._yaml_loader import load_yaml

    path: Path | None = None
    if is_task_file(task):
        path = Path(task).expanduser().resolve()
    elif task not in manager.task_index:
        hint = did_you_mean(task, list(manager.all_tasks))
        raise UserError(
            f"lm_eval has no task {task!r}{hint}", where="tasks", fix="see `lm_eval ls tasks`"
        )
    files = data.get(task_name(task))
    if files is None:
        return str(path) if path else task
    path = path or manager.task_index[task].yaml_path
    config = load_yaml(path) if path else {}
    if not isinstance(config.get("task"), str) or "class" in config:
        raise UserError(
            f"{task!r} is not a single task, so it cannot read data from files",
            where=", ".join(files),
            fix="give data to each task of a group",
        )
    return _with_data(config, files)


def _with_data(config: Mapping[str, Any], files: Sequence[str]) -> dict[str, Any]:
    """A task's configuration with its data replaced."""
    kind = data_format(files)
    for file in files:
        decompress(read_bytes(file), file)  # refuses what would fill the disk when it is unpacked
    split = config.get("test_split") or config.get("validation_split") or "test"
    paths = [str(Path(file).expanduser().resolve()) for file in files]
    arguments: dict[str, Any] = {"data_files": {split: paths}}
    if kind == ".tsv":
        arguments["sep"] = "\t"
    return {
        **config,
        "dataset_path": FORMATS[kind],
        "dataset_name": None,
        "dataset_kwargs": arguments,
        "test_split": split,
        "validation_split": None,
        "training_split": None,
        "fewshot_split": None,
    }
