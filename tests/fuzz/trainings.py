"""Kill trainings of every kind, each in turn; the weights must be those of an uninterrupted run.

One life holds a training of every kind. The run is killed in the first of them, started again,
killed in the second, and so on; then it may finish. Most kills fall shortly after a checkpoint has
begun to be written.
"""

import argparse
import os
import random
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.fuzz.files import overrides, write_training_files
from tests.fuzz.killed import Run, draw_signal
from tests.fuzz.kind import Wrong
from tests.fuzz.lane import Report
from tests.fuzz.meter import meter
from tests.fuzz.pool import Outcome

TRAININGS = (
    *("sft", "dpo", "kto", "ranking", "chain_of_hindsight", "reward_model"),
    *("ppo", "grpo", "rloo", "online_dpo"),
)
STEPS = 6
"""Of each training, with a checkpoint after each."""
TOLERANCE = 1e-5
"""Between two weights of float32."""
LONGEST_WAIT = 240.0
"""Seconds until a training has begun."""


def start(folder: Path, runs_dir: Path, number: int) -> Run:
    """Start a run of all trainings."""
    arguments = overrides("fuzz_trainings", folder / "files", runs_dir)
    log = folder / "output" / f"{runs_dir.name}-{number}.txt"
    return Run([*arguments, "generator=transformers"], log)


def wait_for(step: str, run: Run, runs_dir: Path, draws: random.Random) -> None:
    """Wait for a random moment of a training."""
    is_late = draws.random() < 0.75
    pattern = f"{step}-*"
    if is_late:
        pattern += f"/checkpoints/checkpoint-{draws.randint(1, STEPS)}"
    deadline = time.monotonic() + LONGEST_WAIT
    while not list((runs_dir / "artifacts").glob(pattern)):
        if list((runs_dir / "artifacts").glob(f"{step}-*/manifest.json")):
            return  # it was finished in between
        if run.is_over or time.monotonic() > deadline:
            raise Wrong(f"the training {step} did not begin:\n{run.output()}")
        time.sleep(0.005)
    time.sleep(draws.random() * (0.4 if is_late else 8.0))


def weights(runs_dir: Path) -> dict[str, Any]:
    """Return the weights of all finished trainings, by step and name."""
    from safetensors.numpy import load_file

    arrays = {}
    for path in sorted(runs_dir.glob("artifacts/*/model/*.safetensors")):
        if (path.parents[1] / "manifest.json").exists():
            step = path.parents[1].name
            arrays |= {f"{step} {name}": value for name, value in load_file(path).items()}
    return arrays


def compare(expected: dict[str, Any], runs_dir: Path, figures: Counter[str]) -> None:
    """Raise Wrong where a weight differs, or a file that only a torn training leaves is there."""
    import numpy

    there = weights(runs_dir)
    if there.keys() != expected.keys():
        raise Wrong(f"other weights: {sorted(there.keys() ^ expected.keys())[:5]}")
    largest = 0.0
    for name, value in expected.items():
        difference = float(numpy.abs(value - there[name]).max())
        largest = max(largest, difference)
        figures["weights"] += 1
        figures["weights_bitwise_equal"] += bool((value == there[name]).all())
        if not difference <= TOLERANCE:
            raise Wrong(f"the weights of {name} differ by {difference:.3g}")
    figures["largest_difference_1e-9"] = max(
        figures["largest_difference_1e-9"], round(largest * 1e9)
    )
    torn = [str(path) for path in runs_dir.glob("artifacts/*/checkpoints")]
    if torn:
        raise Wrong(f"checkpoints stay: {torn}")


def run(seed: int, options: argparse.Namespace) -> Report:
    """Kill as often as asked, each kind in turn."""
    os.environ["OMP_NUM_THREADS"] = "1"
    kills = options.kills or 20
    report = Report("trainings", seed)
    figures: Counter[str] = Counter()
    draws = random.Random(seed)
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="trainings-"))
    write_training_files(folder / "files")
    start(folder, folder / "whole", 0).finish()
    expected = weights(folder / "whole")
    with meter("trainings", kills, "kills") as show_progress:
        while report.tried < kills:
            runs_dir = folder / f"life-{report.tried}"
            try:
                for number, step in enumerate(TRAININGS[: kills - report.tried]):
                    training = start(folder, runs_dir, number)
                    wait_for(step, training, runs_dir, draws)
                    seconds = training.end(draw_signal(draws))
                    report.add(Outcome(report.tried, "accepted", seconds=seconds))
                    show_progress(report.tried, report.note or step)
                start(folder, runs_dir, len(TRAININGS)).finish()
                compare(expected, runs_dir, figures)
            except Wrong as error:
                place = str(error).partition("\n")[0][:120]
                detail = f"{error}\nsee {runs_dir}"
                report.add(Outcome(report.tried, "wrong", detail, place=place))
    report.figures = dict(figures)
    report.seconds = time.monotonic() - started
    if not report.failed:
        shutil.rmtree(folder)
    return report
