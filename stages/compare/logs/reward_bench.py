"""Results of RewardBench: scores of chosen and rejected answers, pair by pair.

In: of the command `rewardbench` its `<model>_outputs.jsonl` with texts, subsets and scores, or
`<model>_all.jsonl` with the scores alone; of its scripts the columns of `eval-set-scores`, of
version 1 (pairs) or 2 (one chosen answer among several). Out: one log, with the accuracy over all
pairs and in each subset: the chosen answer has the highest score. The tool's own numbers are the
`accuracy` of `<model>.json` beside the scores, or those of each subset in `eval-set`.

Version 2 gives its subset of ties one number, which is not a mean of prompts: it is left out.
"""

import math
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
from stages.guards.errors import UserError
from stages.guards.files import read_json
from stages.sources.records import read_file

TOOL = "RewardBench"
ACCURACY = "accuracy"
SCORE = "score"
"""The metric of answers that were scored alone, without a pair."""
OUTPUTS = "_outputs.jsonl"
ALL = "_all.jsonl"
COLUMNS = {"id", "subset", "results"}
SCORES_FOLDER = "eval-set-scores"
NUMBERS_FOLDER = "eval-set"
TIES = "ties"
BY_PLACE = "its rows have no ids: pairs are matched by their place in the file"


def is_scores(value: Any) -> bool:
    """Whether the content of a JSON file is a table of `eval-set-scores`."""
    return isinstance(value, Mapping) and value.keys() >= COLUMNS


def score_files(folder: Path) -> list[Path]:
    """The files of a folder with scores, one for each model, whose name may have an owner."""
    outputs = _files(folder, OUTPUTS)
    models = {_model_path(path) for path in outputs}
    alone = [path for path in _files(folder, ALL) if _model_path(path) not in models]
    scores = folder if SCORES_FOLDER in folder.parts else folder / SCORES_FOLDER
    return outputs + alone + _files(scores, ".json")


def model_name(path: Path) -> str:
    """The name of the model in the name of its file."""
    return _model_path(path).name.removesuffix(".json")


def read_any(
    path: Path,
    name: str,
) -> Log:
    """Read a file of any of the three forms.

    Raises:
        UserError: as the readers of the forms.
    """
    if path.name.endswith(ALL):
        return read_pairs(path, name)
    return read_scores(path, name) if path.suffix == ".json" else read_outputs(path, name)


def read_pairs(
    path: Path,
    name: str,
) -> Log:
    """Read the scores alone, which have no ids: a pair is its place in the file.

    Raises:
        UserError: the file is broken, or holds no score.
    """
    log = Log(name, TOOL, path)
    log.notes.append(BY_PLACE)
    odd = 0
    for number, record in enumerate(read_file(path)):
        chosen = _number(record.cells["chosen"])
        rejected = _number(record.cells["rejected"])
        log.add(
            f"pair {number}",
            "",
            _scores(chosen, rejected),
            {ACCURACY: chosen > rejected},
        )
        odd += math.isnan(chosen - rejected)
    _note_odd(log, odd)
    _report_accuracy(log, path)
    return require(log)


def read_outputs(
    path: Path,
    name: str,
) -> Log:
    """Read the texts and scores that the command writes.

    A pair is its subset and its id where the data have ids that tell pairs apart, else its place.

    Raises:
        UserError: the file is broken, or holds no score.
    """
    rows = [record.cells for record in read_file(path)]
    places = [(row.get("subset"), row.get("id")) for row in rows]
    has_ids = all(place[1] is not None for place in places) and len(set(places)) == len(rows)
    log = Log(name, TOOL, path)
    if not has_ids:
        log.notes.append(BY_PLACE)
    odd = 0
    for number, row in enumerate(rows):
        item = _item_name(row.get("subset"), row["id"]) if has_ids else f"pair {number}"
        if "scores_chosen" not in row:
            log.add(
                item,
                row.get("prompt"),
                row.get("text"),
                {SCORE: row["results"]},
            )
            continue
        chosen = _number(row["scores_chosen"])
        rejected = _number(row["scores_rejected"])
        odd += math.isnan(chosen - rejected)
        scores = _scores(chosen, rejected)
        answer = f"{scores}\n{_texts(row.get('text_chosen'), row.get('text_rejected'))}"
        log.add(
            item,
            row.get("prompt"),
            answer,
            _accuracy(row.get("subset"), row["results"]),
        )
    _note_odd(log, odd)
    _report_accuracy(log, path)
    return require(log)


