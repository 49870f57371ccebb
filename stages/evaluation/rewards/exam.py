"""One reward model's answers to all questions.

In: a model, and cells, lists and labelled pairs to ask it about. Out: which answers are right, by
test and by principle, and facts about the scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import pstdev

from stages.evaluation.inputs import ReadingOptions
from stages.evaluation.rewards.cells import Cell, Question, ask
from stages.evaluation.rewards.labelled_pairs import LabelledPair, count_labels
from stages.evaluation.rewards.lists import Lists
from stages.evaluation.rewards.reward_metrics import (
    ModelResult,
    order_effects,
    values_by_principle,
)
from stages.evaluation.rewards.reward_tests import count
from stages.runtime.context import Context
from stages.runtime.models import Model
from stages.statistics.intervals import by_prompt
from stages.training.reward_models.format import read_format
from stages.training.reward_models.stored_scores import stored_scores

QuestionKey = tuple[str, str, str, tuple[str, ...]]


@dataclass(frozen=True)
class Exam:
    """The material of the questions that every model is asked."""

    cells: list[Cell]
    """The cells that prefer a response."""
    agreeing: Lists
    """Lists of principles that prefer the same response of a pair."""
    distractors: Lists
    """Lists of one principle that prefers a response and others that prefer neither."""
    pairs: list[LabelledPair]
    held_out: tuple[str, ...]
    """Ids of the principles that the models were not trained with."""

    def questions(self) -> list[Question]:
        questions = [ask(cell) for cell in self.cells]
        questions += [ask(cell, negated=True) for cell in self.cells if cell.principle.opposite]
        for principle_list in self.agreeing + self.distractors:
            questions += principle_list.questions()
        return questions + [pair.question for pair in self.pairs]


def examine(
    name: str,
    model: Model,
    exam: Exam,
    options: ReadingOptions,
    context: Context,
) -> ModelResult:
    """Ask one model everything, and count its answers."""
    layout = read_format(model)
    items = []
    for question in exam.questions():
        texts = question.texts if layout.principles else ()
        items += [(question.prompt, text, texts) for text in (question.a, question.b)]
    scores, tally = stored_scores(
        model,
        items,
        context,
        options.batch_size,
        options.dtype,
        name,
    )
    readable = [score for score in scores if score is not None]
    differences, unread = _differences(exam.questions(), scores)
    facts = {
        "sd": round(pstdev(readable), 6) if readable else None,
        "unread": unread,
        "scores": tally,
    }
    sign = -1.0 if layout.objective == "cost" else 1.0

    def answer(question: Question) -> float:
        return sign * differences[_key(question)]

    counts = count(
        exam.cells,
        exam.agreeing,
        exam.distractors,
        exam.held_out,
        answer,
    )
    count_labels(counts, exam.pairs, answer)
    return ModelResult(
        tests={test: by_prompt(values) for test, values in counts.items() if values},
        principles=values_by_principle(exam.cells, answer),
        facts=facts | order_effects(exam.agreeing + exam.distractors, answer),
    )


def _key(question: Question) -> QuestionKey:
    return question.prompt_id, question.a, question.b, question.texts


def _differences(
    questions: Sequence[Question], scores: Sequence[float | None]
) -> tuple[dict[QuestionKey, float], int]:
    """Differences in score, a minus b, and the number of questions with an unreadable text.

    A text that does not fit the model's context gives a difference of 0: a tie.
    """
    differences = {}
    unread = 0
    for question, a, b in zip(questions, scores[::2], scores[1::2], strict=True):
        difference = 0.0
        if a is None or b is None:
            unread += 1
        else:
            difference = a - b
        differences[_key(question)] = difference
    return differences, unread
