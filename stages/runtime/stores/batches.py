"""Work that takes a journey over a network, done for many at once.

While one journey is under way, what arrives waits, and the next journey takes all of it. So the
event loop never waits for the network, and its cost for each is small.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

A = TypeVar("A")
B = TypeVar("B")
MOST_ITEMS = 5_000
"""Of one journey."""


@dataclass(frozen=True, slots=True)
class _Entry(Generic[A, B]):
    item: A
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[B]


class Batches(Generic[A, B]):
    """A thread that does work for all that has arrived, one batch after the other.

    Args:
        work: returns a result for each item.
    """

    def __init__(self, work: Callable[[Sequence[A]], Sequence[B]]):
        self._work = work
        self._queue: SimpleQueue[_Entry[A, B] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def add(self, item: A) -> B:
        """Return the result of an item.

        A caller that is cancelled does not take the item back.

        Raises:
            Exception: what the work of its batch raises.
        """
        if not self._thread:
            self._thread = threading.Thread(target=self._serve, daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[B] = loop.create_future()
        self._queue.put(_Entry(item, loop, future))
        return await future

    def close(self) -> None:
        """Return when all that has arrived is done."""
        if self._thread:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _serve(self) -> None:
        is_open = True
        while is_open:
            batch = [self._queue.get()]
            with contextlib.suppress(Empty):
                while len(batch) < MOST_ITEMS:
                    batch.append(self._queue.get_nowait())
            items = [entry for entry in batch if entry]
            is_open = len(items) == len(batch)
            if items:
                self._serve_batch(items)

    def _serve_batch(self, batch: list[_Entry[A, B]]) -> None:
        results: Sequence[B] = []
        error: BaseException | None = None
        try:
            results = self._work([entry.item for entry in batch])
        except BaseException as caught:
            error = caught
        for loop in {entry.loop for entry in batch}:
            answers = list(zip_longest(batch, results))
            own = [(entry.future, result) for entry, result in answers if entry.loop is loop]
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(_resolve, own, error)


def _resolve(
    answers: list[tuple[asyncio.Future[B], B | None]], error: BaseException | None
) -> None:
    """Wake those who wait, in their own thread, and all at once: waking a thread is what costs."""
    for future, result in answers:
        if future.done():  # its caller was cancelled
            continue
        if error:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]
