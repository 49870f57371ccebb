"""The verdict on a judge, in words: may its choices, and its Yes or No, be believed?

In: the readings of one form (see `readings`). Out: one of four verdicts, with its reasons and what
to do. Every comparison with a threshold is of an interval's bound, so that a few questions never
decide; with fewer than LEAST requests the verdict is always `undecided`.

    not able               what it prefers does not move with the principle, people prefer the other
                           answers, or it does not answer with the options
    undecided              the interval allows both
    usable when debiased   it moves with the principle, but a place, or Yes or No, has an advantage
    able                   it moves with the principle, and neither has

The direction is known where people labelled pairs, and in announcements of a principle against its
opposite: a judge that is shown to prefer the wrong ones is not able. Planted differences in general
quality (an empty answer, shuffled words) are reasons to doubt, but do not decide: a judge may
follow principles and be blind to quality.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stages.evaluation.instrument.planted import CONTRARY
from stages.evaluation.instrument.questions import CHOICE_FORM, YES_NO_FORM
from stages.statistics.formatting import format_number, format_percent

ABLE = "able"
DEBIASED = "usable when debiased"
UNDECIDED = "undecided"
NOT_ABLE = "not able"
ORDER = (ABLE, DEBIASED, UNDECIDED, NOT_ABLE)
"""From the best to the worst."""
NAMES = {CHOICE_FORM: "choices (A or B)", YES_NO_FORM: "Yes or No"}

Reading = Mapping[str, Any]


@dataclass(frozen=True)
class Thresholds:
    """What a verdict needs. Shares and correlations, no percentages."""

    least: int = 24
    """Requests below which nothing is decided."""
    mass: float = 0.01
    """Median probability on the options: below it the judge was about to write something else."""
    enough_mass: float = 0.5
    """Below it the judge seldom means to answer with an option."""
    turns: float = 0.2
    """`turning` lies above it: the preference moves with the principle."""
    turns_little: float = 0.0
    """The same for Yes or No where nearly every answer gets Yes under exactly one of a principle
    and its opposite (`turned`).
    """
    turned: float = 0.7
    """`turned` lies above it. It does not decide alone, for the principle's words may do that
    whatever the answer says.
    """
    ignores: float = 0.5
    """`turning` lies below it: too little of the preference does."""
    disagrees: float = 0.6
    """Agreement with people lies below it: close to chance."""
    chance: float = 0.5
    """Agreement with people, or with what is planted, lies above or below it."""
    place: tuple[float, float] = (0.4, 0.6)
    """The share of the first place, or of Yes, lies outside: a bias."""
    leans: float = 1.0
    """The mean log-odds of Yes, in nats, lies further from 0: a bias, for half of the questions
    deserve a Yes. The share of Yes alone would not show it where the judge is sure of all that the
    examination asks.
    """
    flips: float = 0.5
    """Flips of the clear half may lie below it."""
    saturated: tuple[float, float] = (0.05, 0.95)
    """The share of Yes is at or beyond: its threshold says nothing."""
    same: float = 0.75
    """Agreement with itself in other words lies below it."""


THRESHOLDS = Thresholds()


@dataclass(frozen=True)
class Judged:
    """A verdict."""

    verdict: str
    reasons: list[str]
    """Each a sentence without its full stop."""
    advice: list[str]
    """What to do, in the imperative."""

    def plain(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"verdict": self.verdict, "reasons": self.reasons, "advice": self.advice}


def judge_form(form: str, reading: Reading, limits: Thresholds = THRESHOLDS) -> Judged:
    """Return the verdict on choices or on Yes or No."""
    if reading["turning"] is None and reading["people"] is None:
        return _without_evidence(reading)
    asked = max(_n(reading["turning"]), _n(reading["people"]))
    if asked < limits.least:
        return too_few(asked, limits)
    failures = _failures(reading, limits)
    if failures:
        remedies = ["take another judge"]
        if _low_mass(reading, limits.mass):
            remedies.append("or a template that asks for the option alone")
        return Judged(NOT_ABLE, failures, remedies)
    support = _support(reading, limits)
    if not support:
        what = "it is not shown whether " + _what_turns(reading)
        return Judged(UNDECIDED, [what], ["give the examination more requests, or labelled pairs"])
    biases, advice = _biases(form, reading, limits)
    doubts = _doubts(reading, limits)
    return Judged(DEBIASED if biases else ABLE, support + biases + doubts, advice)


def _without_evidence(reading: Reading) -> Judged:
    if reading["mass"] is None and reading["planted"]["all"] is None:
        return Judged(UNDECIDED, ["none of the questions was answered"], ["take another judge"])
    return no_direction()


def no_direction() -> Judged:
    """Return the verdict where nothing says which answer is right."""
    what = "no principle has an opposite, and there are no labelled pairs"
    advice = "give principles an `opposite`, or the examination labelled `pairs`"
    return Judged(UNDECIDED, [what], [advice])


def too_few(asked: int, limits: Thresholds = THRESHOLDS) -> Judged:
    """Return the verdict where there are too few requests."""
    what = f"{asked} requests are too few for a verdict; it takes {limits.least}"
    advice = f"give the examination {limits.least} requests or more (its `requests`, and the data)"
    return Judged(UNDECIDED, [what], [advice])


def _failures(reading: Reading, limits: Thresholds) -> list[str]:
    """Return what shows that the judge is not able."""
    reasons = []
    if _low_mass(reading, limits.mass):
        percent = format_percent(reading["mass"]["median"], 2)
        reasons.append(f"only {percent} % of its probability stands on the options (median)")
    if _is_below(reading["turning"], limits.ignores):
        reasons.append("its preference does not move with the principle" + _turning(reading))
    people = reading["people"]
    if _is_below(people, limits.disagrees):
        reasons.append(f"it prefers what people preferred in {_percent(people)}")
    contrary = reading["planted"][CONTRARY]
    if _is_below(contrary, limits.chance):
        reasons.append(
            "it prefers an announcement of the principle's opposite: the principle's own wins in "
            f"{_percent(contrary)}"
        )
    return reasons


def _support(reading: Reading, limits: Thresholds) -> list[str]:
    """Return what shows that the judge follows principles, or people."""
    reasons = []
    is_turned = _is_above(reading.get("turned"), limits.turned)
    if _is_above(reading["turning"], limits.turns_little if is_turned else limits.turns):
        reasons.append("its preference moves with the principle" + _turning(reading))
    people = reading["people"]
    if _is_above(people, limits.chance):
        reasons.append(f"it prefers what people preferred in {_percent(people)}")
    return reasons


def _biases(form: str, reading: Reading, limits: Thresholds) -> tuple[list[str], list[str]]:
    """Return the biases that can be corrected, and how."""
    reasons, advice = [], []
    low, high = limits.place
    if form == CHOICE_FORM:
        first = reading["first"]
        if _is_below(first, low) or _is_above(first, high):
            reasons.append(f"the place shown first wins in {_percent(first)}")
        flips = reading["flips_clear"]
        if not _is_below(flips, limits.flips):
            reasons.append(f"the order decides {_percent(flips)} of its clear choices")
        if reasons:
            advice.append("ask in both orders and average them (`orders: swap_average`)")
    else:
        yes = reading["yes"]
        if yes and not limits.saturated[0] < yes["value"] < limits.saturated[1]:
            reasons.append(f"it answers Yes to {_percent(yes)}, whatever is asked")
        elif _is_below(yes, low) or _is_above(yes, high):
            reasons.append(f"it answers Yes to {_percent(yes)}, where half would be fair")
        leans_to = leaning(reading, limits)
        if leans_to:
            reasons.append(_describe_leaning(leans_to, reading["prior"]))
        if reasons:
            advice.append("move its threshold (`calibration`), or take it from labels")
    if _low_mass(reading, limits.enough_mass):
        percent = format_percent(reading["mass"]["median"])
        reasons.append(f"{percent} % of its probability stands on the options (median)")
        advice.append("use a template that asks for the option alone")
    return reasons, advice


def leaning(reading: Reading, limits: Thresholds = THRESHOLDS) -> str | None:
    """Return Yes or No where the judge is shown to lean to it, whatever is asked; else None."""
    prior = reading["prior"]
    if _n(prior) < limits.least:
        return None
    if _is_above(prior, limits.leans):
        return "Yes"
    return "No" if _is_below(prior, -limits.leans) else None


def _describe_leaning(leans_to: str, prior: Mapping[str, Any]) -> str:
    value, low, high = (format_number(prior[key], 1) for key in ("value", "low", "high"))
    return f"its log-odds of Yes lean to {leans_to}: {value} ({low} to {high}), where 0 is fair"


def _doubts(reading: Reading, limits: Thresholds) -> list[str]:
    """Return what does not decide, and yet should be known."""
    reasons = []
    planted = reading["planted"]["all"]
    if planted and not _is_above(planted, limits.chance):
        reasons.append(
            "it is not shown to see quality: an answer is preferred to an empty, a shuffled or "
            f"another request's one in {_percent(planted)}"
        )
    if _is_below(reading["paraphrase"], limits.same):
        reasons.append(
            f"in other words its verdict is the same in {_percent(reading['paraphrase'])}"
        )
    if _is_below(reading["repeat"], limits.same):
        reasons.append(f"asked again its verdict is the same in {_percent(reading['repeat'])}")
    return reasons


def _what_turns(reading: Reading) -> str:
    if reading["turning"]:
        return "its preference moves with the principle" + _turning(reading)
    return f"it prefers what people preferred ({_percent(reading['people'])})"


def _turning(reading: Reading) -> str:
    estimate = reading["turning"]
    low, high = format_number(estimate["low"]), format_number(estimate["high"])
    value, worst = format_number(estimate["value"]), format_number(-1, 0)
    scale = f"1 is best, 0 is noise, {worst} ignores it"
    return f" (correlation {value}, {low} to {high}; {scale})"


def _percent(estimate: Mapping[str, Any]) -> str:
    low, high = format_percent(estimate["low"], 0), format_percent(estimate["high"], 0)
    return f"{format_percent(estimate['value'], 0)} % ({low} to {high}, n = {estimate['n']})"


def _n(estimate: Mapping[str, Any] | None) -> int:
    return int(estimate["n"]) if estimate else 0


def _low_mass(reading: Reading, limit: float) -> bool:
    return reading["mass"] is not None and reading["mass"]["median"] < limit


def _is_below(estimate: Mapping[str, Any] | None, limit: float) -> bool:
    return estimate is not None and estimate["high"] < limit


def _is_above(estimate: Mapping[str, Any] | None, limit: float) -> bool:
    return estimate is not None and estimate["low"] > limit
