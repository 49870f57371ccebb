"""Figures with their uncertainty, as the scorecard prints them."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One share: what was measured, on how many cases, what was hoped for and what the prototype
    reached.
    """

    group: str
    name: str
    hits: int
    cases: int
    target: float | None = None
    prototype: float | None = None
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
        met = self.share <= self.target if self.lower_is_better else self.share >= self.target
        return "met" if met else "missed"


def wilson(hits: int, cases: int, z: float = 1.96) -> tuple[float, float]:
    """The Wilson score interval of a share."""
    if not cases:
        return 0.0, 1.0
    share = hits / cases
    middle = share + z * z / (2 * cases)
    spread = z * math.sqrt(share * (1 - share) / cases + z * z / (4 * cases * cases))
    scale = 1 + z * z / cases
    return (middle - spread) / scale, (middle + spread) / scale


def row(group: str, name: str, outcomes: list[bool], target: float | None = None, prototype: float | None = None,
        lower_is_better: bool = False) -> Row:  # fmt: skip
    """A row from a list of outcomes."""
    return Row(group, name, sum(outcomes), len(outcomes), target, prototype, lower_is_better)


def table(rows: list[Row]) -> str:
    """A Markdown table."""
    lines = [
        "| Measure | Share | 95 % interval | n | Target | Prototype d |",
        "|---|---|---|---|---|---|",
    ]
    for item in rows:
        low, high = item.interval
        sign = "≤" if item.lower_is_better else "≥"
        target = f"{sign} {item.target:.2f} {item.outcome}" if item.target is not None else ""
        prototype = f"{item.prototype:.2f}" if item.prototype is not None else ""
        lines.append(
            f"| {item.name} | {item.share:.3f} | {low:.2f}-{high:.2f} | {item.cases} | {target} | {prototype} |"
        )
    return "\n".join(lines)
