"""What a running stage gets besides its config and its inputs."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from stages.guards.console import open_console
from stages.guards.disk import errors_of_writing
from stages.guards.errors import UserError
from stages.runtime.artifacts import ROWS, list_reasons
from stages.runtime.calls import Engines, RememberedGenerator, Unanswered
from stages.runtime.cost.foreseen import Expense, Foreseen
from stages.runtime.generation import GROUP, CallFailed, RowFailure
from stages.runtime.models import Model
from stages.runtime.progress import progress_bar
from stages.runtime.row_files import StoredRows, write_rows
from stages.runtime.rows import Dropped
from stages.runtime.store import CallStore
from stages.runtime.tally import Tally

SHOW_EVERY = 0.1  # seconds between two states of the progress bar
FEW_FAILURES = 3  # rows that may fail in a step of any size


class Drop(RowFailure):
    """Raised by a row's coroutine: drop this row, for the given reason."""


@dataclass(frozen=True)
class Forecast:
    """What a step would send, counted without sending."""

    rows: int
    """All rows of the step."""
    open_rows: int
    """Rows that need at least one call that is not stored."""
    stored: int
    """Calls that the store answers."""
    new: Expense = field(default_factory=Expense)
    """Calls that it does not answer."""


class ForecastDone(Exception):
    """Ends a stage that only had to count what it would send."""

    def __init__(self, forecast: Forecast):
        self.forecast = forecast


class Failures:
    """The rows of a step that failed because a call was not answered.

    Args:
        step: the step's name.
        rows: all its rows.
        max_failed: the share of them that may fail.
    """

    def __init__(self, step: str, rows: int, max_failed: float):
        self.step = step
        self.rows = rows
        self.max_failed = max_failed
        share = math.floor(max_failed * rows + 1e-9)
        self.allowed = max(share, FEW_FAILURES if max_failed else 0)
        self.reasons: Counter[str] = Counter()
        self.finished = 0
        """Rows with a result so far, failed or not."""

    def add(self, row_id: str, failure: RowFailure) -> None:
        """Count a row, if it was a call that failed.

        Raises:
            UserError: more rows failed than may, or all of them.
        """
        if not isinstance(failure, CallFailed):
            return
        self.reasons[failure.reason] += 1
        failed = self.reasons.total()
        if failed <= self.allowed and failed < self.rows:
            return
        limit = f"of {self.rows} in all; max_failed={self.max_failed:g} allows {self.allowed}"
        raise UserError(
            f"{failed} of the first {self.finished} rows failed ({limit}): "
            f"{list_reasons(self.reasons)}; "
            f"the last one, row {row_id}: {failure.detail or failure.reason}",
            where=f"step {self.step!r}",
            fix="what was answered is kept, and the same command tries the failed calls again: "
            "change what the server's words name (the prompts, generator.options, the server), or "
            "set max_failed to the share of rows that may be left out",
        ) from failure


