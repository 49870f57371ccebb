"""Stage `benchmark`: how often the answers to a benchmark's prompts have a property, by category.

In: one input of Response rows for each model, all answering the same prompts, the baseline first;
`judge`, the model that
looks at them, unless `by: refusal`. The prompts come from a `prompts` step whose `kind_column` is
the benchmark's category, and are answered by `respond` with `keep_empty: true`. Out: one Rating a
response, its id headed by the input's name; metrics as in `comparison.py`, and `facts`: what was
answered, empty, cut off and dropped.

Who looks:
    question    a judge answers `question` with one of the options of `scale`; the value is the
    expected one, read off
                probabilities: {"Yes": 1, "No": 0} for attack success (HarmBench, SALAD,
                    Do-Not-Answer), "1" to "10" for
                the single-answer grading of MT-Bench (Zheng et al. 2023)
    classifier  a sequence classifier: the probability of `labels` (BeaverTails-Evaluation, any
    safety classifier) reward      a reward model that reads no principles: its score
    refusal     a list of English phrases, no model. XSTest (Roettger et al. 2024, arXiv
    2308.01263): the rate on its safe
                prompts is over-refusal. The paper tells full from partial refusals, by people; a
                phrase cannot

Left out: the benchmarks' own judges and wordings where they are not models that transformers loads;
attacks (GCG, PAIR).
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from stages.evaluation.classifier import probabilities
from stages.evaluation.comparison import compare, comparison_table, grouped
from stages.preferences.judging.rating import Scale, expected_value
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.errors import UserError
from stages.runtime.models import Model
from stages.runtime.rows import Dropped, Rating, Response, request_text
from stages.runtime.settings import machine
from stages.runtime.stage import ANY, Stage
from stages.runtime.templates import render, template_hash
from stages.training.online.tripwires import refuses
from stages.training.reward_models.format import read_format
from stages.training.reward_models.stored_scores import stored_scores

TOO_LONG = "longer than the judge's context"
TEMPLATES = {
    "question": "evaluation/benchmarks/question.jinja",
    "classifier": "evaluation/benchmarks/classified.jinja",
}


@dataclass(frozen=True)
class Config:
    """Args:
    by: who looks; see above.
    measure: what the table calls the values.
    question: what a judge is asked about request and response.
    scale: the options it may answer, each one token of its vocabulary, and what they are worth.
    labels: of a classifier, those that count.
    template: what a judge or a classifier reads; it is given request, response, kind and question.
        null: Credo's own.
    threshold: count the answers whose value lies above it; null: average the values. Rows hold the
        values either way.
    resamples, confidence: of the intervals.
    batch_size, dtype: of a classifier or a reward model.
    """

    by: Literal["question", "classifier", "reward", "refusal"] = "question"
    measure: str = "share"
    question: str = ""
    scale: Scale = field(default_factory=lambda: {"Yes": 1.0, "No": 0.0})
    labels: tuple[str, ...] = ()
    template: str | None = None
    threshold: float | None = None
    resamples: Annotated[int, Field(ge=100)] = 2000
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    batch_size: Annotated[int, Field(ge=1)] = machine(32)
    dtype: Literal["float32", "bfloat16", "float16"] = machine("float32")


@dataclass(frozen=True)
class Item:
    """One answer to look at."""

    id: str
    model: str
    row: Response


def identity(config: Config) -> dict[str, Any]:
    template = _template(config)
    return {
        "template": template_hash(template) if template else None,
        "scale": [
            [option, value] for option, value in config.scale.items()
        ],  # their order is part of a call's key
    }


def _template(config: Config) -> str | None:
    return (config.template or TEMPLATES[config.by]) if config.by in TEMPLATES else None


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Look at every answer, then compare the models by category.

    Raises:
        UserError: no answers, no judge, a question, labels or principles that are missing, or
        models without a common prompt.
    """
    where = f"step {context.step!r}"
    answers = {
        name: artifact.rows(Response) for name, artifact in inputs.items() if name != "judge"
    }
    judge = _judge(config, inputs, where)
    if not answers:
        fix = "add `inputs: {base: <a respond step>, tuned: <another>}`, the baseline first"
        raise UserError("there are no answers to look at", where=where, fix=fix)
    common = {row.prompt_id for row in next(iter(answers.values()))}
    for name, rows in answers.items():
        if common.isdisjoint(row.prompt_id for row in rows):
            fix = "let the `respond` steps read the same prompts, and see why they dropped them"
            raise UserError(
                f"{name!r} answers no prompt that the first input answers", where=where, fix=fix
            )
    items = [Item(f"{name}/{row.id}", name, row) for name, rows in answers.items() for row in rows]
    values, dropped = _look(items, judge, config, context)
    found = [_rating(item, values[item.id], judge, config) for item in items if item.id in values]
    counted = {
        i: value if config.threshold is None else float(value > config.threshold)
        for i, value in values.items()
    }
    metrics: dict[str, Any] = {
        "measure": config.measure,
        "by": config.by,
        "threshold": config.threshold,
    }
    by_kind = {
        name: grouped(
            (i.row.kind, i.row.prompt_id, counted.get(i.id)) for i in items if i.model == name
        )
        for name in answers
    }
    metrics |= compare(by_kind, config.resamples, config.confidence, context.seed)
    metrics["facts"] = {
        name: {
            "responses": len(rows),
            "prompts": len({row.prompt_id for row in rows}),
            "empty": sum(not row.response for row in rows),
            "cut_off": sum(row.finish_reason == "length" for row in rows),
            "dropped": sum(item.model == name and item.id not in values for item in items),
        }
        for name, rows in answers.items()
    }
    table = comparison_table(
        f"{context.step}: {config.measure}, by {config.by}", metrics, "category"
    )
    return Result(rows=found, row_type=Rating, dropped=dropped, metrics=metrics, tables=[table])


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    optional=ANY,
    calls_generator=True,
    identity=identity,
)


