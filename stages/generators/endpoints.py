"""Which endpoint takes the next request, and what becomes of one that fails."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from stages.runtime.errors import UserError

T = TypeVar("T")
LONGEST_PAUSE = 30.0


class Failed(Exception):
    """An attempt that another one may heal.

    `pause` is what the server wishes, in seconds. `blameless`: the request never got to work, so it
    may be sent again without end (a full or an unreachable server).
    """

    def __init__(self, reason: str, pause: float = 0.0, blameless: bool = False):
        self.pause, self.blameless = pause, blameless
        super().__init__(reason)


@dataclass
class Endpoint:
    """`failures` are those in a row; while there are any, one request at a time tries the endpoint,
    after `until`.

    An answer ends that at once, but not the pause that the server itself has `wished` for.
    """

    base: str
    in_flight: int = 0
    failures: int = 0
    until: float = 0.0
    wished: float = 0.0
    failed_at: float = 0.0
    last_error: str = ""


class Pool:
    """Endpoints of one model.

    Args:
        endpoints: at least one.
        concurrency: requests in flight at each.
        max_retries: further attempts for a request; also the failures in a row after which an
            endpoint is dead.
        backoff: first pause in seconds.
    """

    def __init__(
        self, endpoints: list[Endpoint], concurrency: int, max_retries: int, backoff: float
    ):
        self.endpoints, self.concurrency, self.max_retries, self.backoff = (
            endpoints,
            concurrency,
            max_retries,
            backoff,
        )
        self._slots = asyncio.Semaphore(concurrency * len(endpoints))
        self._waiters: list[asyncio.Future[None]] = []

    def names(self) -> str:
        """All endpoints, for a message."""
        return ", ".join(endpoint.base for endpoint in self.endpoints)

    async def run(self, attempt: Callable[[Endpoint], Awaitable[T]]) -> T:
        """Try until one endpoint answers.

        Raises:
            UserError: the servers failed this request `max_retries` + 1 times, or every endpoint is
            dead.
        """
        failed = 0
        async with self._slots:
            while True:
                endpoint = await self._take()
                started = time.monotonic()
                try:
                    answer = await attempt(endpoint)
                except Failed as error:
                    self._note_failure(endpoint, error, started)
                    failed += not error.blameless
                    if failed > self.max_retries:
                        raise UserError(
                            f"a request failed {failed} times, last with: {error}",
                            where=endpoint.base,
                            fix="look at that server's log; what was answered is kept, so run again once it is well",
                        ) from error
                else:
                    endpoint.failures, endpoint.until = 0, endpoint.wished
                    return answer
                finally:
                    endpoint.in_flight -= 1
                    for waiter in self._waiters:
                        if not waiter.done():
                            waiter.set_result(None)
                    self._waiters.clear()

    async def _take(self) -> Endpoint:
        """The endpoint with the fewest requests in flight, of those that are well or due for a
        trial.
        """
        while True:
            if all(endpoint.failures > self.max_retries for endpoint in self.endpoints):
                errors = "; ".join(
                    f"{endpoint.base}: {endpoint.last_error}" for endpoint in self.endpoints
                )
                raise UserError(
                    f"no endpoint answers ({errors})",
                    where="generator.options.endpoints",
                    fix="start the servers, or correct the addresses, and run again: what was answered is kept",
                )
            now = time.monotonic()
            free = [
                endpoint
                for endpoint in self.endpoints
                if now >= endpoint.until
                and endpoint.in_flight < (1 if endpoint.failures else self.concurrency)
            ]
            if free:
                best = min(free, key=lambda endpoint: (endpoint.in_flight, endpoint.failures))
                best.in_flight += 1
                return best
            due = min(
                (endpoint.until - now for endpoint in self.endpoints if endpoint.until > now),
                default=1.0,
            )
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await asyncio.wait([waiter], timeout=due)

    def _note_failure(self, endpoint: Endpoint, error: Failed, started: float) -> None:
        endpoint.last_error = str(error)
        # A server that dies takes all its requests with it: that is one failure, not sixty-four.
        if started < endpoint.failed_at:
            return
        endpoint.failures += 1
        pause = min(LONGEST_PAUSE, self.backoff * 2 ** (endpoint.failures - 1)) * random.uniform(
            0.75, 1.25
        )
        endpoint.failed_at = time.monotonic()
        endpoint.wished = endpoint.failed_at + error.pause
        endpoint.until = endpoint.failed_at + max(pause, error.pause)
