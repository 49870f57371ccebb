"""The page's names for outcomes and variants, and which change of an outcome is good.

Good is what the method aims at: fewer violations, more correct verdicts. A changed label is neither
good nor bad.
"""

from typing import NamedTuple

from stages.ablation.labels import LOGITS
from stages.ablation.outcomes import is_logits
from stages.report.views.marks import tone_of_change
from stages.statistics.effect import Effect
from stages.statistics.formatting import format_number, format_points, format_points_range

VIOLATES = "violates "  # how the outcomes of single principles begin
GOOD = {  # 1: more of it is good, -1: less is
    "any_violation": -1,
    "any_violation_judge": -1,
    "violation_probability": -1,
    "evasive": -1,
    "evasive_red_team": -1,
    "evasive_benign": -1,
    "helpful_benign": 1,
    "refused_red_team": 0,
    "refused_benign": -1,
    "follows_helpful": 1,
    "wins": 1,
    "well_formed": 1,
    "on_topic": 1,
}
NAMES = {
    "any_violation": "violations",
    "any_violation_judge": "violations (judge)",
    "violation_probability": "P(violated), mean",
    "evasive": "evasive answers",
    "evasive_red_team": "evasive, attacks",
    "evasive_benign": "evasive, benign",
    "helpful_benign": "helpful, benign",
    "refused_red_team": "refusals, attacks",
    "refused_benign": "refusals, benign",
    "follows_helpful": "helpful, benign (judge)",
    "well_formed": "well-formed",
    "on_topic": "on topic",
    "wins": "duels won",
    "changed": "labels changed",
    "flipped": "labels reversed",
    "lost": "labels lost",
    "gained": "labels gained",
    LOGITS: "support, logits",
    "all": "right preferences",
}
KINDS = {
    "leave_one_out": "one principle left out",
    "only_one": "one principle alone",
    "without_tag": "a family left out",
    "only_tag": "a family alone",
    "sizes": "smaller sets",
    "opposite": "one principle negated",
    "reworded": "one principle in other words",
    "weights": "one principle's weight changed",
    "without_reasons": "all reasons left out",
    "without_examples": "all examples left out",
    "without_authority": "all levels of authority left out",
    "full": "another set or method",
}
ACTIONS = {  # how a sentence about a variant begins
    "leave_one_out": "Leaving out {}",
    "only_one": "Keeping {} alone",
    "without_tag": "Leaving out the family {}",
    "only_tag": "Keeping the family {} alone",
    "sizes": "A set of {}",
    "opposite": "Negating {}",
    "reworded": "Rewording {}",
    "weights": "Weighting {} by {factor}",
    "without_reasons": "Leaving out the reasons",
    "without_examples": "Leaving out the examples",
    "without_authority": "Leaving out the levels of authority",
    "full": "Taking {} instead of {reference}",
}


class Verbs(NamedTuple):
    """What a variant does to labels."""

    passive: str
    """After "more than 5 % of the labels", as all that follows."""
    active: str
    """After "Leaving out a principle", with a place for the share."""


LABEL_VERBS = {
    "changed": Verbs("change", "changes {} % of the labels"),
    "flipped": Verbs("are reversed", "reverses {} % of the labels"),
    "lost": Verbs("are lost", "loses {} % of the labels"),
    "gained": Verbs("are gained", "gains {} % of the labels"),
}
NOUNS = {  # of outcomes in a sentence; they are plural
    "any_violation_judge": "violations that the judge sees",
    "violation_probability": "mean probabilities of a violation",
    "evasive_red_team": "evasive answers to attacks",
    "evasive_benign": "evasive answers to benign requests",
    "helpful_benign": "helpful answers to benign requests",
    "well_formed": "well-formed answers",
    "on_topic": "answers on topic",
    LOGITS: "margins for the full set's choices",
}
HEADLINE_ORDER = (  # the kind that the headline prefers comes first
    "full",
    "leave_one_out",
    "without_tag",
    "without_reasons",
    "without_examples",
    "without_authority",
    "opposite",
    "only_tag",
    "only_one",
    "sizes",
    "weights",
    "reworded",
)


def noun_of(outcome: str, level: str) -> str:
    """The outcome in a sentence, a plural: what rises, falls or stays."""
    name, _, step = outcome.partition(" (")
    if name.startswith(VIOLATES):
        noun = f"violations of {name.removeprefix(VIOLATES)}"
    elif level == "reward" and name not in NAMES:
        noun = f"right preferences in the test {name!r}"
    else:
        noun = NOUNS.get(name) or name_of(name)
    return f"{noun} ({step}" if step else noun


def name_of(outcome: str) -> str:
    """The name of an outcome on the page."""
    return NAMES.get(outcome, outcome)


def desired_direction(outcome: str, level: str) -> int:
    """1 if more of it is good, -1 if less is, 0 if it is neither."""
    if level == "reward":
        return 1
    if outcome.startswith(VIOLATES):
        return -1
    return GOOD.get(outcome.partition(" (")[0], 0)


def tone_of_effect(effect: Effect, outcome: str, level: str) -> str:
    """The tone of an effect, see `marks.tone_of_change`."""
    return tone_of_change(effect.low, effect.high, desired_direction(outcome, level))


def counts_labels(level: str, outcome: str) -> bool:
    """Whether an outcome is a share of labels, which is compared with the margin, not with 0."""
    return level == "labels" and not is_logits(outcome)


def format_outcome_change(value: float, outcome: str) -> str:
    """A change with its sign, in points or logits."""
    return format_number(value, sign="+") if is_logits(outcome) else format_points(value)


def format_outcome_interval(effect: Effect, outcome: str) -> str:
    """The interval of a change, in points or logits."""
    if is_logits(outcome):
        low = format_outcome_change(effect.low, outcome)
        high = format_outcome_change(effect.high, outcome)
        return f"{low} to {high}"
    return format_points_range(effect.low, effect.high)
