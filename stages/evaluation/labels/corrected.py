"""What labels make of a judge's rates: raw, labels alone, prediction-powered, misclassification.

In: Verdict rows of each policy, and labels of some. Out: a nested dict,

    source     people or truth: whose labels they are
    missing    {policy: the share of answers to drawn prompts without a label}
    reference  the policy with the most labels
    questions  {`any` or a principle's id: {
        rates        {policy: {raw, gold, ppi, misclassification}}
        differences  {policy: {against: the same four}}
        errors       {policy: {sensitivity, specificity}}
        errors_from  {policy: the policy whose labels correct it; null: none do}
        transport    {policy: the mean residual, see `statistics.judges.transport`}}}

where an estimate is {value, low, high, n, ...} or None. `ppi` and `gold` need a policy's own
labels. `misclassification` uses a policy's own sensitivity and specificity where there are enough
labels of both kinds, else the reference's, unless the judge errs otherwise there. A difference is
over the same prompts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.evaluation.instrument.decision import Decision
from stages.evaluation.instrument.doubt import mark
from stages.evaluation.labels.asked import Drawn, labelled, missing
from stages.evaluation.labels.questions import ANY
from stages.runtime.manifest import Table
from stages.runtime.rows import Verdict
from stages.statistics.formatting import (
    format_change,
    format_confidence,
    format_estimate,
    format_percent,
)
from stages.statistics.intervals import Intervals
from stages.statistics.judges.gold_labels import Labelled
from stages.statistics.judges.misclassification import (
    corrected_difference,
    corrected_rate,
    error_shares,
)
from stages.statistics.judges.prediction_powered import powered_difference, powered_rate
from stages.statistics.judges.transport import Residual, carried_errors

METHODS = ("raw", "gold", "ppi", "misclassification")
MISSING = 0.1
"""From this share of missing labels on, a run warns."""


@dataclass(frozen=True)
class _Question:
    policies: dict[str, Labelled]
    """By policy, its values."""
    sources: dict[str, str | None]
    """By policy, the policy whose labels state how the judge errs on it."""


def correct(
    rows: Mapping[str, Sequence[Verdict]],
    drawn: Drawn,
    counted: Sequence[str],
    decision: Decision,
    rivals: Mapping[str, Sequence[str]],
    intervals: Intervals,
) -> dict[str, Any]:
    """All the metrics above.

    Args:
        rows: of each policy, the baseline first.
        drawn: the labels.
        counted: the principles that the question about any covers.
        decision: which of the judge's answers count as violations.
        rivals: by policy, those that it is compared with.
    """
    principles = next(iter(rows.values()))[0].principles
    questions = {}
    for question in (ANY, *principles):
        policies = {}
        for name, verdicts in rows.items():
            policies[name] = labelled(verdicts, drawn, question, counted, decision)
        if any(policy.labels for policy in policies.values()):
            questions[question] = _question(policies, rivals, intervals)
    unlabelled = {}
    for name, verdicts in rows.items():
        unlabelled[name] = missing(verdicts, drawn, ANY)
    return {
        "source": drawn.source,
        "confidence": intervals.confidence,
        "drawn": len(drawn.probabilities),
        "missing": unlabelled,
        "questions": questions,
    }


def _question(
    policies: dict[str, Labelled], rivals: Mapping[str, Sequence[str]], intervals: Intervals
) -> dict[str, Any]:
    reference = max(policies, key=lambda name: len(policies[name].labels))
    residuals = _residuals(policies, reference, intervals)
    sources: dict[str, str | None] = {}
    errors: dict[str, Any] = {}
    for name, policy in policies.items():
        shares = error_shares(policy, policy.labels)
        errors[name] = None
        if shares:
            sensitivity, specificity = shares
            errors[name] = {
                "sensitivity": sensitivity.value,
                "specificity": specificity.value,
            }
        residual = residuals.get(name)
        carries = residual is None or residual.carries
        sources[name] = name if shares else reference if carries else None
    question = _Question(policies, sources)
    labels = {}
    rates = {}
    for name, policy in policies.items():
        labels[name] = len(policy.labels)
        rates[name] = _rate(question, name, intervals)
    differences: dict[str, Any] = {}
    for name, others in rivals.items():
        differences[name] = {}
        for other in others:
            differences[name][other] = _difference(question, other, name, intervals)
    return {
        "reference": reference,
        "labels": labels,
        "rates": rates,
        "differences": differences,
        "errors": errors,
        "errors_from": sources,
        "transport": {name: _plain(residual) for name, residual in residuals.items()},
    }


def _residuals(
    policies: Mapping[str, Labelled], reference: str, intervals: Intervals
) -> dict[str, Residual | None]:
    """The test of every other policy; together they err as often as one interval would."""
    others = [name for name in policies if name != reference]
    confidence = 1 - (1 - intervals.confidence) / max(len(others), 1)
    labels = policies[reference]
    resamples, seed = intervals.resamples, intervals.seed
    residuals = {}
    for name in others:
        residuals[name] = carried_errors(labels, policies[name], confidence, resamples, seed)
    return residuals


def _rate(question: _Question, name: str, intervals: Intervals) -> dict[str, Any]:
    policy = question.policies[name]
    confidence = intervals.confidence
    source = question.sources[name]
    corrected = None
    if source:
        corrected = corrected_rate(policy, confidence, question.policies[source])
    return {
        "raw": intervals.estimate(policy.judged),
        "gold": _plain(powered_rate(policy, confidence, power=0.0)),
        "ppi": _plain(powered_rate(policy, confidence)),
        "misclassification": _plain(corrected),
    }


def _difference(
    question: _Question, before: str, after: str, intervals: Intervals
) -> dict[str, Any]:
    policies = question.policies
    pair = (policies[before], policies[after])
    confidence = intervals.confidence
    first, second = question.sources[before], question.sources[after]
    corrected = None
    if first and second:
        errors_of = (policies[first], policies[second])
        corrected = corrected_difference(*pair, confidence, errors_of)
    return {
        "raw": intervals.difference(pair[0].judged, pair[1].judged),
        "gold": _plain(powered_difference(*pair, confidence, power=0.0)),
        "ppi": _plain(powered_difference(*pair, confidence)),
        "misclassification": _plain(corrected),
    }


def _plain(estimate: Any) -> dict[str, Any] | None:
    return estimate.plain() if estimate else None


def corrected_table(metrics: Mapping[str, Any], doubt: str) -> Table:
    """A row for each policy, and under it the change from each policy that it is compared with.

    Args:
        doubt: about what the judge alone says, the first column.
    """
    question = metrics["questions"][ANY]
    rows = []
    for name, rate in question["rates"].items():
        cells = [format_estimate(rate[method], bound_places=0) for method in METHODS]
        rows.append([name, mark(cells[0], doubt), *cells[1:], str(question["labels"][name])])
        for rival, change in question["differences"].get(name, {}).items():
            cells = [format_change(change[method]) for method in METHODS]
            rows.append([f"  less {rival}", mark(cells[0], doubt), *cells[1:], ""])
    confidence = format_confidence(metrics["confidence"])
    whose = "people" if metrics["source"] == "people" else "the ground truth"
    title = f"Violations, corrected by labels of {whose}, per cent, {confidence} intervals"
    columns = ["policy", "the judge", "labels alone", "PPI", "errors undone", "labels"]
    return Table(title, columns, rows)


def correction_warnings(metrics: Mapping[str, Any]) -> list[str]:
    """Reasons to doubt what the judge alone says, or what the labels say."""
    sentences = []
    question = metrics["questions"][ANY]
    for name, residual in question["transport"].items():
        if residual and not residual["carries"]:
            sentences.append(
                f"The judge errs on {name} otherwise than on {question['reference']} (by "
                f"{format_estimate(residual, sign='+')} points of a yes): its own rate of {name}, "
                "and differences with it, are biased"
            )
    for name, share_missing in metrics["missing"].items():
        if share_missing > MISSING:
            sentences.append(
                f"{format_percent(share_missing)} % of the answers of {name} to drawn prompts have "
                "no label: its corrected rates hold only if these are like the others"
            )
    return sentences
