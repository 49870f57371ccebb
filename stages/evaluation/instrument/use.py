"""What an evaluation says of its judge: examined or not, its thresholds, and whom it also trained.

In: the inputs of `evaluate` and its Verdict rows. Out: plain data beside the metrics, for headlines
(see `stages/report/evidence`):

    examination     the verdicts on choices and on Yes or No, and to what it leans; None where the
                    judge was not examined
    thresholds      the P(violated) above which a principle counts as violated, see `decision`
    threshold_from  even odds, examination or labels
    answers         {yes: the share of Yes among all its answers, n}
    trained         whether this judge also made what the policies learnt from; None where a step
                    before them is no longer there
"""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from stages.evaluation.instrument.calibration import (
    EVEN,
    Calibration,
    threshold_of_examination,
)
from stages.evaluation.instrument.decision import EVEN_ODDS, Decision
from stages.evaluation.instrument.doubt import JUDGING
from stages.evaluation.instrument.questions import CHOICE_FORM, YES_NO_FORM
from stages.evaluation.instrument.verdict import leaning
from stages.runtime.artifacts import Artifact, lineage
from stages.runtime.rows import Verdict


def examined_decision(inputs: Mapping[str, Artifact], use: Calibration) -> Decision:
    """Return the decision by the examination: even odds where there is none, or it moves none."""
    if "examination" not in inputs:
        return EVEN_ODDS
    threshold = threshold_of_examination(inputs["examination"].metrics, use)
    return EVEN_ODDS if threshold == EVEN else Decision((threshold,), "examination")


def describe_judge(
    inputs: Mapping[str, Artifact],
    policies: Sequence[Artifact],
    verdicts: Sequence[Verdict],
    decision: Decision,
) -> dict[str, Any]:
    """Return the facts beside the headline, see above."""
    judge = inputs["judge"].model().content
    examination: dict[str, Any] | None = None
    if "examination" in inputs:
        metrics = inputs["examination"].metrics
        examination = {form: _verdict(metrics[form]) for form in (CHOICE_FORM, YES_NO_FORM)}
        examination["leans_to"] = leaning(metrics[YES_NO_FORM])
        examination["same_judge"] = metrics["judge"] == judge
    probabilities = [each for verdict in verdicts for each in verdict.judged]
    answers = None
    if probabilities:
        yes = fmean(each <= EVEN for each in probabilities)
        answers = {"yes": yes, "n": len(probabilities)}
    return {
        "model": judge,
        "examination": examination,
        **decision.plain(),
        "answers": answers,
        "trained": has_trained(judge, policies),
    }


def has_trained(judge: str, policies: Iterable[Artifact]) -> bool | None:
    """Return whether a model judged in a step before the policies' responses.

    Args:
        judge: the content id of the model.

    Returns:
        None where no such step is there, but some step before them is missing.
    """
    is_complete = True
    for step in lineage(policies):
        for name in _judges_of(step):
            if any(judge == source.model().content for source in step.input_artifacts(name)):
                return True
        if len(step.input_artifacts()) < len(step.inputs):
            is_complete = False
    return False if is_complete else None


def _verdict(form: Mapping[str, Any]) -> dict[str, Any]:
    return {key: form[key] for key in ("verdict", "reasons", "advice")}


def _judges_of(step: Artifact) -> list[str]:
    """Return the inputs of a step that judge in it."""
    if step.stage in JUDGING:
        return ["model"]
    names = []
    for key in ("rewards", "costs"):
        for term in (step.config.get(key) or {}).values():
            if isinstance(term, Mapping) and term.get("term") == "judge":
                names.append(str(term.get("model")))
    return names
