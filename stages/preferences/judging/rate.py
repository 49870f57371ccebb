"""Stage `rate`: a judge rates single responses, one expected rating a principle.

In: `model` and any inputs of Response or Revision rows. Out: one Rating a row, grouped by its
prompt; `scores` holds one number a principle, `score` their mean by the constitution's weights.

d-RLAIF's reward (Lee et al. 2023, arXiv 2309.00267, section 2.3) with the scale {"Yes": 10, "No":
1}, the two ends of theirs; a model that knows figures can take all ten. With {"Yes": 0, "No": 1} a
score is P(violated), which is what `judged_pairs` takes for safety. Left out: text ratings that are
parsed; a rating is always read off probabilities.
"""

from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Literal

from stages.preferences.judging.rating import YES_NO, Scale, expected_rating, rescaled, spread
from stages.principles.constitution import Principle
from stages.principles.polarity import refuse_unknown, wording
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.errors import UserError
from stages.runtime.rows import Rating, Response, Revision
from stages.runtime.stage import ANY, Stage
from stages.runtime.templates import template_hash


@dataclass(frozen=True)
class Config:
    """Args:
    constitution: the principles to rate under, and their weights in `score`.
    negated: ids that are asked about in their opposite wording.
    scale: the value of each option that the judge may answer.
    rescale: bring ratings to [-1, 1].
    template: the judge's prompt; it is given request, response and principle (text).
    """

    constitution: Selection
    negated: tuple[str, ...] = ()
    scale: Scale = field(default_factory=lambda: dict(YES_NO))
    rescale: Literal["none", "unit"] = "none"
    template: str = "preferences/judging/verdict.jinja"


def identity(config: Config) -> dict[str, Any]:
    chosen = select(config.constitution)
    return {
        "constitution": chosen.identity("weight"),
        "texts": [[p.id, wording(p, p.id in config.negated)] for p in chosen.principles],
        "scale": [
            [option, value] for option, value in config.scale.items()
        ],  # their order is part of a call's key
        "template": template_hash(config.template),
    }


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Rate every row under every principle; a row with a rating that cannot be read is dropped and
    counted.

    Raises:
        UserError: there is nothing to rate, an unknown id under `negated`, or a scale of one value.
    """
    where = f"step {context.step!r}"
    principles = select(config.constitution).principles
    _check(config, principles, where)
    sources: dict[str, list[Any]] = {
        n: artifact.rows(Response, Revision) for n, artifact in inputs.items() if n != "model"
    }
    items = [
        Item(f"{n}/{row.id}" if len(sources) > 1 else row.id, row)
        for n, rows in sources.items()
        for row in rows
    ]
    if not items:
        raise UserError(
            "there are no responses to rate",
            where=where,
            fix="add an input: a step that makes Responses",
        )
    model = inputs["model"].model()
    judge = context.generator(model)

    async def rate(item: Item) -> Rating:
        row = item.row
        scores = []
        for principle in principles:
            text = wording(principle, principle.id in config.negated)
            rating = await expected_rating(
                judge, row.prompt, row.response, text, config.scale, config.template
            )
            scores.append(rescaled(rating, config.scale) if config.rescale == "unit" else rating)
        weights = [p.weight for p in principles]
        return Rating(
            id=item.id,
            response_id=row.id,
            prompt_id=row.prompt_id,
            kind=row.kind,
            prompt=row.prompt,
            response=row.response,
            score=sum(s * w for s, w in zip(scores, weights, strict=True)) / sum(weights),
            principles=[p.id for p in principles],
            negated=[p.id in config.negated for p in principles],
            scores=scores,
            model=model.content,
            template=template_hash(config.template),
        )

    rows, dropped = context.map(items, rate)
    return Result(rows=rows, row_type=Rating, dropped=dropped, metrics=_metrics(rows))


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    inputs=("model",),
    optional=ANY,
    calls_generator=True,
    identity=identity,
)


@dataclass(frozen=True)
class Item:
    """A row still to be rated; inputs may share ids, so theirs carry the input's name."""

    id: str
    row: Response | Revision


def _check(config: Config, principles: tuple[Principle, ...], where: str) -> None:
    if len(set(config.scale.values())) < 2:
        raise UserError(
            f"every option of the scale is worth {next(iter(config.scale.values()))}",
            where=where,
            fix='give values that differ, such as {"Yes": 10, "No": 1}',
        )
    refuse_unknown(config.negated, principles, where)


def _metrics(rows: list[Rating]) -> dict[str, Any]:
    if not rows:
        return {}
    return spread(rows) | {
        "principles": {
            p: fmean(row.scores[i] for row in rows) for i, p in enumerate(rows[0].principles)
        }
    }