def read_scores(
    path: Path,
    name: str,
) -> Log:
    """Read the table with ids and subsets.

    Raises:
        UserError: its columns differ in length, or hold no score.
    """
    table = read_json(path)
    names = [*COLUMNS, *(key for key in ("text", "text_chosen", "text_rejected") if key in table)]
    columns = {key: table[key] for key in names}
    number = len(columns["id"])
    if any(len(column) != number for column in columns.values()):
        raise UserError(
            "the columns id, subset and results differ in length",
            where=str(path),
            fix="give the file as RewardBench wrote it",
        )
    log = Log(name, TOOL, path)
    ties = 0
    for place in range(number):
        row = {key: column[place] for key, column in columns.items()}
        subset = row["subset"]
        if str(subset).lower() == TIES:
            ties += 1
            continue
        first, *others = row.get("text") or [row.get("text_chosen"), row.get("text_rejected")]
        item = _item_name(subset, row["id"])
        log.add(
            item,
            _texts(first, *others),
            "",
            _accuracy(subset, row["results"]),
        )
    if ties:
        log.notes.append(
            f"{ties} prompts of the subset Ties are left out: RewardBench gives them one number, "
            "which is not a mean"
        )
    numbers = _numbers_of(path)
    for metric in log.scores:
        subset = metric.removeprefix(f"{ACCURACY}: ")
        if metric != ACCURACY and is_number(numbers.get(subset)):
            log.reported[metric] = float(numbers[subset])
    return require(log)


def _accuracy(subset: Any, result: Any) -> dict[str, Any]:
    values = {ACCURACY: result}
    return values if subset is None else values | {f"{ACCURACY}: {subset}": result}


def _item_name(subset: Any, pair: Any) -> str:
    return str(pair) if subset is None else f"{subset}/{pair}"


def _texts(chosen: Any, *rejected: Any) -> str:
    lines = [f"chosen: {chosen or ''}", *(f"rejected: {text or ''}" for text in rejected)]
    return "\n".join(lines)


def _scores(chosen: float, rejected: float) -> str:
    return f"chosen {chosen:.4g}, rejected {rejected:.4g}"


def _number(score: Any) -> float:
    """A score; some models give a list of one, and a model that overflows gives NaN."""
    while isinstance(score, Sequence) and not isinstance(score, str) and len(score) == 1:
        score = score[0]
    return math.nan if score in ("", None) else float(score)


def _note_odd(log: Log, pairs: int) -> None:
    if pairs:
        log.notes.append(
            f"{pairs:,} of {len(log.items):,} pairs have a score that is no number: RewardBench "
            "counts them as wrong"
        )


def _model_path(path: Path) -> Path:
    """The path of a model's summary, without its ending."""
    return path.with_name(path.name.removesuffix(OUTPUTS).removesuffix(ALL))


def _files(folder: Path, ending: str) -> list[Path]:
    return sorted([*folder.glob(f"*{ending}"), *folder.glob(f"*/*{ending}")])


def _report_accuracy(log: Log, path: Path) -> None:
    model = _model_path(path)
    summary = model.with_name(f"{model.name}.json")
    if model != path and summary.is_file() and ACCURACY in log.scores:
        log.reported[ACCURACY] = float(read_json(summary)["accuracy"])


def _numbers_of(path: Path) -> Mapping[str, Any]:
    """The number of each subset, from the file of the same model in the folder beside."""
    parts = list(path.parts)
    if SCORES_FOLDER not in parts:
        return {}
    place = len(parts) - 1 - parts[::-1].index(SCORES_FOLDER)
    parts[place] = NUMBERS_FOLDER
    file = Path(*parts)
    value = read_json(file) if file.is_file() else {}
    return value if isinstance(value, Mapping) else {}
