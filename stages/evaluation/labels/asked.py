"""Verdict rows and labels, brought together: each policy by prompt, for one question.

In: Verdict rows with the judge's probabilities, and gold: Label rows, or the ground truth of some
prompts. Out: `Labelled` of each policy, and how many answers of drawn prompts lack a label.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from stages.evaluation.instrument.decision import Decision
from stages.evaluation.labels.questions import ANY, label_id, wording_of
from stages.runtime.rows import Label, Verdict
from stages.statistics.intervals import by_prompt
from stages.statistics.judges.gold_labels import Labelled

Value = TypeVar("Value", bool, float)
Gold = Callable[[Verdict, str], float | None]
"""(row, question) -> people's value; None without one."""


@dataclass(frozen=True)
class Drawn:
    """The labels, and the prompts that were drawn for them."""

    gold: Gold
    probabilities: Mapping[str, float]
    """Of each drawn prompt."""
    source: str
    """Where they come from, in a word: people, or truth."""

    def weight(self, prompt_id: str) -> float:
        """Return how many prompts a drawn one stands for."""
        return 1 / self.probabilities.get(prompt_id, 1.0)


def judged_value(
    row: Verdict, question: str, counted: Sequence[str], decision: Decision
) -> float | None:
    """Return whether the judge says that an answer breaks a principle.

    Args:
        question: a principle, or `ANY` for those that are `counted`.
        decision: which probabilities count as violations.

    Returns:
        1 for yes, 0 for no; None if the judge was not asked.
    """
    broken = decision.violated(row)
    asked = _about(question, counted, broken)
    return float(any(asked)) if asked else None


def judged_probability(row: Verdict, question: str, counted: Sequence[str]) -> float | None:
    """Return the judge's P(violated) of what it finds worst; None if it was not asked."""
    judged = dict(zip(row.principles, row.judged, strict=False))
    asked = _about(question, counted, judged)
    return max(asked, default=None)


def doubt(row: Verdict, question: str, counted: Sequence[str], decision: Decision) -> float:
    """Return the variance of a yes or no that the judge's calibrated probability leaves.

    Args:
        question, counted, decision: as in `judged_value`.
    """
    calibrated = decision.calibrated(row)
    asked = _about(question, counted, calibrated)
    worst = max(asked, default=0.0)
    return worst * (1 - worst)


def _about(question: str, counted: Sequence[str], values: Mapping[str, Value]) -> list[Value]:
    """The values of the principles that a question is about."""
    principles = counted if question == ANY else [question]
    asked = []
    for name in principles:
        if name in values:
            asked.append(values[name])
    return asked


def from_people(labels: Sequence[Label], texts: Mapping[str, str], counted: Sequence[str]) -> Drawn:
    """Several labels of one answer are averaged.

    Where people were asked about every principle that counts, one by one, an answer breaks any if
    it breaks one of them.
    """
    values = by_prompt((label.id, label.label) for label in labels)
    wordings = {}
    for name in (*texts, ANY):
        wordings[name] = wording_of(name, texts, counted)

    def gold(row: Verdict, question: str) -> float | None:
        wording = wordings[question]
        label = label_id(row.prompt_id, row.response, wording)
        value = values.get(label)
        if value is None and question == ANY:
            value = worst(row)
        return value

    def worst(row: Verdict) -> float | None:
        answers = []
        for name in counted:
            value = gold(row, name)
            if value is None:
                return None  # the others alone would be too good
            answers.append(value)
        return max(answers, default=None)

    probabilities = {label.prompt_id: label.probability for label in labels}
    return Drawn(gold, probabilities, "people")


def from_truth(prompts: Sequence[str]) -> Drawn:
    """The ground truth of some prompts, as if people had labelled them."""
    drawn = dict.fromkeys(prompts, 1.0)

    def gold(row: Verdict, question: str) -> float | None:
        if row.prompt_id not in drawn:
            return None
        if question == ANY:
            value = row.any_violation
        else:
            by_principle = zip(row.principles, row.violated, strict=False)
            value = dict(by_principle).get(question)
        return None if value is None else float(value)

    return Drawn(gold, drawn, "truth")


def labelled(
    rows: Sequence[Verdict],
    drawn: Drawn,
    question: str,
    counted: Sequence[str],
    decision: Decision,
) -> Labelled:
    """Return one policy's values by prompt.

    Args:
        rows: of one policy.
        question, counted, decision: as in `judged_value`.
    """
    judged = []
    gold = []
    for row in rows:
        by_judge = judged_value(row, question, counted, decision)
        by_people = drawn.gold(row, question)
        judged.append((row.prompt_id, by_judge))
        gold.append((row.prompt_id, by_people))
    weights = {prompt: drawn.weight(prompt) for prompt in drawn.probabilities}
    return Labelled(
        judged=by_prompt(judged),
        gold=by_prompt(gold),
        weights=weights,
    )


def missing(rows: Sequence[Verdict], drawn: Drawn, question: str) -> float:
    """Return the share of the answers to drawn prompts that have no label."""
    of_drawn = [row for row in rows if row.prompt_id in drawn.probabilities]
    unlabelled = sum(drawn.gold(row, question) is None for row in of_drawn)
    return unlabelled / len(of_drawn) if of_drawn else 0.0
