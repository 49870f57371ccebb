"""Verdict rows and labels, brought together: each policy by prompt, for one question.

In: Verdict rows with the judge's probabilities, and gold: Label rows, or the ground truth of some
prompts. Out: `Labelled` of each policy, and how many answers of drawn prompts lack a label.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

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


def judged_value(row: Verdict, question: str, counted: Sequence[str]) -> float | None:
    """Return 1 if the judge says that the answer breaks it, else 0; None if it was not asked."""
    probabilities = _probabilities(row, question, counted)
    return float(max(probabilities) > 0.5) if probabilities else None


def doubt(row: Verdict, question: str, counted: Sequence[str]) -> float:
    """Return the variance of a yes or no that the judge's probability leaves."""
    probability = max(_probabilities(row, question, counted), default=0.0)
    return probability * (1 - probability)


def _probabilities(row: Verdict, question: str, counted: Sequence[str]) -> list[float]:
    """Return the judge's P(violated) of the principles that a question is about."""
    said = dict(
        zip(
            row.principles,
            row.judged,
            strict=False,
        )
    )
    asked = counted if question == ANY else [question]
    return [said[name] for name in asked if name in said]


def from_people(labels: Sequence[Label], texts: Mapping[str, str], counted: Sequence[str]) -> Drawn:
    """Several labels of one answer are averaged."""
    values = by_prompt((label.id, label.label) for label in labels)
    wordings = {
        name: wording_of(
            name,
            texts,
            counted,
        )
        for name in (*texts, ANY)
    }

    def gold(row: Verdict, question: str) -> float | None:
        return values.get(
            label_id(
                row.prompt_id,
                row.response,
                wordings[question],
            )
        )

    probabilities = {label.prompt_id: label.probability for label in labels}
    return Drawn(
        gold,
        probabilities,
        "people",
    )


def from_truth(prompts: Sequence[str]) -> Drawn:
    """The ground truth of some prompts, as if people had labelled them."""
    drawn = dict.fromkeys(prompts, 1.0)

    def gold(row: Verdict, question: str) -> float | None:
        if row.prompt_id not in drawn:
            return None
        value = row.any_violation
        if question != ANY:
            value = dict(
                zip(
                    row.principles,
                    row.violated,
                    strict=False,
                )
            ).get(question)
        return None if value is None else float(value)

    return Drawn(
        gold,
        drawn,
        "truth",
    )


def labelled(
    rows: Sequence[Verdict], drawn: Drawn, question: str, counted: Sequence[str]
) -> Labelled:
    """Return one policy's values by prompt."""
    judged = []
    gold = []
    for row in rows:
        judged.append(
            (
                row.prompt_id,
                judged_value(
                    row,
                    question,
                    counted,
                ),
            )
        )
        gold.append((row.prompt_id, drawn.gold(row, question)))
    weights = {prompt: 1 / value for prompt, value in drawn.probabilities.items()}
    return Labelled(
        by_prompt(judged),
        by_prompt(gold),
        weights,
    )


def missing(rows: Sequence[Verdict], drawn: Drawn, question: str) -> float:
    """Return the share of the answers to drawn prompts that have no label."""
    of_drawn = [row for row in rows if row.prompt_id in drawn.probabilities]
    unlabelled = sum(drawn.gold(row, question) is None for row in of_drawn)
    return unlabelled / len(of_drawn) if of_drawn else 0.0
