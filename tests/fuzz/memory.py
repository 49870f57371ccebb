"""Peak memory of runs from requests to pairs, by the number of rows.

Each measurement is a process of its own, which prints JSON: `python -m tests.fuzz.memory judged
10000`. Two of them give the bytes of a row, and so what a million rows would need.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages.generators.rendering import normalise
from stages.runtime.generation import Choice, Completion, Sampling
from stages.runtime.rows import Message
from tests.fuzz.files import ROOT, write_jsonl
from tests.fuzz.lane import Report
from tests.fuzz.pool import Outcome
from tests.running import Seeded, fake_model, run_steps, write_constitution

MILLION = 1_000_000
MOST = 2 * 2**30
"""Bytes that a run of a million rows may take."""
WORDS = "a request of about the usual length, which asks for something harmless; number"


class Forgetful(Seeded):
    """A generator that does not keep what it was asked."""

    async def complete(
        self, messages: Sequence[Message], sampling: Sampling, seed: int
    ) -> Completion:
        """See `Generator.complete`."""
        return Completion(f"an answer of some twenty words {'and more ' * 8}<{seed}>", "stop", 1, 1)

    async def choose(self, messages: Sequence[Message], options: Sequence[str]) -> Choice:
        """See `Generator.choose`."""
        return Choice(normalise([-0.2 if hash(str(messages)) % 2 else -1.8, -1.0]))


def steps_of(name: str, folder: Path, rows: int) -> dict[str, Any]:
    """The steps of a path from requests to pairs."""
    if name == "people":
        records = [
            {"prompt": f"{WORDS} {n}", "chosen": f"good {WORDS} {n}", "rejected": f"bad {n}"}
            for n in range(rows)
        ]
        write_jsonl(folder / "pairs.jsonl", records)
        return {"pairs": {"stage": "human_pairs", "source": str(folder / "pairs.jsonl")}}
    lines = ["prompt", *(f'"{WORDS} {number}"' for number in range(rows))]
    (folder / "requests.csv").write_text("\n".join(lines) + "\n")
    constitution = {"name": str(write_constitution(folder / "set.yaml", 4))}
    return {
        "base": {"stage": "model", "path": str(fake_model(folder / "model"))},
        "requests": {"stage": "prompts", "source": str(folder / "requests.csv")},
        "answers": {"stage": "respond", "inputs": {"prompts": "requests", "model": "base"}, "n": 2},
        "judgements": {
            "stage": "judge",
            "inputs": {"responses": "answers", "model": "base"},
            "constitution": constitution,
            "per_pair": 1,
        },
        "pairs": {
            "stage": "judged_pairs",
            "inputs": {"judgements": "judgements"},
            "constitution": constitution,
        },
    }


def measure_here(name: str, rows: int) -> dict[str, float]:
    """Run in this process; return the peak before and after, in bytes, and the seconds."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        steps = steps_of(name, folder, rows)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        started = time.monotonic()
        run_steps(steps, folder, Forgetful())
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"before": before, "peak": peak, "seconds": time.monotonic() - started}


def measure(name: str, rows: int) -> dict[str, float]:
    """Run in a process of its own."""
    command = [sys.executable, "-m", "tests.fuzz.memory", name, str(rows)]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return json.loads(shown.splitlines()[-1])


def run(seed: int, options: argparse.Namespace) -> Report:
    """Measure both paths at a fifth of the rows and at all of them, and extrapolate.

    More than 2 GB is no finding: docs/reliability.md states it.
    """
    report = Report("memory", seed)
    started = time.monotonic()
    for name in ("people", "judged"):
        few, many = measure(name, options.rows // 5), measure(name, options.rows)
        by_row = (many["peak"] - few["peak"]) / (options.rows - options.rows // 5)
        million = few["peak"] + by_row * (MILLION - options.rows // 5)
        report.figures[name] = {
            "rows": options.rows,
            "peak_MB": round(many["peak"] / 2**20),
            "bytes_a_row": round(by_row),
            "a_million_rows_GB": round(million / 2**30, 1),
            "within_2_GB": million <= MOST,
        }
        outcome = Outcome(report.tried, "accepted", seconds=many["seconds"])
        report.add(outcome)
    report.seconds = time.monotonic() - started
    return report


if __name__ == "__main__":
    print(json.dumps(measure_here(sys.argv[1], int(sys.argv[2]))))
