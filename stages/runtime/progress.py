"""The one progress bar (name, bar, count, rate, time spent, time left), and the same in a file.

A run writes `status.json` into its folder, where a second terminal, a script or a colleague can
read it: the state, the step and its place among the steps, how much of it is done and what is left.
The file is replaced as a whole, at most once a second while a step counts, so a reader never meets
half of it. The run holds the lock `status.lock` beside it: a file that says `running` without the
lock is that of a run that was killed. A status that cannot be written stops nothing.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from stages.guards.console import styled
from stages.guards.disk import write_atomically
from stages.guards.errors import UserError
from stages.guards.locks import hold_lock
from stages.guards.secrets import mask

STATUS, STATUS_LOCK = "status.json", "status.lock"
PLANNING, RUNNING, FINISHED = "planning", "running", "finished"
FAILED, INTERRUPTED = "failed", "interrupted"
"""What `state` in a status can be."""
SECONDS = 1.0
"""The least time between two counts in a status."""
LONGEST_ERROR = 300


class StatusFile:
    """The status of a run, as it stands in its folder."""

    def __init__(self, folder: Path):
        self.path = folder / STATUS
        self.facts: dict[str, Any] = {
            "state": PLANNING,
            "pid": os.getpid(),
            "started": _now(),
        }
        self._due = 0.0

    def write(self, **facts: Any) -> None:
        """Add facts and replace the file."""
        self.facts |= facts
        self.facts["updated"] = _now()
        self._due = time.monotonic() + SECONDS
        with suppress(UserError):
            text = json.dumps(self.facts, indent=1)
            write_atomically(self.path, text, survives_power_cut=False)

    def count(self, task: Task, unit: str) -> None:
        """Write how far a step is, if the last count is a second old or the step is done."""
        is_last = task.completed == task.total != self.facts.get("done")
        if time.monotonic() < self._due and not is_last:
            return
        self.write(
            unit=unit,
            done=task.completed,
            total=task.total,
            rate=round(task.speed, 2) if task.speed else None,
            left=task.time_remaining,
        )


_STATUS: ContextVar[StatusFile | None] = ContextVar("_STATUS", default=None)


@contextmanager
def show_status(folder: Path) -> Iterator[None]:
    """Have a run's folder hold its status while the run goes on, and how it ended.

    Raises:
        UserError: the lock beside it cannot be created.
    """
    with hold_lock(folder / STATUS_LOCK):
        status = StatusFile(folder)
        status.write()
        token = _STATUS.set(status)
        try:
            yield
        except (KeyboardInterrupt, SystemExit):  # Ctrl-C, or SIGTERM in a training
            status.write(state=INTERRUPTED)
            raise
        except Exception as error:
            status.write(state=FAILED, error=mask(str(error))[:LONGEST_ERROR])
            raise
        else:
            status.write(state=FINISHED)
        finally:
            _STATUS.reset(token)


def report(**facts: Any) -> None:
    """Add facts to the status of the run, if it has one; what was counted before is left out."""
    status = _STATUS.get()
    if status:
        counts = ("unit", "done", "total", "rate", "left")
        status.write(**(dict.fromkeys(counts) | facts))


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


class _Rate(ProgressColumn):
    def __init__(self, unit: str):
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> str:
        if not task.speed:
            return ""
        digits = 0 if task.speed >= 10 else 1
        return f"{task.speed:.{digits}f} {self.unit}/s"


class _Words(ProgressColumn):
    """A task's description, or its field `note`, as it is: rich's own column reads markup."""

    def __init__(self, field: str = ""):
        super().__init__()
        self.field = field

    def render(self, task: Task) -> Text:
        return styled(task.fields[self.field] if self.field else f"{task.description:>16}")


class _Reported(Progress):
    """A bar whose counts also go into the status of the run."""

    def __init__(self, *columns: ProgressColumn, status: StatusFile, unit: str, **options: Any):
        self.status, self.unit = status, unit
        super().__init__(*columns, **options)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        super().advance(task_id, advance)
        self.status.count(self._tasks[task_id], self.unit)

    def update(self, task_id: TaskID, **fields: Any) -> None:
        super().update(task_id, **fields)
        if "completed" in fields:
            self.status.count(self._tasks[task_id], self.unit)


def progress_bar(console: Console, unit: str, hidden: bool = False) -> Progress:
    """A bar that disappears when it is done, to be used as a context manager.

    A task may have the field `note`: a text shown at the end of its line.

    Args:
        unit: what is counted, such as "rows".
        hidden: show nothing. A console that is not a terminal shows nothing either: logs have no
            use for bars.
    """
    columns = (
        _Words(),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(unit),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        _Words("note"),
    )
    shown: dict[str, Any] = {
        "console": console,
        "transient": True,
        "disable": hidden or not console.is_terminal,
    }
    status = _STATUS.get()
    if status is None or hidden:
        return Progress(*columns, **shown)
    return _Reported(*columns, status=status, unit=unit, **shown)
