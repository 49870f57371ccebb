"""Attempts in worker processes that may hang, crash or run out of memory."""

import contextlib
import faulthandler
import multiprocessing
import multiprocessing.connection
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from stages.guards.errors import UserError
from tests.fuzz.kind import Kind, Wrong

FINE = ("accepted", "refused")
FINDINGS = ("traceback", "wrong", "hang", "crash", "memory")
TRACEBACK = "Traceback (most recent call last)"
LONGEST_MESSAGE = 20_000
"""Characters of a message that a person may still be expected to read."""


@dataclass
class Outcome:
    """What became of one input."""

    number: int
    outcome: str
    """One of FINE or FINDINGS."""
    detail: str = ""
    seconds: float = 0.0
    place: str = ""
    """Where it was raised; findings of one place are one fault."""


def attempt(kind: Kind, name: str, seed: int, number: int, folder: Path) -> Outcome:
    """Try one input in this process."""
    started = time.monotonic()
    outcome, detail, place = "accepted", "", ""
    try:
        detail = kind.attempt(Random(f"{name} {seed} {number}"), folder) or ""
    except UserError as error:
        outcome, detail = "refused", str(error)
        if len(detail) > LONGEST_MESSAGE:
            outcome, place = "wrong", "a message that nobody reads to its end"
    except Wrong as error:
        outcome, detail, place = "wrong", str(error), str(error)[:100]
    except SystemExit as error:
        outcome, detail = "refused", f"exit code {error.code}"
        if error.code in (0, None):
            outcome = "accepted"
        elif error.code != 2:
            outcome, place = "traceback", detail
    except MemoryError:
        outcome, detail, place = "memory", traceback.format_exc(), where_raised(sys.exc_info()[1])
    except BaseException as error:
        outcome, detail, place = "traceback", traceback.format_exc(), where_raised(error)
    return Outcome(number, outcome, detail, time.monotonic() - started, place)


def where_raised(error: BaseException | None) -> str:
    """Return the type of an exception and the last line of Credo's that it passed."""
    if error is None:
        return ""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/stages/" in frame.filename] or list(frames)
    last = ours[-1] if ours else None
    place = f"{last.filename.partition('/stages/')[2]}:{last.lineno}" if last else ""
    return f"{type(error).__name__} at {place}"


@dataclass
class Worker:
    """A process that tries one input after the other; it is replaced when it is lost."""

    kind: Kind
    name: str
    seed: int
    scratch: Path
    busy: int | None = None
    """The number that it works on."""
    since: float = 0.0
    deadline: float = 0.0
    """Seconds, for the input that it works on."""
    folder: Path = field(init=False)

    def __post_init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=self.scratch))
        self.start()

    def start(self) -> None:
        """Fork: the imports of the parent are there at once."""
        fork = multiprocessing.get_context("fork")
        self.pipe, theirs = fork.Pipe()
        arguments = (self.kind, self.name, self.seed, self.folder, theirs)
        self.process = fork.Process(target=_work, args=arguments, daemon=False)
        self.process.start()
        theirs.close()

    def give(self, number: int, deadline: float) -> None:
        """Start on an input."""
        self.busy, self.since, self.deadline = number, time.monotonic(), deadline
        self.pipe.send((number, deadline))

    def answer(self) -> Outcome | None:
        """What became of the input; None while it may still be tried."""
        assert self.busy is not None
        seconds = time.monotonic() - self.since
        try:
            if self.pipe.poll():
                return self._free(self.pipe.recv())
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode or 0
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            lost = Outcome(self.busy, "crash", f"{how}\n{self.output()}", seconds, how)
            return self._replace(lost)
        if seconds < self.deadline:
            return None
        stack = (self.folder / "stack").read_text(errors="replace")
        lost = Outcome(self.busy, "hang", stack, seconds, _last_line_of_ours(stack))
        return self._replace(lost)

    def output(self) -> str:
        """The end of what it has printed."""
        with contextlib.suppress(OSError):
            return (self.folder / "output").read_text(errors="replace")[-2000:]
        return ""

    def stop(self) -> None:
        """End the process and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid or 0, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid or 0, signal.SIGKILL)
        self.process.join()
        self.pipe.close()

    def _free(self, outcome: Outcome) -> Outcome:
        self.busy = None
        return outcome

    def _replace(self, outcome: Outcome) -> Outcome:
        self.stop()
        self.start()
        return self._free(outcome)


def _last_line_of_ours(stack: str) -> str:
    lines = re.findall(r'File "[^"]*/(stages/[^"]+)", line (\d+)', stack)
    return f"at {lines[0][0]}:{lines[0][1]}" if lines else "elsewhere"


def _work(kind: Kind, name: str, seed: int, folder: Path, pipe: Any) -> None:
    """Try inputs until the parent is gone."""
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + kind.memory
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    output = os.open(folder / "output", os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    home = os.getcwd()
    environment = dict(os.environ)
    with open(folder / "stack", "w") as stack:
        while True:
            try:
                number, deadline = pipe.recv()
            except EOFError:
                return
            os.ftruncate(output, 0)
            place = folder / str(number)
            _remove(place)  # of the process before, if it hung
            place.mkdir()
            faulthandler.dump_traceback_later(max(deadline - 0.5, 0.1), file=stack)
            outcome = attempt(kind, name, seed, number, place)
            faulthandler.cancel_dump_traceback_later()
            sys.stdout.flush()
            sys.stderr.flush()
            printed = (folder / "output").read_text(errors="replace")
            if outcome.outcome in FINE and TRACEBACK in printed:
                outcome = Outcome(
                    number, "traceback", printed[-4000:], outcome.seconds, printed.strip()[-80:]
                )
            os.chdir(home)
            if os.environ != environment:
                os.environ.clear()
                os.environ.update(environment)
            pipe.send(outcome)
            _remove(place)


def _remove(folder: Path) -> None:
    """Remove a folder whatever is in it, also folders that may not be read."""
    for path, _, _ in os.walk(folder):
        with contextlib.suppress(OSError):
            os.chmod(path, 0o700)
    shutil.rmtree(folder, ignore_errors=True)


def busyness() -> float:
    """Return how many processes share one processor, at least 1."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def run_attempts(
    kind: Kind, name: str, seed: int, numbers: range, jobs: int, until: float
) -> Iterator[Outcome]:
    """Try inputs in `jobs` processes; yield what became of each, in the order in which they end.

    An input that hung is tried once more, on a busy machine with more time.

    Args:
        until: no input is started after this moment (of time.monotonic).
    """
    waiting = list(reversed(numbers))
    again: set[int] = set()
    scratch = Path(tempfile.mkdtemp(prefix="fuzz-"))
    workers = [Worker(kind, name, seed, scratch) for _ in range(min(jobs, len(waiting)))]
    try:
        while waiting or any(worker.busy is not None for worker in workers):
            for worker in workers:
                if worker.busy is None and waiting:
                    number = waiting.pop()
                    worker.give(number, kind.deadline * (busyness() if number in again else 1))
            busy = [worker for worker in workers if worker.busy is not None]
            multiprocessing.connection.wait([worker.pipe for worker in busy], timeout=0.5)
            for worker in busy:
                outcome = worker.answer()
                if outcome is None:
                    continue
                if outcome.outcome == "hang" and outcome.number not in again:
                    again.add(outcome.number)
                    waiting.append(outcome.number)
                    continue
                yield outcome
            if time.monotonic() > until:
                waiting = [number for number in waiting if number in again]
    finally:
        for worker in workers:
            worker.stop()
        _remove(scratch)
