"""How far a run of the lane is: a bar in a terminal, a line now and then in a log."""

import contextlib
import time
from collections.abc import Callable, Iterator

from stages.guards.console import open_console
from stages.runtime.progress import progress_bar

PAUSE = 30.0
"""Seconds between two lines."""


@contextlib.contextmanager
def meter(name: str, total: int, unit: str, quiet: bool = False) -> Iterator[Callable]:
    """Give a function that shows how many of `total` are done, and a note."""
    console = open_console(stderr=True)
    started = shown = time.monotonic()
    with progress_bar(console, unit, hidden=quiet) as bar:
        task = bar.add_task(name, total=total, note="")

        def show(done: int, note: str = "") -> None:
            nonlocal shown
            bar.update(task, completed=done, note=note)
            now = time.monotonic()
            if quiet or console.is_terminal or not done or now - shown < PAUSE:
                return
            shown = now
            rate = done / (now - started)
            left = (total - done) / rate
            words = f"{name}: {done:,} of {total:,} {unit}, {rate:.1f}/s, {left:.0f} s left"
            console.print(f"{words}, {note}" if note else words)

        yield show
