"""The threshold of a judge's Yes or No from labels, cross-fitted.

In: Verdict rows of all policies, and labels of some. Out: a `Decision`. A threshold is where the
judge counts as many violations as people do. Each fold of the prompts has its own, from the labels
of the other folds, so that no label both sets a threshold and measures the error that is left.
"""

from collections.abc import Iterable, Mapping, Sequence

from stages.evaluation.instrument.calibration import Calibration
from stages.evaluation.instrument.decision import Decision, fold_of
from stages.evaluation.instrument.use import examined_decision
from stages.evaluation.labels.asked import Drawn, judged_probability
from stages.evaluation.labels.questions import ANY
from stages.runtime.artifacts import Artifact
from stages.runtime.rows import Verdict
from stages.statistics.judges.thresholds import matching_threshold

FOLDS = 5
"""Of the prompts; each has a threshold of its own."""
FEW = (
    "the labels are too few, or too much of one kind, for a threshold from labels: the judge's "
    "examination decides"
)


def decide(
    calibration: Calibration,
    inputs: Mapping[str, Artifact],
    judged: Mapping[str, Sequence[Verdict]],
    drawn: Drawn | None,
    counted: Sequence[str],
) -> tuple[Decision, list[str]]:
    """Return which of the judge's answers count as violations, and what to warn of.

    Args:
        inputs: of `evaluate`.
        judged: the rows of each policy that the judge was asked about.
    """
    if calibration != "labels":
        return examined_decision(inputs, calibration), []
    rows = [verdict for verdicts in judged.values() for verdict in verdicts]
    decision = decision_from_labels(rows, drawn, counted) if drawn else None
    if decision:
        return decision, []
    return examined_decision(inputs, "when_biased"), [FEW]


def decision_from_labels(
    rows: Iterable[Verdict], drawn: Drawn, counted: Sequence[str]
) -> Decision | None:
    """Return the thresholds of all folds.

    Returns:
        None where a fold's labels are too few, or all of one kind.
    """
    cells = []
    for row in rows:
        probability = judged_probability(row, ANY, counted)
        gold = drawn.gold(row, ANY)
        if probability is not None and gold is not None:
            fold = fold_of(row.prompt_id, FOLDS)
            cells.append((fold, probability, gold, drawn.weight(row.prompt_id)))
    thresholds = []
    for fold in range(FOLDS):
        others = [cell[1:] for cell in cells if cell[0] != fold]
        threshold = matching_threshold(others)
        if threshold is None:
            return None
        thresholds.append(threshold)
    return Decision(tuple(thresholds), "labels")
