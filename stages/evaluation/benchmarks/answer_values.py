"""The value of each answer to a benchmark: by a judge, a classifier, a reward model or phrases.

In: Response rows and how to look at them. Out: a value by item, and a Rating row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from stages.evaluation.classifier import probabilities
from stages.preferences.judging.rating import expected_value
from stages.runtime.context import Context
from stages.runtime.models import Model
from stages.runtime.rows import Dropped, Rating, Response, request_text
from stages.runtime.templates import render, template_hash
from stages.training.online.tripwires import refuses
from stages.training.reward_models.stored_scores import stored_scores

By = Literal["question", "classifier", "reward", "refusal"]
TOO_LONG = "longer than the judge's context"
TEMPLATES = {
    "question": "evaluation/benchmarks/question.jinja",
    "classifier": "evaluation/benchmarks/classified.jinja",
}


@dataclass(frozen=True)
class Item:
    """One answer to look at."""

    id: str
    model: str
    """The name of the input that it comes from."""
    row: Response


@dataclass(frozen=True)
class Examiner:
    """How answers are looked at; the options are those of the stage."""

    by: By
    judge: Model | None
    """None by refusal."""
    question: str
    scale: Mapping[str, float]
    labels: tuple[str, ...]
    template: str | None
    """What the judge reads; None where it reads no template."""
    batch_size: int
    dtype: str

    def text(self, row: Response) -> str:
        """What a judge or a classifier reads of an answer."""
        return render(
            self.template or "",
            request=request_text(row.prompt),
            response=row.response,
            kind=row.kind,
            question=self.question,
        )

    def rating(self, item: Item, value: float) -> Rating:
        """The row of an answer and its value."""
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
            model=self.judge.content if self.judge else "",
            template=template_hash(self.template) if self.template else "",
        )


def value_answers(
    items: list[Item], examiner: Examiner, context: Context
) -> tuple[dict[str, float], list[Dropped]]:
    """The value of each item, by its id, and what was dropped."""
    judge = examiner.judge
    if examiner.by == "question" and judge:
        return _ask_question(items, judge, examiner, context)
    if context.forecast:
        return {}, []
    if judge is None:
        return {item.id: float(refuses(item.row.response)) for item in items}, []
    context.release_engines()
    scores = _score(items, judge, examiner, context)
    values: dict[str, float] = {}
    dropped = []
    for item, score in zip(items, scores, strict=True):
        if score is None:
            dropped.append(Dropped(id=item.id, reason=TOO_LONG))
        else:
            values[item.id] = score
    return values, dropped


def _ask_question(
    items: list[Item], judge: Model, examiner: Examiner, context: Context
) -> tuple[dict[str, float], list[Dropped]]:
    generator = context.generator(judge)

    async def ask(item: Item) -> tuple[str, float]:
        text = examiner.text(item.row)
        value = await expected_value(generator, text, examiner.scale)
        return item.id, value

    values, dropped = context.map(items, ask)
    return dict(values), dropped


def _score(
    items: Sequence[Item], judge: Model, examiner: Examiner, context: Context
) -> list[float | None]:
    """By a reward model or a classifier; None where an answer does not fit its context."""
    if examiner.by == "reward":
        scores, _ = stored_scores(
            judge,
            [(item.row.prompt, item.row.response, ()) for item in items],
            context,
            examiner.batch_size,
            examiner.dtype,
        )
        return scores
    return probabilities(
        judge,
        [examiner.text(item.row) for item in items],
        examiner.labels,
        context,
        examiner.batch_size,
        examiner.dtype,
    )
