"""What a step would send: counted on stored answers, without sending anything.

A call without a stored answer gets a stand-in, so that the calls which depend on it are counted,
too. Only the first rows are followed so far; the others count like them.
"""

from dataclasses import dataclass, field

from stages.runtime.cost.prices import Prices, Usage, format_money
from stages.statistics.formatting import format_count, format_plural

FOLLOWED = 1000
"""Rows with new calls that are followed to their end."""


@dataclass(frozen=True)
class Expense:
    """New calls and what they would cost."""

    calls: int = 0
    read: int = 0
    """Tokens of prompts, estimated."""
    most: int = 0
    """Tokens of answers, if each is as long as it may be."""
    likely: int | None = None
    """The same, by the mean of earlier answers of the step; None if there are none."""
    most_cost: float | None = None
    """With answers as long as they may be; None where no call has a price."""
    likely_cost: float | None = None

    def __add__(self, other: "Expense") -> "Expense":
        """Return both; what is likely is known where it is known of both."""
        if not self.calls or not other.calls:
            return self if self.calls else other
        costs = [each.most_cost for each in (self, other) if each.most_cost is not None]
        likely = likely_cost = None
        if self.likely is not None and other.likely is not None:
            likely = self.likely + other.likely
            if costs:
                likely_cost = (self.likely_cost or 0.0) + (other.likely_cost or 0.0)
        return Expense(
            self.calls + other.calls,
            self.read + other.read,
            self.most + other.most,
            likely,
            sum(costs) if costs else None,
            likely_cost,
        )

    @property
    def short(self) -> str:
        """Return `about 1,200 calls, cost at most 0.42`; "" for no calls."""
        text = f"about {format_plural(self.calls, 'call')}" if self.calls else ""
        cost = self.most_cost
        return text if cost is None else f"{text}, cost at most {format_money(cost)}"

    def __str__(self) -> str:
        """`about 1,200 calls: 300,000 tokens to read, at most 90,000 to write, cost ...`."""
        text = f"about {format_plural(self.calls, 'call')}"
        text += f": {format_count(self.read)} tokens to read"
        text += f", at most {format_count(self.most)} to write"
        if self.likely is not None:
            text += f" (likely {format_count(self.likely)})"
        if self.most_cost is not None:
            text += f"; cost at most {format_money(self.most_cost)}"
            if self.likely_cost is not None:
                text += f", likely {format_money(self.likely_cost)}"
        return text


@dataclass
class Foreseen:
    """The new calls of the rows that were followed, by the prices of their tokens."""

    calls: dict[Prices | None, int] = field(default_factory=dict)
    texts: dict[Prices | None, int] = field(default_factory=dict)
    usage: dict[Prices | None, Usage] = field(default_factory=dict)
    """With answers as long as they may be."""

    rows: int = 0
    """Rows with new calls that were followed to their end."""

    @property
    def is_full(self) -> bool:
        """Whether enough rows were followed."""
        return self.rows >= FOLLOWED

    @property
    def count(self) -> int:
        """How many calls were counted."""
        return sum(self.calls.values())

    def add(self, prices: Prices | None, read: int, most: int, is_text: bool) -> None:
        """Count a call.

        Args:
            read: tokens of its prompt.
            most: tokens of its longest answer.
        """
        usage = self.usage.get(prices, Usage())
        self.calls[prices] = self.calls.get(prices, 0) + 1
        self.texts[prices] = self.texts.get(prices, 0) + is_text
        self.usage[prices] = Usage(usage.read + read, 0, usage.written + most)

    def expense(self, factor: float, mean: float | None) -> Expense:
        """Return what was counted, times a factor.

        Args:
            mean: tokens of a text, by earlier answers; None if there are none.
        """
        total = Expense()
        for prices, usage in self.usage.items():
            calls, texts = self.calls[prices], self.texts[prices]
            likely = likely_usage = None
            if mean is not None or not texts:
                written = calls - texts + texts * (mean or 0.0)
                likely = round(factor * min(written, usage.written))
                likely_usage = Usage(round(factor * usage.read), 0, likely)
            most = Usage(round(factor * usage.read), 0, round(factor * usage.written))
            total += Expense(
                round(factor * calls),
                most.read,
                most.written,
                likely,
                prices.cost(most) if prices else None,
                prices.cost(likely_usage) if prices and likely_usage else None,
            )
        return total
