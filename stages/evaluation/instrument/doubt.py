"""May a figure that rests on a judge be believed? One doubt for headlines, tables and pages.

In: the metrics of one `evaluate` artifact, whose `judge` is as `use` describes it, or the steps
behind a judge's preferences. Out: why not, in words; "" where it may. Such a figure is still
written, with MARK and without a colour: it is no evidence.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from stages.evaluation.instrument.calibration import EVEN
from stages.evaluation.instrument.decision import decision_of
from stages.evaluation.instrument.questions import CHOICE_FORM, YES_NO_FORM
from stages.evaluation.instrument.verdict import ABLE, DEBIASED, THRESHOLDS
from stages.runtime.artifacts import Artifact
from stages.statistics.formatting import NO_VALUE, format_percent

HOW_TO_MOVE = "`calibration: when_biased` moves its threshold"
CANNOT = "The judge cannot tell"
"""How a headline begins that states no rate."""
MARK = "?"
BY_SOURCE = ("any_violation", "violates ")
"""How figures begin that the ground truth decides, or else the judge's Yes or No."""
PROBABILITY = "violation_probability"
BY_YES_NO = ("any_violation_judge", PROBABILITY, "follows_helpful")
BY_CHOICES = ("wins",)
JUDGING = {"judge": CHOICE_FORM, "rate": YES_NO_FORM}
"""By stage whose `model` judges: how it is asked."""


def doubt_about(figure: str, metrics: Mapping[str, Any]) -> str:
    """Return why a figure of an evaluation is no evidence; "" where it may be believed.

    It may where no judge decides it, or where the judge was examined and passed, and no leaning is
    left. A judge that was not examined is refused only where it gives one answer to nearly
    everything.

    Args:
        figure: a measure, `violates <id>` or `wins`; a step's name in brackets may follow.
    """
    figure = figure.partition(" (")[0]
    judge = metrics.get("judge") or {}
    examination = judge.get("examination")
    if figure in BY_CHOICES:
        return _doubt_about_form(examination, CHOICE_FORM)
    by_source = figure.startswith(BY_SOURCE) and figure not in BY_YES_NO
    by_judge = metrics["measured_by"] == "judge" if by_source else figure in BY_YES_NO
    if not by_judge:
        return ""
    if examination:
        is_left = examination["leans_to"] and decision_of(metrics).origin == "even odds"
        leans = f"it leans to {examination['leans_to']} ({HOW_TO_MOVE})" if is_left else ""
        doubt = _doubt_about_form(examination, YES_NO_FORM)
        return doubt or ("" if figure == PROBABILITY else leans)
    answers = judge.get("answers")
    low, high = THRESHOLDS.saturated
    if answers and not low < answers["yes"] < high:
        return f"{_one_answer(answers)}, and it is not shown that it sees a difference"
    return ""


def doubt_about_preferences(steps: Iterable[Artifact]) -> str:
    """Return why preferences, or what was made of them, are no evidence; "" where they may be.

    Args:
        steps: whose rows, or those behind them, a judge may have made. Models that judged
            preferences trained are not followed.
    """
    for step in steps:
        if step.stage in JUDGING:
            for examination in step.input_artifacts("examination"):
                if doubt := _doubt_about_form(examination.metrics, JUDGING[step.stage]):
                    return doubt
        else:
            before = [each for each in step.input_artifacts() if each.manifest.rows is not None]
            if doubt := doubt_about_preferences(before):
                return doubt
    return ""


def mark(text: str, doubt: str) -> str:
    """Return a number as text, marked where it is no evidence."""
    return f"{text}{MARK}" if doubt and text != NO_VALUE else text


def explain_mark(doubts: Iterable[str]) -> str:
    """Return what MARK means beneath or above marked figures; "" where none is in doubt."""
    short = dict.fromkeys(doubt.partition(": ")[0] for doubt in doubts if doubt)
    return f"{MARK}: no evidence, for the judge cannot tell ({'; '.join(short)})" if short else ""


def _doubt_about_form(examination: Mapping[str, Any] | None, form: str) -> str:
    if not examination or examination[form]["verdict"] in (ABLE, DEBIASED):
        return ""
    return f"it is {examination[form]['verdict']}: {'; '.join(examination[form]['reasons'])}"


def _one_answer(answers: Mapping[str, Any]) -> str:
    yes = answers["yes"]
    name = "Yes" if yes > EVEN else "No"
    rate = max(yes, 1 - yes)
    return f"it answers {name} to {format_percent(rate)} % of {answers['n']} questions"
