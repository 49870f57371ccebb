"""May an evaluation state rates of violations? The doubt that takes a headline's place.

In: the metrics of one `evaluate` artifact, whose `judge` is as `use` describes it.
"""

from collections.abc import Mapping
from typing import Any

from stages.evaluation.instrument.calibration import EVEN
from stages.evaluation.instrument.decision import decision_of
from stages.evaluation.instrument.verdict import ABLE, DEBIASED, THRESHOLDS
from stages.statistics.formatting import format_percent

HOW_TO_MOVE = "`calibration: when_biased` moves its threshold"
CANNOT = "The judge cannot tell"
"""How a headline begins that states no rate."""


def doubt_about_rates(metrics: Mapping[str, Any]) -> str:
    """Return why no rate of violations may be stated; "" where one may.

    It may where the ground truth counts, or where the judge was examined and passed, and no leaning
    is left. A judge that was not examined is refused only where it gives one answer to nearly
    everything.
    """
    judge = metrics.get("judge") or {}
    if metrics["measured_by"] == "truth":
        return ""
    if examination := judge.get("examination"):
        examined = examination["yes_no"]
        if examined["verdict"] not in (ABLE, DEBIASED):
            return f"it is {examined['verdict']}: {'; '.join(examined['reasons'])}"
        leans_to = examination["leans_to"]
        is_moved = decision_of(metrics).origin != "even odds"
        return "" if is_moved or not leans_to else f"it leans to {leans_to} ({HOW_TO_MOVE})"
    answers = judge.get("answers")
    low, high = THRESHOLDS.saturated
    if answers and not low < answers["yes"] < high:
        return f"{_one_answer(answers)}, and it is not shown that it sees a difference"
    return ""


def _one_answer(answers: Mapping[str, Any]) -> str:
    yes = answers["yes"]
    name = "Yes" if yes > EVEN else "No"
    rate = max(yes, 1 - yes)
    return f"it answers {name} to {format_percent(rate)} % of {answers['n']} questions"