@dataclass
class Context:
    """What a stage's `run` gets besides its config and its inputs."""

    step: str
    """The step's name."""
    directory: Path
    """The artifact's folder: for `model/`, checkpoints and files beside the rows."""
    seed: int
    """The run's seed."""
    store: CallStore
    """Where the answers of calls are stored."""
    engines: Engines
    """Where calls are answered."""
    loop: asyncio.Runner
    """Runs coroutines; one for the whole run, so that engines survive from step to step."""
    console: Console = field(default_factory=lambda: open_console(stderr=True))
    forecast: bool = False
    """Only count which calls are missing."""
    concurrency: int = 1024
    """How many rows are worked on at the same time."""
    max_failed: float = 0.05
    """The share of a step's rows that may fail because a call was not answered."""
    checkpoint_minutes: float = 10.0
    """The most minutes of a training that a kill may cost; 0: no checkpoints."""
    tally: Tally = field(default_factory=Tally)
    """Calls of the step so far."""
    new_steps: frozenset[str] = frozenset()
    """Names of the steps that this run made before this one; the others were reused.

    It does not change results, and it is empty in the processes of a launched training step.
    """
    failures: Mapping[str, str] = field(default_factory=dict)
    """By name of a step that failed and would have been an input: why; see `Stage.goes_on`."""
    names: Mapping[str, Any] = field(default_factory=dict)
    """How the run names what it is made of: `method`, its pipeline file, and `constitution`.

    Only the report shows them; they do not change results.
    """
    _failures: Failures | None = field(default=None, init=False, repr=False)
    """Of the rows that are worked on."""

    def generator(self, model: Model) -> RememberedGenerator:
        """Return the run's generator for `model`; it answers from the store where it can.

        Nothing is loaded until a call is not in the store.
        """
        return RememberedGenerator(self.store, self.engines, model, self.tally, self.forecast)

    def release_engines(self) -> None:
        """Free the engines' memory, unless several may stay loaded; training calls this first."""
        self.loop.run(self.engines.make_room())

    def store_rows(self, rows: Iterable[Any], row_type: type) -> StoredRows:
        """Write the step's rows as they come, for its `Result`; only a batch is in memory.

        Raises:
            UserError: the disk is full or the folder cannot be written.
        """
        with errors_of_writing(self.directory):
            return write_rows(self.directory / ROWS, rows, row_type)

    def count_failure(self, row_id: str, failure: RowFailure) -> None:
        """Count a row that is kept without the answer to a call.

        To be called by a chain that handles a RowFailure itself, so that `max_failed` sees it.

        Raises:
            UserError: more rows failed than may.
        """
        if self._failures:
            self._failures.add(row_id, failure)

    def map(
        self, rows: Sequence[Any], chain: Callable[[Any], Awaitable[Any]]
    ) -> tuple[list[Any], list[Dropped]]:
        """Run `chain` on every row, many at a time, with progress.

        A chain returns one row or a list of rows. Results keep the order of `rows`, so neither
        batching nor a resume changes what is written.

        Args:
            rows: objects with an `id`.

        Returns:
            The new rows, and the rows that were dropped.

        Raises:
            UserError: more rows failed than `max_failed` allows, or all of them.
            Exception: anything that a chain raises except RowFailure, after the others were
                cancelled. Calls already answered stay in the store.
        """
        return self.loop.run(self._map(rows, chain))

    async def _map(
        self, rows: Sequence[Any], chain: Callable[[Any], Awaitable[Any]]
    ) -> tuple[list[Any], list[Dropped]]:
        results: list[list[Any]] = [[] for _ in rows]
        dropped: dict[int, Dropped] = {}
        failures = self._failures = Failures(self.step, len(rows), self.max_failed)
        open_rows = 0
        waiting = iter(enumerate(rows))
        finished = 0
        shown = 0.0

        foreseen = self.tally.foreseen = Foreseen()

        async def work() -> None:
            nonlocal open_rows, finished, shown
            for index, row in waiting:
                GROUP.set(getattr(row, "pair_id", row.id))
                before = foreseen.count
                try:
                    result = await chain(row)
                    results[index] = result if isinstance(result, list) else [result]
                    failures.finished += 1
                except RowFailure as failure:
                    failures.finished += 1
                    results[index] = list(failure.finished)
                    dropped[index] = Dropped(
                        id=failure.lost or row.id, reason=failure.reason, detail=failure.detail
                    )
                    failures.add(row.id, failure)
                except Unanswered:
                    open_rows += 1
                except Exception as bug:
                    bug.add_note(f"in step {self.step!r}, row {row.id}")
                    raise
                if foreseen.count > before:
                    open_rows += 1
                    foreseen.rows += 1
                finished += 1
                if (now := time.monotonic()) > shown + SHOW_EVERY:
                    shown = now
                    progress.update(task, completed=finished)

        with progress_bar(self.console, "rows", hidden=self.forecast) as progress:
            task = progress.add_task(self.step, total=len(rows), note="")
            try:
                async with asyncio.TaskGroup() as group:
                    # One after the other, a forecast knows whose calls it counts.
                    workers = 1 if self.forecast else self.concurrency
                    for _ in range(min(workers, len(rows))):
                        group.create_task(work())
                progress.update(task, completed=finished)
            except BaseExceptionGroup as errors:  # the first one cancelled the others
                raise errors.exceptions[0] from None
        if self.forecast:
            factor = open_rows / max(1, foreseen.rows)
            new = foreseen.expense(factor, self.tally.mean_text())
            raise ForecastDone(Forecast(len(rows), open_rows, self.tally.stored, new))
        new_rows = [row for result in results for row in result]
        return new_rows, [dropped[index] for index in sorted(dropped)]
