"""Verdict rows and labels, brought together: each policy by prompt, for one question.

In: Verdict rows with the judge's probabilities, and gold: Label rows, or the ground truth of some
prompts. Out: `Labelled` of each policy, and how many answers of drawn prompts lack a label.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from stages.evaluation.instrument.decision import Decision
from stages.evaluation.labels.questions import ANY, label_id, wording_of
from stages.runtime.rows import Label, Verdict
from stages.statistics.intervals import by_prompt
from stages.statistics.judges.gold_labels import Labelled

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
    """Return 1 if the judge says that the answer breaks it, else 0; None if it was not asked."""
    violated = decision.violated(row)
    asked = [violated[name] for name in _principles(question, counted) if name in violated]
    return float(any(asked)) if asked else None


def judged_probability(row: Verdict, question: str, counted: Sequence[str]) -> float | None:
    """Return the judge's P(violated) of what it finds worst; None if it was not asked."""
    judged = dict(zip(row.principles, row.judged, strict=False))
    asked = [judged[name] for name in _principles(question, counted) if name in judged]
    return max(asked, default=None)


def doubt(row: Verdict, question: str, counted: Sequence[str], decision: Decision) -> float:
    """Return the variance of a yes or no that the judge's calibrated probability leaves."""
    calibrated = decision.calibrated(row)
    asked = [calibrated[name] for name in _principles(question, counted) if name in calibrated]
    probability = max(asked, default=0.0)
    return probability * (1 - probability)


def _principles(question: str, counted: Sequence[str]) -> Sequence[str]:
    return counted if question == ANY else [question]


def from_people(labels: Sequence[Label], texts: Mapping[str, str], counted: Sequence[str]) -> Drawn:
    """Several labels of one answer are averaged.

    Where people were asked about every principle that counts, one by one, an answer breaks any if
    it breaks one of them.
    """
    values = by_prompt((label.id, label.label) for label in labels)
    wordings = {name: wording_of(name, texts, counted) for name in (*texts, ANY)}

    def gold(row: Verdict, question: str) -> float | None:
        value = values.get(label_id(row.prompt_id, row.response, wordings[question]))
        if value is not None or question != ANY:
            return value
        each = [gold(row, name) for name in counted]
        answered = [value for value in each if value is not None]
        return max(answered) if answered and len(answered) == len(each) else None

    probabilities = {label.prompt_id: label.probability for label in labels}
    return Drawn(gold, probabilities, "people")


def from_truth(prompts: Sequence[str]) -> Drawn:
    """The ground truth of some prompts, as if people had labelled them."""
    drawn = dict.fromkeys(prompts, 1.0)

    def gold(row: Verdict, question: str) -> float | None:
        if row.prompt_id not in drawn:
            return None
        value = row.any_violation
        if question != ANY:
            violated = dict(zip(row.principles, row.violated, strict=False))
            value = violated.get(question)
        return None if value is None else float(value)

    return Drawn(gold, drawn, "truth")


def labelled(
    rows: Sequence[Verdict],
    drawn: Drawn,
    question: str,
    counted: Sequence[str],
    decision: Decision,
) -> Labelled:
    """Return one policy's values by prompt."""
    judged = []
    gold = []
    for row in rows:
        value = judged_value(row, question, counted, decision)
        judged.append((row.prompt_id, value))
        gold.append((row.prompt_id, drawn.gold(row, question)))
    weights = {prompt: drawn.weight(prompt) for prompt in drawn.probabilities}
    return Labelled(by_prompt(judged), by_prompt(gold), weights)


def missing(rows: Sequence[Verdict], drawn: Drawn, question: str) -> float:
    """Return the share of the answers to drawn prompts that have no label."""
    of_drawn = [row for row in rows if row.prompt_id in drawn.probabilities]
    unlabelled = sum(drawn.gold(row, question) is None for row in of_drawn)
    return unlabelled / len(of_drawn) if of_drawn else 0.0
