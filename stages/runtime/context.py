"""What a running stage is given besides its config and its inputs."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from stages.runtime.calls import Engines, RememberedGenerator, Tally, Unanswered
from stages.runtime.errors import UserError
from stages.runtime.generation import TooLong
from stages.runtime.models import Model
from stages.runtime.rows import Dropped
from stages.runtime.store import CallStore


class Drop(Exception):
    """Raised by a row's coroutine: this row goes no further, for the given reason."""


@dataclass(frozen=True)
class Forecast:
    """What a step would send, found without sending: `stored` calls are known, `open_rows` need at
    least one more.
    """

    rows: int
    open_rows: int
    stored: int


class ForecastDone(Exception):
    """Ends a stage that was only asked what it would send."""

    def __init__(self, forecast: Forecast):
        self.forecast = forecast


class _Rate(ProgressColumn):
    def render(self, task: Task) -> str:
        return f"{task.speed:.0f} rows/s" if task.speed else ""


@dataclass
class Context:
    """Args:
    step: the step's name.
    directory: the artifact's folder, for models (`directory / "model"`), checkpoints and files
        beside the rows.
    seed: the run's seed.
    store, engines: where calls are remembered and answered.
    loop: runs coroutines; one for the whole run, so that engines survive from step to step.
    forecast: only count which calls are missing.
    concurrency: rows in flight.
    made: names of the steps that this run made before this one; the others were reused. It is no
        part of what a step is, and in the processes of a launched training step it is empty.

    Raises:
        UserError: `concurrency` is no number of rows.
    """

    step: str
    directory: Path
    seed: int
    store: CallStore
    engines: Engines
    loop: asyncio.Runner
    console: Console = field(default_factory=lambda: Console(stderr=True))
    forecast: bool = False
    concurrency: int = 1024
    tally: Tally = field(default_factory=Tally)
    made: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if (
            type(self.concurrency) is not int or self.concurrency < 1
        ):  # no workers would give an artifact without rows
            raise UserError(
                f"{self.concurrency!r} is no number of rows in flight",
                where="generator.concurrency",
                fix="set it to a whole number of at least 1, such as 1024",
            )

    def generator(self, model: Model) -> RememberedGenerator:
        """`model` behind the run's generator, with a memory; nothing is loaded until a call is not
        in the store.
        """
        return RememberedGenerator(self.store, self.engines, model, self.tally, self.forecast)

    def release_engines(self) -> None:
        """Give back the engines' memory, if it is scarce; training stages call this first."""
        self.loop.run(self.engines.make_room())

    def map(
        self, rows: Sequence[Any], chain: Callable[[Any], Awaitable[Any]]
    ) -> tuple[list[Any], list[Dropped]]:
        """Run `chain` on every row, many at a time, with progress.

        A chain returns one row or a list of rows. Results keep the order of `rows`, so neither
        batching nor a resume changes what is written.

        Raises:
            whatever a chain raises except Drop and TooLong, after the others were cancelled. Calls
            already
                answered stay in the store.
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
                    made = await chain(row)
                    results[index] = made if isinstance(made, list) else [made]
                except Drop as reason:
                    dropped[index] = Dropped(id=row.id, reason=str(reason))
                except TooLong:
                    dropped[index] = Dropped(id=row.id, reason="longer than the model's context")
                except Unanswered:
                    open_rows += 1
                progress.advance(task)

        with self._progress() as progress:
            task = progress.add_task(self.step, total=len(rows))
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(self.concurrency, len(rows))):
                        group.create_task(work())
            except (
                BaseExceptionGroup
            ) as failures:  # the first failure cancelled the others; it alone is of interest
                raise failures.exceptions[0] from None
        if self.forecast:
            raise ForecastDone(Forecast(len(rows), open_rows, self.tally.stored))
        return [row for made in results for row in made], [dropped[i] for i in sorted(dropped)]

    def _progress(self) -> Progress:
        return Progress(
            TextColumn("{task.description:>16}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=self.forecast or not self.console.is_terminal,  # a log has no use for bars
        )
