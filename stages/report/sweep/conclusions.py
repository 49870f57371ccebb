"""What a verdict on a variant means, in words: what changed, which way, and whether that is good.

In: a `Comparison`. Out: `Conclusion`s. A verdict alone ("differs") says too little: the same
difference is good news about a principle that was left out, or bad news about one that was kept
alone. So each is written as a sentence about the outcome under this variant.
"""

from dataclasses import dataclass

from stages.ablation.compare import Comparison
from stages.ablation.outcomes import NONE
from stages.ablation.runs import Run
from stages.report.sweep.wording import (
    LABEL_VERBS,
    counts_labels,
    desired_direction,
    noun_of,
)
from stages.statistics.equivalence import Finding
from stages.statistics.formatting import PER_CENT, format_short

DIFFERS = "differs"
EQUIVALENT = "equivalent"
UNDECIDED = "undecided"
CLAIMS = (DIFFERS, EQUIVALENT, UNDECIDED)
NO_EVIDENCE = "no evidence: the judge cannot tell"
UP = "up"
DOWN = "down"
NO_DIRECTION = "none"
HARMFUL = "harmful"
ONE_SEED = "on one seed"
SECOND_SEED = (
    "On one seed a verdict is about these trained models only: a second seed is needed "
    "(seed=0,1), as another training may do otherwise"
)
PARTS = {
    "without_reasons": "without the reasons",
    "without_examples": "without the examples",
    "without_authority": "without the levels of authority",
}
# their improvement speaks against what is gone
LEFT_OUT = ("leave_one_out", "without_tag", *PARTS, NONE)


@dataclass(frozen=True)
class Conclusion:
    """What is concluded about one variant and one outcome.

    Args:
        claim: one of `CLAIMS`; the verdict without its strength.
        direction: "up" or "down" if a difference is shown, else "none". Of labels, "up" is more of
            them than the margin.
        tone: `better` or `worse` if a difference is shown and more of the outcome is good or bad,
            `other` if it is neither; else `same`.
        word: the verdict for a place where the outcome is named already.
        phrase: the verdict with its outcome, for a line that names the variant.
    """

    claim: str
    direction: str
    tone: str
    word: str
    phrase: str


def conclude(comparison: Comparison, outcome: str, label: str) -> Conclusion | None:
    """The conclusion about a variant; None where it was not compared."""
    finding = comparison.finding(outcome, label)
    effect = comparison.effect(outcome, label)
    if finding is None or effect is None:
        return None
    if comparison.doubt(outcome) and not finding.same_data:
        return Conclusion(UNDECIDED, NO_DIRECTION, "same", "no evidence", NO_EVIDENCE)
    level = comparison.level
    run = comparison.runs[label]
    claim = _claim(finding)
    direction = _direction(claim, effect.value)
    good = desired_direction(outcome, level)
    tone = _tone(direction, good)
    if counts_labels(level, outcome):
        word, phrase = _about_labels(claim, outcome, run, finding)
    else:
        word, phrase = _about_outcome(claim, direction, outcome, level, run, finding)
    if tone == "better" and run.kind in LEFT_OUT:
        word = f"{HARMFUL}: {word}"
        phrase = f"{HARMFUL}: {phrase}"
    if claim == DIFFERS and finding.inside and finding.margin is not None:
        word += ", small"
        phrase += f", by less than {_margin(finding)} points"
    if finding.one_seed and claim != UNDECIDED:
        word += ", one seed"
        phrase += f", {ONE_SEED}"
    return Conclusion(claim, direction, tone, word, phrase)


def claim_of(comparison: Comparison, outcome: str, label: str) -> str:
    """The verdict without its strength; "" where the variant was not compared."""
    conclusion = conclude(comparison, outcome, label)
    return conclusion.claim if conclusion else ""


def _claim(finding: Finding) -> str:
    for claim in CLAIMS:
        if finding.verdict.startswith(claim):
            return claim
    raise ValueError(finding.verdict)


def _direction(claim: str, value: float) -> str:
    if claim != DIFFERS or value == 0:
        return NO_DIRECTION
    return UP if value > 0 else DOWN


def _tone(direction: str, good: int) -> str:
    if direction == NO_DIRECTION:
        return "same"
    if not good:
        return "other"
    return "better" if (direction == UP) == (good > 0) else "worse"


def _about_labels(claim: str, outcome: str, run: Run, finding: Finding) -> tuple[str, str]:
    """A share of labels is compared with the margin; without one, every label is the full set's."""
    if claim == UNDECIDED:
        return UNDECIDED, UNDECIDED
    more = "more" if claim == DIFFERS else "fewer"
    word = f"{more} than {_margin(finding)} %"
    of_labels = LABEL_VERBS[outcome.partition(" (")[0]].passive
    return word, f"{word} of the labels {of_labels} {circumstance(run, compared=False)}"


def _about_outcome(
    claim: str, direction: str, outcome: str, level: str, run: Run, finding: Finding
) -> tuple[str, str]:
    """A difference of two runs is compared with 0."""
    if claim == UNDECIDED:
        return UNDECIDED, UNDECIDED
    noun = noun_of(outcome, level)
    if claim == EQUIVALENT:
        return EQUIVALENT, f"{EQUIVALENT}: {_staying(noun, run, finding)}"
    if run.kind in ("full", NONE):
        word = {UP: "higher", DOWN: "lower"}.get(direction, "different")
        return word, f"{noun} are {word} {circumstance(run)}"
    word = {UP: "rise", DOWN: "fall"}.get(direction, "change")
    return word, f"{noun} {word} {circumstance(run)}"


def _staying(noun: str, run: Run, finding: Finding) -> str:
    """What an equivalent variant leaves as it is."""
    within = f"within {_margin(finding)} points"
    if finding.same_data:
        return "it learns from the same data"
    if run.kind == NONE:
        return f"{noun} before the method are {within} of those of the full set"
    if run.kind == "full":
        return f"{noun} are {within} of those with {_reference_of(run)}"
    return f"{noun} stay {within} {circumstance(run)}"


def _reference_of(run: Run) -> str:
    return group_of(run.reference) or "the full set"


def _margin(finding: Finding) -> str:
    return format_short(PER_CENT * (finding.margin or 0.0))


def circumstance(run: Run, compared: bool = True) -> str:
    """How a sentence about a variant's outcome ends, such as "without it".

    Args:
        compared: of a full set and of the model before the method, the sentence has a comparative.
    """
    parts = run.label.partition(" ")[0].split(":")
    match run.kind:
        case "leave_one_out":
            return "without it"
        case "only_one":
            return "with it alone"
        case "without_tag":
            return "without this family"
        case "only_tag":
            return "with this family alone"
        case "sizes":
            principles = "principle" if run.target == "1" else "principles"
            return f"with a set of {run.target} {principles}"
        case "opposite":
            return "with it negated"
        case "reworded":
            return "with it in other words"
        case "weights":
            return f"with its weight times {parts[-1]}" if len(parts) > 2 else "with its new weight"
        case "full":
            reference = _reference_of(run)
            return f"than with {reference}" if compared else f"with it instead of {reference}"
        case _:
            return PARTS.get(run.kind, "before the method")


def group_of(label: str) -> str:
    """The overrides in a label besides the variant, such as `pipeline=dpo`; "" if it has none."""
    return label.partition(" ")[2]
