"""One log of scored answers, whichever tool wrote it.

In: what a reader adds, answer by answer. Out: values by metric and item, the texts behind them, and
the numbers that the tool itself reports, which the values must give again.
"""

import hashlib
import json
from collections import Counter
from collections.abc import (
    Iterator,
    Mapping,
)
from dataclasses import (
    dataclass,
    field,
)
from pathlib import Path
from statistics import fmean
from typing import (
    Any,
    NamedTuple,
)

from stages.guards.errors import UserError
from stages.statistics.intervals import by_prompt

LARGEST = 1e100
"""The largest number that is a measurement: squares of it can still be added."""
TOLERANCE = 1e-6
"""How far the mean of the values may be from the tool's own number; it may be rounded so."""


class Item(NamedTuple):
    """The texts of one item."""

    prompt: str
    answer: str


@dataclass
class Log:
    """The answers of one model, with their scores.

    Args:
        name: of the model or run, for tables.
        tool: that wrote it.
        scores: by metric, the item and the value of each answer.
        items: by item, its texts; of several answers the first.
        reported: by metric, the number that the tool's own files hold.
        unmeasured: by metric, in how many answers it has no number.
        notes: what a reader of the numbers must know.
        measured_by: by name, such as "principles", what measured the answers: its text or a hash.
    """

    name: str
    tool: str
    path: Path
    scores: dict[str, list[tuple[str, float]]] = field(default_factory=dict)
    items: dict[str, Item] = field(default_factory=dict)
    reported: dict[str, float] = field(default_factory=dict)
    unmeasured: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    measured_by: dict[str, str] = field(default_factory=dict)

    def add(
        self,
        item: str,
        prompt: Any,
        answer: Any,
        values: Mapping[str, Any],
    ) -> None:
        """Add one answer; a value that is no number is left out and counted."""
        self.items.setdefault(item, Item(as_text(prompt), as_text(answer)))
        for metric, value in values.items():
            if is_number(value):
                self.scores.setdefault(metric, []).append((item, float(value)))
            else:
                self.unmeasured[metric] += 1

    def mean(
        self,
        metric: str,
    ) -> float:
        """The mean over all answers, as the tools compute it."""
        return fmean(value for _, value in self.scores[metric])

    def values(
        self,
        metric: str,
    ) -> dict[str, float]:
        """By item, the mean of its answers."""
        return by_prompt(self.scores.get(metric, []))

    def remarks(self) -> Iterator[str]:
        """The notes, what was left out, and numbers of the tool that the answers do not give."""
        yield from self.notes
        for metric, values in self.scores.items():
            count = self.unmeasured[metric]
            if count:
                yield (
                    f"{count:,} of {count + len(values):,} answers have no finite number as "
                    f"{metric}, so they are left out"
                )
        for metric, number in self.reported.items():
            if metric not in self.scores:
                continue
            mean = self.mean(metric)
            if abs(mean - number) > TOLERANCE * max(1.0, abs(number)):
                yield (
                    f"{self.tool} reports {metric} = {number:.4g}, and the mean of its rows is "
                    f"{mean:.4g}: it is not their mean, or rows are missing"
                )


def is_number(value: Any) -> bool:
    """Whether a value is a number that can be averaged, or yes or no."""
    return isinstance(value, int | float) and abs(value) <= LARGEST


def as_text(value: Any) -> str:
    """A prompt or an answer as a text: a text itself, messages with their roles, others as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(part, Mapping) for part in value):
        return "\n".join(_message_text(part) for part in value)
    if value is None or value == []:
        return ""
    return json.dumps(value, ensure_ascii=False, default=str)


def _message_text(message: Mapping[str, Any]) -> str:
    """One message; the last words of a conversation need no role."""
    role = str(message.get("role", ""))
    content = message.get("content", message.get("text", ""))
    text = as_text(content)
    return f"{role}: {text}" if role else text


def hash_text(text: str) -> str:
    """A short name of a text, for items that have no id."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]


def require(log: Log) -> Log:
    """Return the log if it has scores.

    Raises:
        UserError: it has none.
    """
    if log.scores:
        return log
    raise UserError(
        f"the file of {log.tool} holds no scored answer",
        where=str(log.path),
        fix="give a log that was written to the end, with its scores",
    )
