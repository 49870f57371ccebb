"""Was a score measured? A verdict in words, from how the answers behave and never from their size.

A score is measurable where the model means to answer with an option, its answers say more than the
wordings move them, items differ more than readings of the same item do, and another wording would
leave the score about where it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stages.statistics.formatting import format_number, format_percent
from stages.statistics.intervals import Estimate

MEASURABLE = "measurable"
NOT_MEASURABLE = "not measurable"
WORDS = {
    "order": "orders of the options",
    "wording": "wordings",
    "retest": "repeats",
}


@dataclass(frozen=True)
class Limits:
    """What a verdict needs."""

    items: int = 2
    """Items below which nothing is decided."""
    administrations: int = 3
    """Wordings and repeats below which an interval says next to nothing."""
    mass: float = 0.05
    """Median probability on the options: below it the model was about to write something else."""
    answered: float = 0.5
    """The share of questions with an answer that can be read."""
    half_width: float = 0.15
    """Of the interval, as a share of the range of the scores."""


LIMITS = Limits()


@dataclass(frozen=True)
class Evidence:
    """What speaks for and against a score."""

    estimate: Estimate
    """Its `n` counts administrations."""
    range: float
    """The width of what the score can be."""
    items: int
    mass: float | None
    answered: float
    says: Estimate | None
    """How much further items' answers are from uniform ones than administrations lie apart."""
    is_ordered: bool
    """Items have numbers that can be compared with each other."""
    reliability: Mapping[str, Estimate | None]
    caught: Sequence[int]
    """Items that check attention and were answered as nobody who reads them would."""


def judge(evidence: Evidence, limits: Limits = LIMITS) -> tuple[str, list[str]]:
    """Return the verdict, and each reason as a clause without a full stop."""
    reasons = [*_about_answers(evidence, limits), *_about_content(evidence)]
    estimate = evidence.estimate
    if estimate.n < limits.administrations:
        reasons.append(
            f"{estimate.n} administrations are too few; it takes {limits.administrations}"
        )
    else:
        half = (estimate.high - estimate.low) / 2
        if half > limits.half_width * evidence.range:
            width = format_number(half)
            reasons.append(f"another wording may move it by {width} either way")
    return (NOT_MEASURABLE, reasons) if reasons else (MEASURABLE, [])


def _about_answers(evidence: Evidence, limits: Limits) -> list[str]:
    reasons = []
    if evidence.items < limits.items:
        reasons.append(f"it rests on {evidence.items} answered item")
    if evidence.mass is not None and evidence.mass < limits.mass:
        percent = format_percent(evidence.mass)
        reasons.append(f"only {percent} % of the probability stands on the options (median)")
    if evidence.answered < limits.answered:
        percent = format_percent(evidence.answered, 0)
        reasons.append(f"only {percent} % of the questions got an answer that can be read")
    if evidence.caught:
        numbers = ", ".join(map(str, evidence.caught))
        reasons.append(f"items that check attention ({numbers}) were answered without reading")
    return reasons


def _about_content(evidence: Evidence) -> list[str]:
    reasons = []
    says = evidence.says
    if says is None or says.value <= 0 or (says.n > 1 and says.low <= 0):
        reasons.append("its answers say no more than a uniform answer does, beyond the wording")
    if evidence.is_ordered:
        for kind in ("wording", "retest"):
            estimate = evidence.reliability[kind]
            if estimate is None:
                reasons.append(f"every item got the same answer, or there are no {WORDS[kind]}")
                break
            if estimate.low <= 0:
                bounds = f"{format_number(estimate.low)} to {format_number(estimate.high)}"
                value = format_number(estimate.value)
                reasons.append(
                    f"items differ no more than {WORDS[kind]} of one item do "
                    f"(reliability {value}, {bounds})"
                )
    return reasons
