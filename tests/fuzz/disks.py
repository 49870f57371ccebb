"""Runs on disks that are too small, by bytes or by inodes, and go on when there is room.

Each disk is a tmpfs of its own size. It needs root, or a user namespace of one's own:
`unshare -Urm python -m tests.fuzz disk`.
"""

import argparse
import os
import random
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.guards.console import open_console
from tests.fuzz.files import overrides, write_files
from tests.fuzz.forked import import_credo, run_forked
from tests.fuzz.killed import check_folder, compare, contents
from tests.fuzz.kind import Wrong
from tests.fuzz.lane import Report
from tests.fuzz.meter import meter
from tests.fuzz.pool import TRACEBACK, Outcome
from tests.fuzz.served import Served, serving

IN_FLIGHT = 8
FULL = re.compile(r"(?i)no space left|disk is full|cannot grow|space")
"""What a message about a full disk says."""


@dataclass
class Disks:
    """What all disks share."""

    folder: Path
    server: Served
    expected: dict[str, Any] = field(default_factory=dict)
    full_bytes: int = 0
    full_inodes: int = 0
    again: int = 0
    fits: int = 0

    def run(self, runs_dir: Path) -> tuple[int, str]:
        """Return the exit code and the words of a run."""
        log = self.folder / "output.txt"
        arguments = overrides("fuzz_texts", self.folder / "files", runs_dir)
        arguments += [*self.server.options, f"generator.concurrency={IN_FLIGHT}"]
        return run_forked(arguments, log), log.read_text(errors="replace")

    def run_unharmed(self) -> None:
        """Run once with room, to compare with and to learn how much is needed."""
        runs_dir = self.folder / "whole"
        code, words = self.run(runs_dir)
        assert code == 0, words
        self.expected = contents(runs_dir)
        paths = list(runs_dir.rglob("*"))
        pages = [-(-path.stat().st_size // 4096) for path in paths if path.is_file()]
        self.full_bytes, self.full_inodes = 4096 * sum(pages), len(paths)

    def fill(self, limit: str) -> str:
        """Run on a small disk, then with room; return what happened first.

        Raises:
            Wrong: no clear message, or something is lost.
        """
        disk = self.folder / "disk"
        disk.mkdir(exist_ok=True)
        self.server.ask("/forget")
        mount(disk, limit)
        try:
            code, words = self.run(disk / "runs")
            if TRACEBACK in words or code not in (0, 2) or (code == 2 and not FULL.search(words)):
                raise Wrong(f"exit code {code}:\n{words[-3000:]}")
            self.fits += code == 0
            mount(disk, "remount,size=1g,nr_inodes=100k")
            code_with_room, words = self.run(disk / "runs")
            if code_with_room != 0:
                raise Wrong(f"exit code {code_with_room} with room:\n{words[-3000:]}")
            compare(self.expected, disk / "runs")
            check_folder(disk / "runs")
            counts = self.server.ask("/counts")
            again = counts["sent"] - counts["different"]
            self.again += again
            if again > IN_FLIGHT:
                raise Wrong(f"{again} calls were sent again")
        finally:
            subprocess.run(["umount", "-l", disk], check=True)
        return "accepted" if code == 0 else "refused"


def mount(disk: Path, options: str) -> None:
    """Mount a tmpfs, or change the size of one."""
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
    subprocess.run(command, check=True, capture_output=True)


def may_mount(folder: Path) -> bool:
    """Return whether this process may mount."""
    folder.mkdir()
    try:
        mount(folder, "size=1m")
    except (OSError, subprocess.CalledProcessError):
        return False
    subprocess.run(["umount", folder], check=True)
    return True


def run(seed: int, options: argparse.Namespace) -> Report:
    """Fill as many disks as asked: three quarters by bytes, one by inodes."""
    report = Report("disk", seed)
    console = open_console(stderr=True)
    folder = Path(tempfile.mkdtemp(prefix="disks-"))
    if not may_mount(folder / "try"):
        console.print(
            "disk: skipped; mounting needs root, or: unshare -Urm python -m tests.fuzz disk"
        )
        return report
    os.environ["OMP_NUM_THREADS"] = "1"
    draws = random.Random(seed)
    started = time.monotonic()
    write_files(folder / "files", requests=12)
    import_credo()
    with serving() as server, meter("disk", options.sizes, "disks") as show_progress:
        disks = Disks(folder, server)
        disks.run_unharmed()
        for number in range(options.sizes):
            share = (number + draws.random()) / options.sizes * 1.05
            limit = f"size={max(int(share * disks.full_bytes), 4096)}"
            if number % 4 == 3:
                limit = f"size=1g,nr_inodes={max(int(share * disks.full_inodes), 3)}"
            moment = time.monotonic()
            try:
                outcome = Outcome(number, disks.fill(limit))
            except Wrong as error:
                place = re.sub(r"\d+", "N", str(error).partition("\n")[0])[:120]
                outcome = Outcome(number, "wrong", f"{limit}: {error}", place=place)
            outcome.seconds = time.monotonic() - moment
            report.add(outcome)
            show_progress(report.tried, report.note or limit)
    report.figures = {"fits": disks.fits, "sent_again": disks.again, "bytes": disks.full_bytes}
    report.seconds = time.monotonic() - started
    shutil.rmtree(folder)
    return report
