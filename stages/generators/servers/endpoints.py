"""Which endpoint takes the next request, and what happens to an endpoint that fails.

A request that fails again and again is that row's trouble as long as an endpoint answers something:
before the last endpoint counts as dead, it is asked a short question. Requests of one group go to
one endpoint as long as it can take them.
"""

import asyncio
import hashlib
import random
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import TypeVar

from stages.guards.console import open_console
from stages.guards.errors import UserError
from stages.runtime.generation import GROUP, CallFailed

T = TypeVar("T")
LONGEST_PAUSE = 30.0  # seconds
LONG_PAUSE = 5.0  # seconds; such a pause is shown
MOST_PLACES = 10_000
"""Groups of calls whose endpoint is remembered; of others the hash decides again."""


class Failed(Exception):
    """An attempt that failed where another one may succeed.

    Args:
        reason: what happened.
        pause: what the server requests, in seconds.
        blameless: the server never worked on the request (it is full or unreachable), so it may be
            sent again without limit.
    """

    def __init__(self, reason: str, pause: float = 0.0, blameless: bool = False):
        self.pause = pause
        self.blameless = blameless
        super().__init__(reason)


@dataclass
class Endpoint:
    """One server, and its state. Times are in seconds of `time.monotonic`."""

    base: str
    """Its address."""
    in_flight: int = 0
    """Requests that wait for its answer."""
    failures: int = 0
    """Failures in a row; while there are any, one request at a time tries it, after `until`."""
    until: float = 0.0
    """It gets no request until then; an answer ends the pause, unless the server requested it."""
    requested_until: float = 0.0
    """The end of the pause that the server itself requested."""
    failed_at: float = 0.0
    last_error: str = ""
    only_probed: bool = False
    """After failures it answered the short question, and no request since."""

    def note_success(self, probed: bool = False) -> None:
        """Record an answer to a request, or to the short question."""
        self.failures = 0
        self.only_probed = probed
        self.until = self.requested_until

    def note_failure(self, error: Failed, started: float, backoff: float) -> None:
        """Record a failed attempt.

        Args:
            error: how it failed.
            started: when the attempt began.
            backoff: seconds of the first pause; doubled with each failure in a row.
        """
        self.last_error = str(error)
        # A server that dies takes all its requests with it: that is one failure, not sixty-four.
        if started < self.failed_at:
            return
        self.failures += 1
        pause = min(LONGEST_PAUSE, backoff * 2 ** (self.failures - 1))
        pause *= random.uniform(0.75, 1.25)
        self.failed_at = time.monotonic()
        self.requested_until = self.failed_at + error.pause
        pause = max(pause, error.pause)
        self.until = self.failed_at + pause
        if pause >= LONG_PAUSE:
            line = f"{self.base} gets no request for {pause:.0f} seconds: {error}"
            open_console(stderr=True).print(line)


