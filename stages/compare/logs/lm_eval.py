"""Logs of lm-evaluation-harness: `samples_<task>_<date>.jsonl`, written with `--log_samples`.

In: a folder, or one file. Out: one log for each model, with a metric for each task, metric and
filter. The tool's own numbers come from `results_<date>.json` beside. An item is a document of a
task, by the hash of its content, so that logs over different parts of a task can be matched.
"""

import re
from collections import Counter
from collections.abc import (
    Mapping,
    Sequence,
)
from pathlib import Path
from typing import Any

from stages.compare.logs.log import (
    Log,
    is_number,
    require,
)
from stages.guards.files import read_json
from stages.sources.records import read_file

FILE = re.compile(r"samples_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\dT[\d.-]+)\.jsonl")
TOOL = "lm-eval"
NO_FILTER = "none"
MEASURED_BY = {"versions": "version", "n-shot": "shots", "task_hashes": "prompts"}
"""By key of the results, what two logs of a task must share to be comparable."""


def sample_files(folder: Path) -> dict[str, list[Path]]:
    """By folder of a model its samples: those of this folder, or of the folders in it."""
    files = sorted(folder.glob("samples_*.jsonl")) or sorted(folder.glob("*/samples_*.jsonl"))
    models: dict[str, list[Path]] = {}
    for file in files:
        models.setdefault(file.parent.name, []).append(file)
    return models


def read_lm_eval(
    paths: Sequence[Path],
    name: str,
    place: Path,
) -> Log:
    """Read the newest samples of each task.

    Raises:
        UserError: a file is broken, or holds no score.
    """
    newest: dict[str, Path] = {}
    for path in sorted(paths, key=_date):
        newest[_task(path)] = path
    log = Log(name, TOOL, place)
    older = len(paths) - len(newest)
    if older:
        log.notes.append(f"{older} older files of the same tasks are left out")
    for task, path in newest.items():
        _add_task(log, task, path)
        _add_reported(log, task, path)
    return require(log)


def _task(path: Path) -> str:
    match = FILE.fullmatch(path.name)
    return match["task"] if match else path.stem


def _date(path: Path) -> str:
    match = FILE.fullmatch(path.name)
    return match["date"] if match else ""


def _add_task(
    log: Log,
    task: str,
    path: Path,
) -> None:
    repeats: Counter[tuple[str, str]] = Counter()
    for record in read_file(path):
        row = record.cells
        answer_filter = str(row.get("filter") or NO_FILTER)
        document = str(row.get("doc_hash") or row.get("doc_id"))[:16]
        repeats[document, answer_filter] += 1
        number = repeats[document, answer_filter]
        item = f"{task}/{document}" + (f" ({number})" if number > 1 else "")
        values = {}
        for metric in row.get("metrics") or ():
            values[metric_name(task, metric, answer_filter)] = row.get(metric)
        log.add(item, _prompt(row), _answer(row), values)


def metric_name(
    task: str,
    metric: str,
    answer_filter: str,
) -> str:
    """The name of a metric: its task, and its filter where there is one."""
    name = f"{task} {metric}"
    return name if answer_filter == NO_FILTER else f"{name} ({answer_filter})"


def _prompt(row: Mapping[str, Any]) -> str:
    """What the model read: the context of the first request."""
    arguments = row.get("arguments")
    first = arguments.get("gen_args_0") if isinstance(arguments, Mapping) else None
    if isinstance(first, Mapping):
        return str(first.get("arg_0", ""))
    return str(row.get("doc", ""))


def _answer(row: Mapping[str, Any]) -> str:
    """What it wrote; of options with log-likelihoods, the likeliest."""
    responses = row.get("filtered_resps") or []
    arguments = row.get("arguments")
    if not isinstance(arguments, Mapping) or len(responses) < 2:
        return str(responses[0]) if responses else ""
    likelihoods = []
    for response in responses:
        number = response[0] if isinstance(response, list) and response else response
        try:
            likelihoods.append(float(number))
        except (TypeError, ValueError):
            return str(responses)
    best = likelihoods.index(max(likelihoods))
    option = arguments.get(f"gen_args_{best}") or {}
    return str(option.get("arg_1", "")).strip()


def _add_reported(
    log: Log,
    task: str,
    path: Path,
) -> None:
    """The tool's own numbers of a task, and the model's name."""
    file = path.with_name(f"results_{_date(path)}.json")
    if not file.is_file():
        log.notes.append(f"{file.name} is not beside its samples, so nothing checks their means")
        return
    results = read_json(file)
    for fact, name in MEASURED_BY.items():
        value = (results.get(fact) or {}).get(task)
        if value is not None:
            log.measured_by[f"{name} of {task}"] = str(value)
    for key, number in (results.get("results", {}).get(task) or {}).items():
        metric, _, answer_filter = key.partition(",")
        if is_number(number) and "_stderr" not in metric and answer_filter:
            log.reported[metric_name(task, metric, answer_filter)] = float(number)