def _judge(config: Config, inputs: dict[str, Artifact], where: str) -> Model | None:
    if config.by == "refusal":
        return None
    if "judge" not in inputs:
        raise UserError(
            f"`by: {config.by}` needs a model that looks at the answers",
            where=where,
            fix="add `inputs: {judge: <a step that makes or names a model>}`, or set `by: refusal`",
        )
    if config.by == "question" and not config.question.strip():
        raise UserError(
            "there is no question to ask",
            where=where,
            fix='set `question: "Is the response harmful?"`',
        )
    if config.by == "classifier" and not config.labels:
        raise UserError(
            "no label of the classifier counts",
            where=where,
            fix="set `labels: [unsafe]`, names that it gives",
        )
    model = inputs["judge"].model()
    if config.by == "reward" and read_format(model).principles:
        raise UserError(
            "this reward model reads principles",
            where=where,
            fix="use a `score` step for it, or one trained without them",
        )
    return model


def _look(
    items: list[Item], judge: Model | None, config: Config, context: Context
) -> tuple[dict[str, float], list[Dropped]]:
    """The value of each item, by its id."""
    if config.by == "question" and judge:
        return _ask(items, judge, config, context)
    if context.forecast:
        return {}, []
    if judge is None:
        return {item.id: float(refuses(item.row.response)) for item in items}, []
    found: list[float | None]
    context.release_engines()
    if config.by == "reward":
        asked: list[Any] = [(item.row.prompt, item.row.response, ()) for item in items]
        found, _ = stored_scores(judge, asked, context, config.batch_size, config.dtype)
    else:
        texts = [_text(item.row, config) for item in items]
        found = probabilities(judge, texts, config.labels, context, config.batch_size, config.dtype)
    dropped = [
        Dropped(id=item.id, reason=TOO_LONG)
        for item, value in zip(items, found, strict=True)
        if value is None
    ]
    return {
        item.id: value for item, value in zip(items, found, strict=True) if value is not None
    }, dropped


def _ask(
    items: list[Item], judge: Model, config: Config, context: Context
) -> tuple[dict[str, float], list[Dropped]]:
    generator = context.generator(judge)

    async def ask(item: Item) -> tuple[str, float]:
        return item.id, await expected_value(generator, _text(item.row, config), config.scale)

    found, dropped = context.map(items, ask)
    return dict(found), dropped


def _text(row: Response, config: Config) -> str:
    variables = {
        "request": request_text(row.prompt),
        "response": row.response,
        "kind": row.kind,
        "question": config.question,
    }
    return render(_template(config) or "", **variables)


def _rating(item: Item, value: float, judge: Model | None, config: Config) -> Rating:
    row, template = item.row, _template(config)
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
    )
