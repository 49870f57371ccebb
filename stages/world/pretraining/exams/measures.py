"""What all exams share: the number and the words of their cases, and shares with intervals."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from stages.world.pretraining.curriculum import EVERYTHING
from stages.world.pretraining.lessons.plan import Curriculum

Z_95 = 1.96
"""The quantile of the normal distribution for a two-sided 95 % interval."""

TARGETS = yaml.safe_load(Path(__file__).with_name("targets.yaml").read_text())


@dataclass(frozen=True)
class Setting:
    """The number of an exam's cases and the words in them."""

    cases: int = 400
    """The number of cases; some exams draw twice as many."""
    seed: int = 0
    """Decides which cases are drawn."""
    split: str = "held_out"
    """Which requests and slot words are used: "train", "seen" or "held_out"."""

    @property
    def plan(self) -> Curriculum:
        """The full-length mixture in this setting's words."""
        return replace(EVERYTHING, nonsense=0.0, split=self.split)

    @property
    def words(self) -> str:
        """The part of a row's name that describes the words of its cases."""
        return self.split.replace("_", "-") + " slot words"


@dataclass(frozen=True)
class Row:
    """One measured share."""

    group: str
    """The heading of its table in the report."""
    name: str
    hits: int
    """The number of cases for which the name is true."""
    cases: int
    target: float | None
    """The share that the model should reach."""
    prototype: float | None
    """The share that the previous model reached."""

    @property
    def share(self) -> float:
        """Hits per case."""
        return self.hits / self.cases if self.cases else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson score interval of the share."""
        if not self.cases:
            return 0.0, 1.0
        share = self.share
        cases = self.cases
        square = Z_95 * Z_95
        variance = share * (1 - share) / cases + square / (4 * cases * cases)
        middle = share + square / (2 * cases)
        spread = Z_95 * math.sqrt(variance)
        scale = 1 + square / cases
        return (middle - spread) / scale, (middle + spread) / scale

    @property
    def outcome(self) -> str:
        """Whether the target was met."""
        if self.target is None:
            return ""
        return "met" if self.share >= self.target else "missed"


def make_row(group: str, name: str, outcomes: list[bool]) -> Row:
    """A row from a list of outcomes, with its target from targets.yaml."""
    target, prototype = TARGETS.get(group, {}).get(name, (None, None))
    return Row(group, name, sum(outcomes), len(outcomes), target, prototype)


def compare(answers: list[Any], expected: list[Any]) -> list[bool]:
    """Whether each answer is the expected one."""
    return [answer == gold for answer, gold in zip(answers, expected, strict=True)]


def table(rows: list[Row]) -> str:
    """A Markdown table."""
    lines = [
        "| Measure | Share | 95 % interval | n | Target | Prototype d |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        low, high = row.interval
        target = "" if row.target is None else f"≥ {row.target:.2f} {row.outcome}"
        prototype = "" if row.prototype is None else f"{row.prototype:.2f}"
        figures = f"{row.share:.3f} | {low:.2f}-{high:.2f} | {row.cases}"
        lines.append(f"| {row.name} | {figures} | {target} | {prototype} |")
    return "\n".join(lines)
