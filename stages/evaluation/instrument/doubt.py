"""May an evaluation state rates of violations? The doubt that takes a headline's place.

In: the metrics of one `evaluate` artifact, whose `judge` is as `use` describes it.
"""

from collections.abc import Mapping
from typing import Any

from stages.evaluation.instrument.verdict import ABLE, DEBIASED, THRESHOLDS
from stages.statistics.formatting import format_percent

EVEN = 0.5
"""The threshold for P(violated) that nothing moved."""
CANNOT = "The judge cannot tell"
"""How a headline begins that states no rate."""


def doubt_about_rates(metrics: Mapping[str, Any]) -> str:
    """Return why no rate of violations may be stated; "" where one may.

    It may where the ground truth counts, or where the judge was examined and passed. A judge that
    was not examined is refused only where it gives one answer to nearly everything.
    """
    judge = metrics.get("judge") or {}
    if metrics["measured_by"] == "truth":
        return ""
    examined = (judge.get("examination") or {}).get("yes_no")
    if examined and examined["verdict"] not in (ABLE, DEBIASED):
        return f"it is {examined['verdict']}: {'; '.join(examined['reasons'])}"
    if examined and (examined["verdict"] == ABLE or judge["threshold"] != EVEN):
        return ""
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
