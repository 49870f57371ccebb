"""How the calls of a step were answered, and what their answers have in common."""

import math
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any

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
    failed: int = 0
    """Calls that failed; they are not stored."""
    texts: int = 0
    """Texts that a model wrote, now or for the store."""
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

    def add(self, other: "Tally") -> None:
        """Count what another process has counted."""
        longest = max(self.longest, other.longest)
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)
        self.longest = longest

    def add_text(self, completion: Completion, most: int) -> None:
        """Count a text of at most so many tokens."""
        self.texts += 1
        if completion.finish_reason == "length":
            self.cut_off += 1
            self.longest = max(self.longest, most)

    def add_choice(self, choice: Choice) -> None:
        """Count the answer to a question with options."""
        self.choices += 1
        self.bounded += choice.bounded
        if choice.mass is not None and math.isfinite(choice.mass):
            self.masses.append(choice.mass)

    def call_counts(self) -> dict[str, int]:
        """Return the numbers of calls, for the manifest."""
        numbers = {"stored": self.stored, "sent": self.sent, "tokens": self.tokens}
        return numbers | {"failed": self.failed}

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
