"""Stage `score`: what a reward model thinks of responses, under any principles.

In: `model` (a reward model) and any inputs of Response rows. Out: one Rating a response; `group` is
its prompt.

A reward model that reads principles can be aimed anew with every call: the whole constitution, a
part of it (`only`, `drop`, `tags`), `sample` of them drawn for each prompt by weight (all answers
to a prompt are scored under the same ones, or their scores would not compare), some of them
negated, or `each` by itself, averaged by weight. SALMON (Sun et al. 2023, arXiv 2310.05910, section
3.4) does this at the time of RL. A cost model's costs have their sign turned: a higher rating is
always the better one, for what ranks by it.

Every score is remembered in the call store, by the model's content and the text it read: a sweep
pays once. Left out: scores of Pair rows; `reward_accuracy` looks at pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from stages.preferences.judging.rating import spread
from stages.principles.assign import assign_many
from stages.principles.constitution import Principle
from stages.principles.polarity import refuse_unknown, wording
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result, fingerprint
from stages.runtime.context import Context
from stages.runtime.errors import UserError
from stages.runtime.rows import Dropped, Rating, Response
from stages.runtime.settings import machine
from stages.runtime.stage import ANY, Stage
from stages.training.reward_models.format import RewardFormat, read_format
from stages.training.reward_models.scorer import Item
from stages.training.reward_models.stored_scores import stored_scores


@dataclass(frozen=True)
class Config:
    """Args:
    constitution: the principles that the model reads; null for one that reads none.
    sample: how many of them each prompt draws, by weight and without replacement; null: all.
    negated: ids that are read in their opposite wording.
    each: score under each principle by itself. The rating is then the mean by weight, and `scores`
        holds them all.
    batch_size: texts at a time.
    dtype: of the weights.
    """

    constitution: Selection | None = None
    sample: Annotated[int, Field(ge=1)] | None = None
    negated: tuple[str, ...] = ()
    each: bool = False
    batch_size: Annotated[int, Field(ge=1)] = machine(32)
    dtype: Literal["float32", "bfloat16", "float16"] = machine("float32")


def identity(config: Config) -> dict[str, Any]:
    if config.constitution is None:
        return {"constitution": None}
    fields = ("text", "opposite") if config.negated else ("text",)
    constitution = select(config.constitution)
    order = [p.id for p in constitution.principles]
    return {"constitution": constitution.identity(*fields, "weight"), "order": order}


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Score every response.

    Raises:
        UserError: no responses, no reward model, principles that it cannot read or lacks, an
        unknown id under `negated`, a score that is no number, memory used up.
    """
    where = f"step {context.step!r}"
    rows = [
        row
        for name, artifact in inputs.items()
        if name != "model"
        for row in artifact.rows(Response)
    ]
    if not rows:
        raise UserError(
            "there are no responses to score",
            where=where,
            fix="add an input: a step that makes Responses",
        )
    model = inputs["model"].model()
    layout = read_format(model)
    principles = _principles(config, layout, where)
    drawn: dict[str, list[Principle]] = {}
    for row in rows:
        if row.prompt_id not in drawn:
            wanted = min(config.sample or len(principles), len(principles))
            few = wanted < len(principles)
            drawn[row.prompt_id] = (
                assign_many(principles, row.prompt_id, context.seed, wanted)
                if few
                else list(principles)
            )
    texts = {p.id: wording(p, p.id in config.negated) for p in principles}
    items: list[Item] = []
    places = []
    for row in rows:
        ids = [p.id for p in drawn[row.prompt_id]]
        shown: Sequence[Sequence[str]] = [[i] for i in ids] if config.each and ids else [ids]
        places.append(len(items))
        items += [(row.prompt, row.response, tuple(texts[i] for i in group)) for group in shown]
    context.release_engines()
    found, counts = stored_scores(model, items, context, config.batch_size, config.dtype)
    ratings, dropped = [], []
    for row, start in zip(rows, places, strict=True):
        chosen = drawn[row.prompt_id]
        scores = found[start : start + (len(chosen) if config.each and chosen else 1)]
        if any(score is None for score in scores):
            dropped.append(Dropped(id=row.id, reason="longer than the reward model's context"))
            continue
        known = [
            -score if layout.objective == "cost" else score for score in scores if score is not None
        ]
        weights = [p.weight for p in chosen] if config.each and chosen else [1.0]
        ratings.append(
            Rating(
                id=row.id,
                response_id=row.id,
                prompt_id=row.prompt_id,
                kind=row.kind,
                prompt=row.prompt,
                response=row.response,
                score=sum(s * w for s, w in zip(known, weights, strict=True)) / sum(weights),
                principles=[p.id for p in chosen],
                negated=[p.id in config.negated for p in chosen],
                scores=known if config.each and chosen else [],
                model=model.content,
                template=fingerprint(vars(layout)),
            )
        )
    return Result(
        rows=ratings,
        row_type=Rating,
        dropped=dropped,
        metrics=(spread(ratings) if ratings else {}) | counts,
    )


STAGE = Stage(
    version=2,
    config=Config,
    run=run,
    inputs=("model",),
    optional=ANY,
    identity=identity,
)


def _principles(config: Config, layout: RewardFormat, where: str) -> tuple[Principle, ...]:
    if config.constitution is None:
        if layout.principles:
            raise UserError(
                "this reward model reads principles and was given none",
                where=where,
                fix="add `constitution: ${constitution}`",
            )
        if config.negated or config.sample or config.each:
            raise UserError(
                "`negated`, `sample` and `each` need a constitution",
                where=where,
                fix="remove them, or add `constitution:`",
            )
        return ()
    if not layout.principles:
        raise UserError(
            "this reward model was trained without principles and cannot read any",
            where=where,
            fix="remove `constitution`, or give its `reward_model` step one",
        )
    principles = select(config.constitution).principles
    refuse_unknown(config.negated, principles, where)
    return principles
