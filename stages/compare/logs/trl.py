"""Completions of TRL's online trainers: `completions_<step>.parquet`, from `log_completions`.

In: a folder, or one file. Out: one log, with a metric for each reward. An item is a prompt at a
step, and its completions are averaged. The tool's own numbers are the `rewards/<name>/mean` of
`trainer_state.json`, averaged over the same steps: those of the same answers, if every step is
logged (`logging_steps=1`).
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from stages.compare.logs.log import (
    Log,
    as_text,
    hash_text,
    is_number,
    require,
)
from stages.guards.files import read_json
from stages.sources.records import read_file

TOOL = "TRL"
NOT_REWARDS = ("step", "advantage")
NAMES = "completions_*.parquet"


def completion_files(folder: Path) -> list[Path]:
    """The completions of a training's folder, or of its folder `completions`."""
    return sorted(folder.glob(NAMES)) or sorted((folder / "completions").glob(NAMES))


def read_trl(
    paths: Sequence[Path],
    name: str,
    place: Path,
) -> Log:
    """Read the completions of all steps.

    Raises:
        UserError: a file is broken, or holds no reward.
    """
    log = Log(name, TOOL, place)
    steps = set()
    for path in paths:
        for record in read_file(path):
            row = record.cells
            step = int(row["step"])
            steps.add(step)
            values = {key: value for key, value in row.items() if key not in NOT_REWARDS}
            prompt = as_text(row["prompt"])
            item = f"step {step}: {hash_text(prompt)}"
            log.add(item, prompt, row["completion"], values)
    _add_reported(log, paths, steps)
    return require(log)


def _add_reported(
    log: Log,
    paths: Sequence[Path],
    steps: set[int],
) -> None:
    """The means that the trainer logged at these steps, from its last checkpoint."""
    folder = paths[0].parent
    places = [folder, folder.parent]
    files = [file for place in places for file in place.glob("checkpoint-*/trainer_state.json")]
    files += [place / "trainer_state.json" for place in places]
    histories = [read_json(file)["log_history"] for file in files if file.is_file()]
    if not histories:
        log.notes.append("no trainer_state.json is beside the completions: nothing checks them")
        return
    history = max(histories, key=len)
    for metric in log.scores:
        key = f"rewards/{metric}/mean"
        logged = [entry.get(key) for entry in history if entry.get("step") in steps]
        numbers = [number for number in logged if is_number(number)]
        if len(numbers) == len(steps):
            log.reported[metric] = fmean(numbers)
