"""The value of each answer to a benchmark: by a model, by phrases, or by people's answers.

In: Response rows and options. Out: a value and a Rating row for each answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from stages.evaluation.classifier import probabilities
from stages.evaluation.inputs import ReadingOptions
from stages.guards.templates import render, template_hash
from stages.preferences.judging.rating import Scale, expected_value
from stages.runtime.context import Context
from stages.runtime.models import Model
from stages.runtime.rows import Dropped, Rating, Response, request_text
from stages.runtime.typed_config import Names, Text
from stages.text.refusals import refuses
from stages.text.synthesis.similarity import rouge_l, words_of
from stages.training.reward_models.stored_scores import stored_scores

By = Literal["question", "classifier", "reward", "refusal", "rouge_l", "exact_match"]
OVERLAPS = ("rouge_l", "exact_match")
"""They compare an answer with the answers of people."""
WITHOUT_JUDGE = ("refusal", *OVERLAPS)
NO_REFERENCE = "no reference"
TOO_LONG = "longer than the judge's context"
TEMPLATES = {
    "question": "evaluation/benchmarks/question.jinja",
    "classifier": "evaluation/benchmarks/classified.jinja",
}


@dataclass(frozen=True)
class Item:
    """One answer to rate."""

    id: str
    model: str
    """The name of the input that it comes from."""
    row: Response


@dataclass(frozen=True, kw_only=True)
class AnswerOptions(ReadingOptions):
    """How answers are rated."""

    by: By = "question"
    """What rates the answers; see `benchmark`."""
    question: str = ""
    """The question that a judge is asked about request and response."""
    scale: Scale = field(default_factory=lambda: {"Yes": 1.0, "No": 0.0})
    """The judge's possible answers, each one token of its vocabulary, and their values."""
    labels: Names = ()
    """The labels of a classifier that count."""
    template: Text | None = None
    """What a judge or a classifier reads; it is given request, response, kind and question.

    Null: Credo's own.
    """

    def template_path(self) -> str | None:
        """The template; None if nothing reads one."""
        if self.by not in TEMPLATES:
            return None
        return self.template or TEMPLATES[self.by]

    def text(self, row: Response) -> str:
        """What a judge or a classifier reads of an answer."""
        return render(
            self.template_path() or "",
            request=request_text(row.prompt),
            response=row.response,
            kind=row.kind,
            question=self.question,
        )


def rating(item: Item, value: float, judge: Model | None, template: str | None) -> Rating:
    """The Rating row of an answer."""
    row = item.row
    return Rating(
        id=item.id,
        response_id=row.id,
        prompt_id=row.prompt_id,
        kind=row.kind,
        prompt=row.prompt,
        response=row.response,
        score=value,
        principles=[],
        negated=[],
        scores=[],
        model=judge.content if judge else "",
        template=template_hash(template) if template else "",
        finish_reason=row.finish_reason,
    )


def value_answers(
    items: list[Item],
    judge: Model | None,
    references: Mapping[str, Sequence[str]],
    options: AnswerOptions,
    context: Context,
) -> tuple[dict[str, float], list[Dropped]]:
    """The value of each item, by its id, and the dropped rows.

    Args:
        judge: the model that rates them; None where phrases or references do.
        references: people's answers by prompt.
    """
    if options.by == "question" and judge:
        return _ask_question(items, judge, options, context)
    if context.forecast:
        return {}, []
    if options.by in OVERLAPS:
        return _compare(items, references, options.by)
    if judge is None:
        return {item.id: float(refuses(item.row.response)) for item in items}, []
    context.release_engines()
    scores = _score(items, judge, options, context)
    values: dict[str, float] = {}
    dropped = []
    for item, score in zip(items, scores, strict=True):
        if score is None:
            dropped.append(Dropped(id=item.id, reason=TOO_LONG))
        else:
            values[item.id] = score
    return values, dropped


def _ask_question(
    items: list[Item], judge: Model, options: AnswerOptions, context: Context
) -> tuple[dict[str, float], list[Dropped]]:
    generator = context.generator(judge)

    async def ask(item: Item) -> tuple[str, float]:
        return item.id, await expected_value(generator, options.text(item.row), options.scale)

    values, dropped = context.map(items, ask)
    return dict(values), dropped


def _compare(
    items: Sequence[Item], references: Mapping[str, Sequence[str]], by: By
) -> tuple[dict[str, float], list[Dropped]]:
    """How alike each answer is to the reference that it is most like."""
    values = {}
    dropped = []
    for item in items:
        texts = references.get(item.row.prompt_id, ())
        if not texts:
            dropped.append(Dropped(id=item.id, reason=NO_REFERENCE))
        elif by == "rouge_l":
            values[item.id] = max(rouge_l(item.row.response, text) for text in texts)
        else:
            words = words_of(item.row.response)
            values[item.id] = float(any(words == words_of(text) for text in texts))
    return values, dropped


def _score(
    items: Sequence[Item], judge: Model, options: AnswerOptions, context: Context
) -> list[float | None]:
    """By a reward model or a classifier; None where an answer does not fit its context."""
    batch_size, dtype = options.batch_size, options.dtype
    if options.by == "reward":
        questions = [(item.row.prompt, item.row.response, ()) for item in items]
        scores, _ = stored_scores(judge, questions, context, batch_size, dtype)
        return scores
    texts = [options.text(item.row) for item in items]
    return probabilities(judge, texts, options.labels, context, batch_size, dtype)
