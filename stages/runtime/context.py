"""What a running stage gets besides its config and its inputs."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from stages.runtime.calls import Engines, RememberedGenerator, Tally, Unanswered
from stages.runtime.generation import RowFailure
from stages.runtime.models import Model
from stages.runtime.progress import progress_bar
from stages.runtime.rows import Dropped
from stages.runtime.store import CallStore


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


class ForecastDone(Exception):
    """Ends a stage that only had to count what it would send."""

    def __init__(self, forecast: Forecast):
        self.forecast = forecast


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
    console: Console = field(default_factory=lambda: Console(stderr=True))
    forecast: bool = False
    """Only count which calls are missing."""
    concurrency: int = 1024
    """How many rows are worked on at the same time."""
    tally: Tally = field(default_factory=Tally)
    """Calls of the step so far."""
    new_steps: frozenset[str] = frozenset()
    """Names of the steps that this run made before this one; the others were reused.

    It does not change results, and it is empty in the processes of a launched training step.
    """

    def generator(self, model: Model) -> RememberedGenerator:
        """Return the run's generator for `model`; it answers from the store where it can.

        Nothing is loaded until a call is not in the store.
        """
        return RememberedGenerator(self.store, self.engines, model, self.tally, self.forecast)

    def release_engines(self) -> None:
        """Free the engines' memory, unless several may stay loaded; training calls this first."""
        self.loop.run(self.engines.make_room())

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
            Exception: anything that a chain raises except RowFailure, after the others were
                cancelled. Calls already answered stay in the store.
        """
        return self.loop.run(self._map(rows, chain))

    async def _map(
        self, rows: Sequence[Any], chain: Callable[[Any], Awaitable[Any]]
    ) -> tuple[list[Any], list[Dropped]]:
        results: list[list[Any]] = [[] for _ in rows]
        dropped: dict[int, Dropped] = {}
        open_rows = 0
        waiting = iter(enumerate(rows))

        async def work() -> None:
            nonlocal open_rows
            for index, row in waiting:
                try:
                    result = await chain(row)
                    results[index] = result if isinstance(result, list) else [result]
                except RowFailure as failure:
                    results[index] = list(failure.finished)
                    dropped[index] = Dropped(
                        id=failure.lost or row.id, reason=failure.reason, detail=failure.detail
                    )
                except Unanswered:
                    open_rows += 1
                progress.advance(task)

        with progress_bar(self.console, "rows", hidden=self.forecast) as progress:
            task = progress.add_task(self.step, total=len(rows), note="")
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(self.concurrency, len(rows))):
                        group.create_task(work())
            except BaseExceptionGroup as failures:  # the first one cancelled the others
                raise failures.exceptions[0] from None
        if self.forecast:
            raise ForecastDone(Forecast(len(rows), open_rows, self.tally.stored))
        new_rows = [row for result in results for row in result]
        return new_rows, [dropped[index] for index in sorted(dropped)]
