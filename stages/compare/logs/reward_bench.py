"""Results of RewardBench: scores of chosen and rejected answers, pair by pair.

In: `<model>_all.jsonl` with the scores alone, or the columns of `eval-set-scores` with ids and
subsets. Out: one log, with the accuracy over all pairs and in each subset: the chosen answer has
the higher score. The tool's own number is the `accuracy` of `<model>.json` beside the scores.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.compare.logs.log import (
    Log,
    require,
)
from stages.guards.errors import UserError
from stages.guards.files import read_json
from stages.sources.records import read_file

TOOL = "RewardBench"
ACCURACY = "accuracy"
ENDING = "_all.jsonl"
COLUMNS = {"id", "subset", "results"}


def is_scores(value: Any) -> bool:
    """Whether the content of a JSON file is a table of `eval-set-scores`."""
    return isinstance(value, Mapping) and value.keys() >= COLUMNS


def read_pairs(
    path: Path,
    name: str,
) -> Log:
    """Read the scores alone, which have no ids: a pair is its place in the file.

    Raises:
        UserError: the file is broken, or holds no score.
    """
    log = Log(name, TOOL, path)
    log.notes.append("its rows have no ids: pairs are matched by their place in the file")
    for number, record in enumerate(read_file(path)):
        chosen = _number(record.cells["chosen"])
        rejected = _number(record.cells["rejected"])
        answer = f"chosen {chosen:.4g}, rejected {rejected:.4g}"
        log.add(f"pair {number}", "", answer, {ACCURACY: chosen > rejected})
    summary = path.with_name(path.name.removesuffix(ENDING) + ".json")
    if path.name.endswith(ENDING) and summary.is_file():
        log.reported[ACCURACY] = float(read_json(summary)["accuracy"])
    return require(log)


def _number(score: Any) -> float:
    """A score; some models give a list of one."""
    while isinstance(score, list) and len(score) == 1:
        score = score[0]
    return float(score)


def read_scores(
    path: Path,
    name: str,
) -> Log:
    """Read the table with ids and subsets.

    Raises:
        UserError: its columns differ in length, or hold no score.
    """
    table = read_json(path)
    columns = [table["id"], table["subset"], table["results"]]
    if len({len(column) for column in columns}) > 1:
        raise UserError(
            "the columns id, subset and results differ in length",
            where=str(path),
            fix="give the file as RewardBench wrote it",
        )
    log = Log(name, TOOL, path)
    blank = [""] * len(columns[0])
    texts = table.get("text_chosen", blank), table.get("text_rejected", blank)
    for pair, subset, result, chosen, rejected in zip(*columns, *texts, strict=True):
        values = {ACCURACY: result, f"{ACCURACY}: {subset}": result}
        log.add(f"{subset}/{pair}", f"chosen: {chosen}\nrejected: {rejected}", "", values)
    return require(log)
