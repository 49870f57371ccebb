"""Figures with their uncertainty, as the scorecard prints them."""

import math
from dataclasses import dataclass

Z_95 = 1.96
"""The quantile of the normal distribution for a two-sided 95 % interval."""


@dataclass(frozen=True)
class Row:
    """One measured share."""

    group: str
    name: str
    hits: int
    cases: int
    target: float | None = None
    """What was hoped for."""
    prototype: float | None = None
    """What the model before this one reached."""
    lower_is_better: bool = False

    @property
    def share(self) -> float:
        """Hits per case."""
        return self.hits / self.cases if self.cases else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval."""
        return wilson(self.hits, self.cases)

    @property
    def outcome(self) -> str:
        """Whether the target was met."""
        if self.target is None:
            return ""
        is_met = self.share <= self.target if self.lower_is_better else self.share >= self.target
        return "met" if is_met else "missed"


def wilson(hits: int, cases: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a share."""
    if not cases:
        return 0.0, 1.0
    share = hits / cases
    variance = share * (1 - share) / cases + Z_95 * Z_95 / (4 * cases * cases)
    middle = share + Z_95 * Z_95 / (2 * cases)
    spread = Z_95 * math.sqrt(variance)
    scale = 1 + Z_95 * Z_95 / cases
    return (middle - spread) / scale, (middle + spread) / scale


def make_row(
    group: str,
    name: str,
    outcomes: list[bool],
    target: float | None = None,
    prototype: float | None = None,
    lower_is_better: bool = False,
) -> Row:
    """A row from a list of outcomes."""
    return Row(group, name, sum(outcomes), len(outcomes), target, prototype, lower_is_better)


def table(rows: list[Row]) -> str:
    """A Markdown table."""
    lines = [
        "| Measure | Share | 95 % interval | n | Target | Prototype d |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join(lines + [_table_line(row) for row in rows])


def _table_line(row: Row) -> str:
    low, high = row.interval
    sign = "≤" if row.lower_is_better else "≥"
    cells = [
        row.name,
        f"{row.share:.3f}",
        f"{low:.2f}-{high:.2f}",
        str(row.cases),
        "" if row.target is None else f"{sign} {row.target:.2f} {row.outcome}",
        "" if row.prototype is None else f"{row.prototype:.2f}",
    ]
    return f"| {' | '.join(cells)} |"
