"""Try many inputs of a kind, show what became of them, and write it down."""

import json
import os
import subprocess
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from stages.guards.console import open_console
from tests.fuzz.kind import Kind
from tests.fuzz.meter import meter
from tests.fuzz.pool import FINDINGS, FINE, Outcome, run_attempts

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = 3
"""Findings of one place that are written down in full."""


@dataclass
class Report:
    """What became of the inputs of one kind, or of a run of kills."""

    kind: str
    seed: int
    counts: Counter[str] = field(default_factory=Counter)
    """By outcome."""
    findings: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    slowest: float = 0.0
    """Seconds."""
    figures: dict[str, Any] = field(default_factory=dict)
    """What else was measured."""

    def add(self, outcome: Outcome) -> None:
        """Count an outcome; keep a finding."""
        self.counts[outcome.outcome] += 1
        self.slowest = max(self.slowest, outcome.seconds)
        same = [finding for finding in self.findings if finding["place"] == outcome.place]
        if outcome.outcome in FINDINGS and len(same) < EXAMPLES:
            self.findings.append(asdict(outcome))

    @property
    def tried(self) -> int:
        """How many inputs there were."""
        return self.counts.total()

    @property
    def failed(self) -> int:
        """How many inputs showed a fault of Credo."""
        return sum(self.counts[name] for name in FINDINGS)

    @property
    def note(self) -> str:
        """What a progress bar shows."""
        return f"{self.failed} findings" if self.failed else ""

    def write(self, folder: Path | None) -> None:
        """Write it as JSON, beside the reports of other kinds."""
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
            facts = vars(self) | {"commit": commit()}
            (folder / f"{self.kind}.json").write_text(json.dumps(facts, indent=1))


def commit() -> str:
    """Return the commit of the code that is tested."""
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()


def try_kind(
    name: str,
    kind: Kind,
    seed: int,
    numbers: range,
    jobs: int = 1,
    seconds: float | None = None,
    quiet: bool = False,
) -> Report:
    """Try inputs of one kind, with a progress bar.

    Args:
        numbers: of the inputs; the seed and the number decide what is drawn.
        seconds: after which no further input is tried.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    kind.prepare()
    report = Report(name, seed)
    started = time.monotonic()
    until = started + (seconds or float("inf"))
    with meter(name, len(numbers), "inputs", quiet) as show_progress:
        for outcome in run_attempts(kind, name, seed, numbers, jobs, until):
            report.add(outcome)
            show_progress(report.tried, report.note)
    report.seconds = time.monotonic() - started
    return report


def show(reports: list[Report]) -> None:
    """Print a table of what became of the inputs, and each finding with its repetition."""
    console = open_console()
    table = Table(title="What became of hostile input")
    for title in ("kind", "seed", "tried", *FINE, *FINDINGS, "slowest", "seconds"):
        table.add_column(title, justify="left" if title == "kind" else "right", overflow="fold")
    for report in reports:
        counts = [str(report.counts[outcome]) for outcome in (*FINE, *FINDINGS)]
        times = [f"{report.slowest:.1f} s", f"{report.seconds:.0f}"]
        table.add_row(report.kind, str(report.seed), str(report.tried), *counts, *times)
    console.print(table)
    for report in reports:
        for name, value in report.figures.items():
            console.print(f"{report.kind}: {name} {value}")
        places: Counter[str] = Counter()
        for finding in report.findings:
            places[finding["place"]] += 1
            if places[finding["place"]] > 1:
                continue
            repeat = f"python -m tests.fuzz {report.kind} --seed {report.seed}"
            console.print(f"\n{finding['outcome']}: {finding['place']}")
            console.print(f"  again: {repeat} --only {finding['number']}")
            lines = finding["detail"].strip().splitlines()
            console.print("\n".join(f"  {line[:300]}" for line in lines[-6:]))


def summary(folder: Path) -> str:
    """Return the reports of a folder as the Markdown table of docs/reliability.md."""
    lines = [
        "| tried | seed | inputs | accepted or healed | clear error | traceback, crash | hang "
        "| wrong | out of memory | slowest |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    commits = set()
    notes = []
    for path in sorted(folder.glob("*.json")):
        facts = json.loads(path.read_text())
        counts = Counter(facts["counts"])
        commits.add(facts["commit"])
        values = [
            facts["kind"],
            facts["seed"],
            f"{counts.total():,}",
            f"{counts['accepted']:,}",
            f"{counts['refused']:,}",
            counts["traceback"] + counts["crash"],
            counts["hang"],
            counts["wrong"],
            counts["memory"],
            f"{facts['slowest']:.1f} s",
        ]
        lines.append("| " + " | ".join(map(str, values)) + " |")
        for name, value in facts["figures"].items():
            notes.append(f"- {facts['kind']}, {name}: {value}")
    return "\n".join([*lines, "", *notes, "", f"At commit {', '.join(sorted(commits))}."])
