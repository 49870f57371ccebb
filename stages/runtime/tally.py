"""How the calls of a step were answered, and what their answers have in common."""

import math
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any

from stages.runtime.cost.foreseen import Foreseen
from stages.runtime.cost.prices import Usage
from stages.runtime.generation import Choice, Completion

LOW_MASS = 0.1  # a judge that answers with the options puts nearly all its probability on them


@dataclass
class Tally:
    """How a step's calls were answered."""

    stored: int = 0
    """Calls answered by the store."""
    sent: int = 0
    """Calls sent to an engine, and answered."""
    tokens: int = 0
    """Tokens that the engine wrote."""
    read: int = 0
    """Tokens of the prompts that were sent."""
    cached: int = 0
    """Those of them that the engine had in its cache."""
    estimated: int = 0
    """Calls whose prompts were measured by their letters, since the engine reports no tokens."""
    sent_texts: int = 0
    """Texts that were sent for, and written."""
    priced: int = 0
    """Calls sent whose tokens have a price."""
    cost: float = 0.0
    """What those did cost."""
    failed: int = 0
    """Calls that failed; they are not stored."""
    texts: int = 0
    """Texts that a model wrote, now or for the store."""
    text_tokens: int = 0
    """Their tokens."""
    cut_off: int = 0
    """Those of them that ended at max_tokens."""
    longest: int = 0
    """The largest max_tokens at which one ended."""
    choices: int = 0
    """Questions with options."""
    bounded: int = 0
    """Those of them with an option of which only a bound is known."""
    masses: list[float] = field(default_factory=list)
    """The probability of all options together, of each question where it is known."""
    foreseen: Foreseen = field(default_factory=Foreseen)
    """In a forecast: the calls that would be sent."""
    earlier_mean: float | None = None
    """In a forecast: tokens of a text of the step, as it was made before; None: it was not."""

    def add(self, other: "Tally") -> None:
        """Count what another process has counted."""
        longest = max(self.longest, other.longest)
        for name, value in vars(other).items():
            if name not in ("foreseen", "earlier_mean"):
                setattr(self, name, getattr(self, name) + value)
        self.longest = longest

    def add_usage(self, usage: Usage, cost: float | None, is_estimated: bool) -> None:
        """Count a call that was sent and answered.

        Args:
            cost: None: its tokens have no price.
            is_estimated: the tokens of its prompt are an estimate.
        """
        self.sent += 1
        self.tokens += usage.written
        self.read += usage.read
        self.cached += usage.cached
        self.estimated += is_estimated
        if cost is not None:
            self.priced += 1
            self.cost += cost

    def add_text(self, completion: Completion, most: int) -> None:
        """Count a text of at most so many tokens."""
        self.texts += 1
        self.text_tokens += completion.completion_tokens
        if completion.finish_reason == "length":
            self.cut_off += 1
            self.longest = max(self.longest, most)

    def add_choice(self, choice: Choice) -> None:
        """Count the answer to a question with options."""
        self.choices += 1
        self.bounded += choice.bounded
        if choice.mass is not None and math.isfinite(choice.mass):
            self.masses.append(choice.mass)

    def mean_text(self) -> float | None:
        """Return the mean tokens of a text of the step, by stored answers; None if unknown."""
        return self.text_tokens / self.texts if self.text_tokens else self.earlier_mean

    @property
    def usage(self) -> Usage:
        """The tokens of the calls that were sent."""
        return Usage(self.read, self.cached, self.tokens)

    @property
    def money(self) -> float | None:
        """What they did cost; None where none had a price."""
        return self.cost if self.priced else None

    def call_counts(self) -> dict[str, int | float]:
        """Return the numbers of calls and what they cost, for the manifest."""
        counts: dict[str, int | float] = {"stored": self.stored, "sent": self.sent}
        counts |= {"tokens": self.tokens, "failed": self.failed}
        further = {"read": self.read, "cached": self.cached, "texts": self.sent_texts}
        further["estimated"] = self.estimated
        counts |= {name: number for name, number in further.items() if number}
        return counts | ({} if self.money is None else {"cost": self.money})

    def option_metrics(self) -> dict[str, Any]:
        """Return how much probability stood on the options; {} where nothing is known of it.

        `low` is the share of questions where it was less than LOW_MASS, `known` the number of
        questions for which it is known, `bounded` the share with an option of which only a bound is
        known.
        """
        masses = self.masses
        if not masses and not self.bounded:
            return {}
        return {
            "questions": self.choices,
            "known": len(masses),
            "mean": fmean(masses) if masses else None,
            "median": median(masses) if masses else None,
            "low": fmean(mass < LOW_MASS for mass in masses) if masses else None,
            "bounded": self.bounded / self.choices,
        }
