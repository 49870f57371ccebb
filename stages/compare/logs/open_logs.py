"""Which tool wrote a file or a folder, and its logs.

In: a path. Out: one log, or one for each model that it holds. Nothing in a file is run, and nothing
is fetched.
"""

from itertools import islice
from pathlib import Path
from typing import Any

from stages.compare.logs import (
    credo,
    icai,
    inspect_ai,
    lm_eval,
    reward_bench,
    trl,
    verifiers,
    weval,
)
from stages.compare.logs.log import Log
from stages.guards.errors import UserError
from stages.guards.files import (
    exists,
    read_json,
)
from stages.sources.records import read_file

FORMATS = (
    "a run or an artifact of Credo",
    "inspect's .eval or .json",
    "lm-eval's samples_*.jsonl, or their folder",
    "TRL's completions_*.parquet, or their folder",
    "verifiers' results.jsonl, or its folder",
    "RewardBench's outputs or scores, or their folder",
    "icai's annotated pairs, or the folder of its experiment",
    "weval's result, or its folder",
)


def open_logs(
    path: Path,
    name: str,
) -> list[Log]:
    """Read every log of a path.

    Raises:
        UserError: there is nothing, or nothing that is known; or the file is broken.
    """
    if not exists(path):
        raise UserError("no such file or folder", where=str(path), fix="check the path")
    try:
        logs = _of_folder(path, name) if path.is_dir() else _of_file(path, name)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UserError(
            f"the file is not as its tool writes it ({type(error).__name__}: {error})",
            where=str(path),
            fix="check that it is whole, and of a version of the tool that docs/compare.md names",
        ) from None
    if logs:
        return logs
    raise UserError(
        "it is empty" if _is_empty(path) else "no log that can be compared",
        where=str(path),
        fix=f"give {'; '.join(FORMATS)}",
    )


def _is_empty(path: Path) -> bool:
    return not any(path.iterdir()) if path.is_dir() else not path.stat().st_size


def _of_folder(
    folder: Path,
    name: str,
) -> list[Log]:
    if credo.is_credo(folder):
        return credo.read_credo(folder, name)
    if models := lm_eval.sample_files(folder):
        logs = [lm_eval.read_lm_eval(files, name, folder) for files in models.values()]
        if len(models) > 1:
            for log, model in zip(logs, models, strict=True):
                log.name = f"{name} {model}".strip()
        return logs
    if files := trl.completion_files(folder):
        return [trl.read_trl(files, name, folder)]
    if (folder / "results.jsonl").is_file():
        return [verifiers.read_verifiers(folder / "results.jsonl", name)]
    if files := inspect_ai.log_files(folder):
        return inspect_ai.read_inspect_folder(files, name, folder)
    if file := weval.result_file(folder):
        return weval.read_weval(file, name)
    if file := icai.pair_file(folder):
        return [icai.read_icai(file, name)]
    if files := reward_bench.score_files(folder):
        names = [f"{name} {reward_bench.model_name(file)}".strip() for file in files]
        several = zip(files, names if len(files) > 1 else [name], strict=True)
        return [reward_bench.read_any(file, one) for file, one in several]
    return []


def _of_file(
    path: Path,
    name: str,
) -> list[Log]:
    suffix = path.suffix.lower()
    if suffix == ".eval":
        return [inspect_ai.read_inspect(path, name)]
    if suffix == ".json":
        return _of_json(path, name)
    if suffix not in (".jsonl", ".parquet"):
        return []
    first: dict[str, Any] = {}
    for record in islice(read_file(path), 1):
        first = record.cells
    columns = first.keys()
    if {"doc_id", "metrics", "filter"} <= columns:
        return [lm_eval.read_lm_eval([path], name, path)]
    if {"step", "prompt", "completion", "advantage"} <= columns:
        return [trl.read_trl([path], name, path)]
    if {"prompt", "completion", "reward"} <= columns:
        return [verifiers.read_verifiers(path, name)]
    if {"prompt", "results"} <= columns and {"scores_chosen", "text"} & columns:
        return [reward_bench.read_outputs(path, name)]
    if {"chosen", "rejected"} == set(columns):
        return [reward_bench.read_pairs(path, name)]
    return []


def _of_json(
    path: Path,
    name: str,
) -> list[Log]:
    value = read_json(path)
    if inspect_ai.is_inspect_json(value):
        return [inspect_ai.read_inspect(path, name)]
    if weval.is_weval(value):
        return weval.read_weval(path, name)
    if icai.is_annotated_pairs(value):
        return [icai.read_icai(path, name)]
    if reward_bench.is_scores(value):
        return [reward_bench.read_scores(path, name)]
    return []