class Pool:
    """Endpoints of one model.

    Args:
        endpoints: at least one.
        concurrency: requests in flight at each.
        max_retries: further attempts for a request; also the failures in a row after which an
            endpoint is dead.
        backoff: first pause in seconds.
        probe: asks an endpoint a short question; raises if there is no answer.
        timeout: seconds that an attempt may take; all attempts of a request may take that and the
            longest pause `max_retries` + 1 times.
    """

    def __init__(
        self,
        endpoints: list[Endpoint],
        concurrency: int,
        max_retries: int,
        backoff: float,
        probe: Callable[[Endpoint], Awaitable[None]],
        timeout: float,
    ):
        self.endpoints = endpoints
        self.concurrency = concurrency
        self.max_retries = max_retries
        self.backoff = backoff
        self.patience = (max_retries + 1) * (timeout + LONGEST_PAUSE)
        self._probe = probe
        self._probing = asyncio.Lock()
        self._dead: UserError | None = None
        self._slots = asyncio.Semaphore(concurrency * len(endpoints))
        self._waiters: dict[asyncio.Future[Endpoint | None], tuple[Collection[str], str]] = {}
        """Who waits for an endpoint, in order, with what each avoids and its group."""
        self._places: dict[str, Endpoint] = {}
        """By group of calls."""
        self._timer: asyncio.TimerHandle | None = None

    def names(self) -> str:
        """Return the addresses of all endpoints, for a message."""
        return ", ".join(endpoint.base for endpoint in self.endpoints)

    def leave_out(self, base: str) -> None:
        """Send nothing more to an endpoint that is gone; the last one counts as dead."""
        others = [endpoint for endpoint in self.endpoints if endpoint.base != base]
        if not others:
            self.endpoints[0].failures = self.max_retries + 1
        else:
            self.endpoints = others
            self._places = {
                group: place for group, place in self._places.items() if place.base != base
            }
        self._serve_waiters()

    async def run(
        self, attempt: Callable[[Endpoint], Awaitable[T]], avoid: Collection[str] = ()
    ) -> T:
        """Try until one endpoint answers.

        Args:
            avoid: addresses that get the request only where no other endpoint is alive.

        Raises:
            CallFailed: the servers failed this request `max_retries` + 1 times, or for too long.
            UserError: every endpoint is dead.
            Exception: what `attempt` raises but `Failed`: the endpoint answered.
        """
        failures = 0
        async with self._slots:
            begun = time.monotonic()
            while True:
                endpoint = await self._take(avoid)
                started = time.monotonic()
                try:
                    answer = await attempt(endpoint)
                except Failed as error:
                    endpoint.note_failure(error, started, self.backoff)
                    if endpoint.only_probed or not error.blameless:
                        failures += 1
                    waited = time.monotonic() - begun
                    if failures > self.max_retries or waited > self.patience:
                        times = f"{failures} times" if failures else f"for {waited:.0f} seconds"
                        words = f"{times}, last with: {error} ({endpoint.base})"
                        raise CallFailed("the server failed on this request", words) from error
                except Exception:  # not what was hoped for, but an answer
                    endpoint.note_success()
                    raise
                else:
                    endpoint.note_success()
                    return answer
                finally:
                    self._release(endpoint)

    async def _take(self, avoid: Collection[str]) -> Endpoint:
        """Return an endpoint that may take a request, as soon as there is one."""
        group = GROUP.get()
        while True:
            await self._refuse_dead()
            endpoint = None if self._waiters else self._pick(avoid, group, time.monotonic())
            if endpoint:
                endpoint.in_flight += 1
                return endpoint
            waiter: asyncio.Future[Endpoint | None] = asyncio.get_running_loop().create_future()
            self._waiters[waiter] = (avoid, group)
            self._serve_waiters()
            try:
                endpoint = await waiter
            except asyncio.CancelledError:
                self._waiters.pop(waiter, None)
                if waiter.done() and not waiter.cancelled() and (late := waiter.result()):
                    self._release(late)
                raise
            if endpoint:
                return endpoint

    def _pick(self, avoid: Collection[str], group: str, now: float) -> Endpoint | None:
        """Return the endpoint for a request, or None where none may take it now.

        It is the one that has the others of its group; for the first of a group the one that a hash
        of its name prefers, so that it is the same in the next run. Where that is ill, full or has
        clearly more requests in flight, it is the one with the fewest.
        """
        candidates = self.endpoints
        if avoid:
            alive = [one for one in self.endpoints if one.failures <= self.max_retries]
            candidates = [one for one in alive if one.base not in avoid] or self.endpoints
        free = [endpoint for endpoint in candidates if self._is_free(endpoint, now)]
        if not free:
            return None
        least = min(free, key=lambda endpoint: (endpoint.in_flight, endpoint.failures))
        if not group or len(self.endpoints) == 1:
            return least
        place = self._places.get(group)
        if place is None or place.failures:
            home = max(self.endpoints, key=lambda endpoint: _weigh(endpoint, group))
            most = least.in_flight + max(2, least.in_flight // 8)
            place = home if home in free and home.in_flight <= most else least
            self._places[group] = place
            if len(self._places) > MOST_PLACES:
                self._places.pop(next(iter(self._places)))
        return place if place in free else least

    def _release(self, endpoint: Endpoint) -> None:
        endpoint.in_flight -= 1
        self._serve_waiters()

    def _serve_waiters(self) -> None:
        """Give the first of those that wait an endpoint each; wake them all if none is alive."""
        if not self._waiters:
            return
        now = time.monotonic()
        served: list[asyncio.Future[Endpoint | None]] = []
        for waiter, (avoid, group) in self._waiters.items():
            if waiter.done():  # its call was cancelled
                continue
            endpoint = None
            if self._any_alive():
                if not any(self._is_free(one, now) for one in self.endpoints):
                    break
                endpoint = self._pick(avoid, group, now)
                if endpoint is None:
                    continue
                endpoint.in_flight += 1
            waiter.set_result(endpoint)
            served.append(waiter)
        for waiter in served:
            del self._waiters[waiter]
        if self._timer:
            self._timer.cancel()
            self._timer = None
        pauses = [endpoint.until - now for endpoint in self.endpoints if endpoint.until > now]
        if self._waiters and pauses:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(min(pauses), self._serve_waiters)

    def _is_free(self, endpoint: Endpoint, now: float) -> bool:
        most = 1 if endpoint.failures else self.concurrency
        return endpoint.in_flight < most and now >= endpoint.until

    async def _refuse_dead(self) -> None:
        """Raise if no endpoint answers anything, not even a short question."""
        if self._any_alive():
            return
        async with self._probing:
            if self._dead is None and not self._any_alive():
                try:
                    await self.look_for_life(self._probe)
                except UserError as error:
                    self._dead = error
        if self._dead:
            raise self._dead
        self._serve_waiters()

    def _any_alive(self) -> bool:
        return any(endpoint.failures <= self.max_retries for endpoint in self.endpoints)

    async def look_for_life(self, probe: Callable[[Endpoint], Awaitable[None]]) -> None:
        """Return at the first endpoint that answers a probe, though it be a refusal.

        Raises:
            UserError: none does.
        """
        for endpoint in self.endpoints:
            try:
                await probe(endpoint)
            except Failed as error:
                endpoint.last_error = str(error)
                continue
            except Exception:  # an answer, though a refusal
                pass
            endpoint.note_success(probed=True)
            return
        errors = [f"{endpoint.base}: {endpoint.last_error}" for endpoint in self.endpoints]
        fix = "start the servers, or correct the addresses, and run again: answers are kept"
        if all(endpoint.last_error.startswith("HTTP 429") for endpoint in self.endpoints):
            fix = (
                "look at the limits of the account, lower generator.options.concurrency or raise "
                "generator.options.backoff, and run again: answers are kept"
            )
        raise UserError(
            f"no endpoint answers ({'; '.join(errors)})",
            where="generator.options.endpoints",
            fix=fix,
        )


def _weigh(endpoint: Endpoint, group: str) -> bytes:
    """Return how much an endpoint is preferred by a group (rendezvous hashing)."""
    return hashlib.blake2b(f"{endpoint.base}\n{group}".encode(), digest_size=8).digest()
