"""A budget: the run stops before the call that could exceed it.

Before a call is sent, the most that it could cost is set aside; when it is answered, what it did
cost is spent. A call that does not fit waits until those in flight are answered, for they will have
cost less than was set aside. If it does not fit then, the run stops, and no answer is lost: none is
in flight.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from stages.guards.errors import UserError
from stages.runtime.cost.prices import Prices, Usage, format_money, format_usage
from stages.statistics.formatting import format_count


class BudgetSpent(UserError):
    """The next call could cost more than what is left."""


@dataclass
class Budget:
    """What the calls of a run may cost, and what they did."""

    money: float | None = None
    """In the currency of the prices; None: no limit."""
    tokens: int | None = None
    """Read and written together, also of calls without a price; None: no limit."""
    cost: float = 0.0
    """What calls did cost."""
    usage: Usage = field(default_factory=Usage)
    """Their tokens."""
    priced: bool = False
    """Whether any of them had a price."""
    _held_money: float = field(default=0.0, init=False)
    _held_tokens: int = field(default=0, init=False)
    _in_flight: int = field(default=0, init=False)
    _answered: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    @property
    def is_limited(self) -> bool:
        """Whether anything has a limit."""
        return self.money is not None or self.tokens is not None

    def share(self, processes: int) -> dict[str, Any]:
        """Return the arguments of the budget of each of several processes."""
        money = tokens = None
        if self.money is not None:
            money = max(0.0, self.money - self.cost) / processes
        if self.tokens is not None:
            tokens = max(0, self.tokens - self.usage.tokens) // processes
        return {"money": money, "tokens": tokens}

    def spend(self, usage: Usage, cost: float | None) -> None:
        """Count calls that were answered.

        Args:
            cost: None: their tokens have no price.
        """
        self.usage += usage
        if cost is not None:
            self.cost += cost
            self.priced = True

    def describe(self) -> str:
        """Return what was spent in words; "" where nothing was."""
        if not self.usage.tokens:
            return ""
        return format_usage(self.usage, self.cost if self.priced else None)

    @asynccontextmanager
    async def hold(self, most: Usage, prices: Prices | None) -> AsyncIterator[None]:
        """Set aside the most that a call could cost while it is in flight.

        Raises:
            BudgetSpent: it does not fit.
        """
        money = prices.cost(most) if prices else 0.0
        if self.is_limited:
            await self._wait_for_room(money, most.tokens)
        self._held_money += money
        self._held_tokens += most.tokens
        self._in_flight += 1
        try:
            yield
        finally:
            self._held_money -= money
            self._held_tokens -= most.tokens
            self._in_flight -= 1
            self._answered.set()

    async def _wait_for_room(self, money: float, tokens: int) -> None:
        while not self._has_room(money, tokens):
            if not self._in_flight:
                raise self._refusal(money, tokens)
            self._answered.clear()
            await self._answered.wait()

    def _has_room(self, money: float, tokens: int) -> bool:
        # No rounding may refuse a call that fits when nothing is in flight.
        held_money = self._held_money if self._in_flight else 0.0
        fits = self.money is None or self.cost + held_money + money <= self.money
        total = self.usage.tokens + self._held_tokens + tokens
        return fits and (self.tokens is None or total <= self.tokens)

    def _refusal(self, money: float, tokens: int) -> BudgetSpent:
        limits = []
        if self.money is not None:
            limits.append(f"budget={self.money:g}")
        if self.tokens is not None:
            limits.append(f"budget_tokens={self.tokens}")
        next_call = f"{format_count(tokens)} tokens"
        if money:
            next_call = f"{format_money(money)} ({next_call})"
        return BudgetSpent(
            f"stopped before a call that could exceed {' or '.join(limits)}: "
            f"{self.describe() or 'nothing was spent'}; the call could cost {next_call}",
            where="the budget",
            fix="every answer is stored: run the same command again to spend as much again, or "
            "give a larger budget",
        )
