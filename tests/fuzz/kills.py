"""Kill runs over all stages of texts and preferences at random moments, until they are done.

In a life, the same command is started and ended until its kills are used up, and then left to
finish; in some lives two runs share the folder. Afterwards the rows must be those of an
uninterrupted run, and only what was in flight at a kill may have been sent twice.
"""

import argparse
import random
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz.files import overrides, write_files
from tests.fuzz.killed import Run, check_folder, compare, contents, draw_signal
from tests.fuzz.kind import Wrong
from tests.fuzz.lane import Report
from tests.fuzz.meter import meter
from tests.fuzz.pool import Outcome
from tests.fuzz.served import Served, serving

IN_FLIGHT = 8
"""Rows that a run works on at the same time."""
DELAY = 0.02
"""The most seconds that the server takes for an answer."""
MOST_KILLS = 12
"""In one life."""


@dataclass
class Chaos:
    """What all lives share."""

    folder: Path
    server: Served
    draws: random.Random
    report: Report
    span: float = 0.0
    """Seconds that an uninterrupted run takes."""
    expected: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)

    def start(self, runs_dir: Path, number: int) -> Run:
        """Start a run in a folder that other runs may have been killed in."""
        arguments = overrides("fuzz_texts", self.folder / "files", runs_dir)
        arguments += [*self.server.options, f"generator.concurrency={IN_FLIGHT}"]
        return Run(arguments, self.folder / "output" / f"{runs_dir.name}-{number}.txt")

    def run_unharmed(self) -> None:
        """Run once to the end, to compare with."""
        started = time.monotonic()
        runs_dir = self.folder / "whole"
        self.start(runs_dir, 0).finish()
        self.span = time.monotonic() - started
        self.expected = contents(runs_dir)
        self.figures = {"calls": self.server.ask("/counts")["sent"], "sent_again": 0, "lives": 0}

    def live(self, number: int, kills: int) -> None:
        """One life; raises Wrong if something is lost, sent too often, or stays."""
        runs_dir = self.folder / f"life-{number}"
        at_once = 2 if self.draws.random() < 0.25 else 1
        self.server.ask("/forget")
        ended = starts = finished = 0
        while ended < kills:
            runs = [self.start(runs_dir, starts + index) for index in range(at_once)]
            starts += at_once
            before = ended
            for run in runs:
                time.sleep(self.draws.random() * self.span * 1.05 / at_once)
                if run.is_over:
                    run.finish()
                    finished += 1
                    continue
                seconds = run.end(draw_signal(self.draws))
                ended += 1
                self.report.add(Outcome(self.report.tried, "accepted", seconds=seconds))
            if ended == before:  # it is done; the rest of the kills fall into another life
                break
        runs = [self.start(runs_dir, starts + index) for index in range(at_once)]
        for run in runs:
            run.finish()
        self.check(runs_dir, ended, finished + at_once)
        shutil.rmtree(runs_dir)

    def check(self, runs_dir: Path, ended: int, finished: int) -> None:
        """Look at what a life has left."""
        compare(self.expected, runs_dir)
        check_folder(runs_dir)
        counts = self.server.ask("/counts")
        again = counts["sent"] - counts["different"]
        self.figures["sent_again"] += again
        self.figures["lives"] += 1
        if counts["different"] != self.figures["calls"]:
            raise Wrong(f"{counts['different']} calls in place of {self.figures['calls']}")
        if again > ended * IN_FLIGHT:
            raise Wrong(f"{again} calls were sent again after {ended} kills")
        manifests = len(list(runs_dir.glob("logs/*/run.json")))
        if manifests < finished:
            raise Wrong(f"{manifests} run.json of {finished} finished runs")


def run(seed: int, options: argparse.Namespace) -> Report:
    """Kill as often as asked."""
    report = Report("chaos", seed)
    kills = options.kills or 200
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    write_files(folder / "files")
    with serving(DELAY) as server, meter("chaos", kills, "kills") as show_progress:
        chaos = Chaos(folder, server, random.Random(seed), report)
        chaos.run_unharmed()
        life = 0
        while report.tried < kills:
            life += 1
            most = min(chaos.draws.randint(1, MOST_KILLS), kills - report.tried)
            try:
                chaos.live(life, most)
            except Wrong as error:
                place = str(error).partition("\n")[0][:120]
                where = f"{error}\nlife {life}: see {folder}"
                report.add(Outcome(report.tried, "wrong", where, place=place))
            show_progress(report.tried, report.note)
    report.figures = chaos.figures
    report.seconds = time.monotonic() - started
    if not report.failed:
        shutil.rmtree(folder)
    return report
