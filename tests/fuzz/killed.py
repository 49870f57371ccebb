"""Start real runs, end them by a signal, and look at what they leave."""

import contextlib
import fcntl
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz.kind import Wrong
from tests.fuzz.pool import TRACEBACK

ROOT = Path(__file__).resolve().parents[2]
SIGNALS = [signal.SIGKILL] * 3 + [signal.SIGTERM, signal.SIGINT]
SECONDS_TO_END = 20.0
"""After SIGTERM or SIGINT."""
LONGEST_RUN = 300.0
"""Seconds, without a kill."""
SAME = ("payload", "rows", "dropped")
"""What the manifests of two equal artifacts share; those of rows also share their metrics."""


@dataclass
class Run:
    """One process of run.py, the leader of a session of its own."""

    arguments: list[str]
    log: Path
    process: subprocess.Popen = field(init=False)

    def __post_init__(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "run.py", *self.arguments],
                cwd=ROOT,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env=os.environ | {"OMP_NUM_THREADS": "1", "HYDRA_FULL_ERROR": "0"},
            )

    @property
    def is_over(self) -> bool:
        """Whether it has ended by itself."""
        return self.process.poll() is not None

    def wait(self, seconds: float) -> bool:
        """Return whether it has ended within this time."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        return self.is_over

    def finish(self) -> None:
        """Wait until it is done; raises Wrong if it fails."""
        if not self.wait(LONGEST_RUN):
            self.end(signal.SIGKILL)
            raise Wrong(f"a run did not end within {LONGEST_RUN:.0f} s:\n{self.output()}")
        if self.process.returncode != 0:
            raise Wrong(f"a run ended with {self.process.returncode}:\n{self.output()}")
        self.refuse_leftovers()

    def end(self, how: signal.Signals) -> float:
        """Send a signal and return the seconds until the process and its children are gone.

        Raises:
            Wrong: they are not, or it shows a traceback.
        """
        started = time.monotonic()
        self.process.send_signal(how)
        if not self.wait(SECONDS_TO_END):
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise Wrong(f"{how.name} did not end a run within {SECONDS_TO_END:.0f} s")
        seconds = time.monotonic() - started
        self.refuse_leftovers()
        if TRACEBACK in self.output():
            raise Wrong(f"a traceback after {how.name}:\n{self.output()}")
        return seconds

    def refuse_leftovers(self) -> None:
        """Raise Wrong if a process of its session outlives it for more than a few seconds."""
        deadline = time.monotonic() + SECONDS_TO_END
        while processes := processes_of(self.process.pid):
            if time.monotonic() > deadline:
                os.killpg(self.process.pid, signal.SIGKILL)
                raise Wrong(f"processes outlive their run: {processes}")
            time.sleep(0.02)

    def output(self) -> str:
        """The end of what it has printed."""
        return self.log.read_text(errors="replace")[-6000:]


def processes_of(session: int) -> list[str]:
    """Return the names of a session's processes that are still there."""
    names = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            name, _, rest = (folder / "stat").read_text().partition("(")[2].rpartition(")")
            state, _, _, its_session = rest.split()[:4]
            if int(its_session) == session and state != "Z":
                names.append(name)
    return names


def draw_signal(draws: random.Random) -> signal.Signals:
    """Return one of the signals that end a process."""
    return draws.choice(SIGNALS)


def contents(runs_dir: Path) -> dict[str, Any]:
    """Return what must be equal however often a run was killed: rows, and facts of manifests."""
    things: dict[str, Any] = {}
    for path in sorted(runs_dir.glob("artifacts/*/*")):
        name = f"{path.parent.name}/{path.name}"
        if path.suffix == ".parquet":
            things[name] = path.read_bytes()
        elif path.name == "manifest.json":
            manifest = json.loads(path.read_text())
            has_rows = manifest["rows"] is not None  # pages and logs hold times
            keys = (*SAME, "metrics") if has_rows else SAME
            things[name] = {key: manifest[key] for key in keys}
            reading = manifest["metrics"].get("reading", {})
            reading.pop("source", None)  # each run has its own folder
    return things


def compare(expected: dict[str, Any], runs_dir: Path) -> None:
    """Raise Wrong where an uninterrupted run left something else."""
    there = contents(runs_dir)
    different = {name for name in expected if there.get(name) != expected[name]}
    different |= there.keys() - expected.keys()
    if different:
        raise Wrong(f"not as after an uninterrupted run: {', '.join(sorted(different))}")


def check_folder(runs_dir: Path) -> None:
    """Raise Wrong for half-written files, locks that are held, and a damaged store."""
    partial = [path.name for path in runs_dir.rglob("*.partial")]
    if partial:
        raise Wrong(f"half-written files stay: {', '.join(partial)}")
    for path in [*runs_dir.glob("*.lock"), *runs_dir.glob("artifacts/.locks/*")]:
        with path.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Wrong(f"a lock outlives its run: {path.name}") from None
    with contextlib.closing(sqlite3.connect(runs_dir / "calls.sqlite")) as store:
        state = store.execute("PRAGMA integrity_check").fetchone()[0]
    if state != "ok":
        raise Wrong(f"the store is damaged: {state}")
