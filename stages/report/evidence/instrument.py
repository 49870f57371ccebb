"""Remarks on an evaluation's judge, which stand beside the headline.

In: the metrics of one `evaluate` artifact, whose `judge` is as `instrument/use` describes it. Out:
sentences without full stops.
"""

from stages.evaluation.instrument.decision import decision_of
from stages.report.views.marks import Metrics
from stages.statistics.formatting import format_percent, format_points, format_points_range


def remarks_on_judge(metrics: Metrics) -> list[str]:
    """Return what stands beside the headline: examined, its threshold, whom it also trained."""
    judge = metrics.get("judge") or {}
    if "examination" not in judge:
        return []
    return [*_on_examination(judge, metrics), *_on_threshold(metrics), *_on_training(judge)]


def mean_probability(metrics: Metrics, first: str, last: str) -> str:
    """Return the change of the judge's mean probability of a violation; "" where none is known.

    It moves also where all answers lie on one side of the threshold.
    """
    changes = metrics["differences"].get(last, {}).get(first, {}).get("measures", {})
    change = changes.get("violation_probability")
    if not change:
        return ""
    before = format_percent(change["before"])
    after = format_percent(change["after"])
    interval = format_points_range(change["low"], change["high"])
    return (
        f"the judge's mean probability of a violation went from {before} to {after} % "
        f"({format_points(change['value'])} points, {interval})"
    )


def _on_examination(judge: Metrics, metrics: Metrics) -> list[str]:
    examination = judge["examination"]
    if not examination:
        by_judge = metrics["measured_by"] == "judge"
        return ["The judge was not examined" + (": its rates may mean nothing" if by_judge else "")]
    verdicts = f"Yes or No {examination['yes_no']['verdict']}"
    verdicts += f", choices {examination['choices']['verdict']}"
    remarks = [f"The judge was examined: {verdicts}"]
    if not examination["same_judge"]:
        remarks = ["The examination is about another model than the judge"]
    return remarks


def _on_threshold(metrics: Metrics) -> list[str]:
    decision = decision_of(metrics)
    lowest, highest = (format_percent(f(decision.thresholds), 2) for f in (min, max))
    counted = "a violation is counted where its probability is above"
    if decision.origin == "examination":
        return [f"It leans, so {counted} {lowest} %, the middle of its examination"]
    if decision.origin == "labels":
        where = f"{lowest} %" if lowest == highest else f"{lowest} to {highest} %"
        return [f"By labels, {counted} {where}: there it counts as many as people do"]
    return []


def _on_training(judge: Metrics) -> list[str]:
    trained = judge.get("trained")
    if trained is None:
        return ["Whether this judge also judged what the policies learnt from is not known"]
    if trained:
        return [
            "The same judge labelled what the policies learnt from: they may have learnt to "
            "please it"
        ]
    return []
