"""Stage `score`: a reward model's scores of responses, under any principles.

In: `model` (a reward model) and any inputs of Response rows, or of Rating rows, whose answers are
scored. Out: one Rating a response; ratings of
one `prompt_id` are compared.

A reward model that reads principles can get others with every call: the whole constitution, a part
of it (`only`, `drop`, `tags`), `sample` of them drawn for each prompt by weight (all answers to a
prompt are scored under the same ones, so that their scores can be compared), some of them negated,
or `each` alone, averaged by weight, or plainly where they were drawn by weight. SALMON (Sun et al.
2023, arXiv 2310.05910, section 3.4) does this at the time of RL. The sign of a cost model's costs
is flipped: a higher rating is always the better one, for stages that rank by it.

A value model (stage `rule_model`) gives a number in [-1, 1] for each value, with `each: true`.
Every score is remembered in the call store, by the model's content and the text it read: a sweep
computes it once. Left out: scores of Pair rows; `reward_accuracy` looks at pairs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Annotated, Any, Literal

from pydantic import Field

from stages.doubts.trainings import doubt_scores
from stages.guards.errors import UserError, refuse_unknown
from stages.preferences.judging.rating import rating_of, summarise_scores
from stages.principles.assign import assign_many, doubt_draw, mean_weights
from stages.principles.constitution import Principle
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result, advise_on_missing
from stages.runtime.context import Context
from stages.runtime.manifest import fingerprint
from stages.runtime.models import Model
from stages.runtime.rows import Dropped, Rating, Response
from stages.runtime.stage import Expected, Stage
from stages.runtime.typed_config import machine
from stages.text.cut_off import CutOff, count_cut_off, drop_cut_off, refuse_no_finished
from stages.training.reward_models.format import RewardFormat, read_format
from stages.training.reward_models.scorer import Item
from stages.training.reward_models.stored_scores import find_faults, stored_scores
from stages.training.reward_models.value_reader import doubt_learnt, refuse_no_values


@dataclass(frozen=True)
class Config:
    """Which principles the model reads, and how."""

    constitution: Selection | None = None
    """The principles that the model reads; null for one that reads none."""
    sample: Annotated[int, Field(ge=1)] | None = None
    """At most how many of them each prompt draws, by weight and without replacement; null: all."""
    negated: tuple[str, ...] = ()
    """Ids that are read in their opposite wording."""
    each: bool = False
    """Score under each principle alone. The rating is then their mean, and `scores` holds them all.
    The mean is by weight; of principles that were drawn by weight (`sample`) it is plain.
    """
    of_values: bool = machine(False)
    """The model must be a value model: a plan refuses any other one."""
    cut_off: CutOff = "drop"
    """Whether responses that were cut off at max_tokens are dropped."""
    batch_size: Annotated[int, Field(ge=1)] = machine(32)
    """Texts at a time."""
    dtype: Literal["float32", "bfloat16", "float16"] = machine("float32")
    """Of the weights."""


def identity(config: Config) -> dict[str, Any]:
    if config.constitution is None:
        return {"constitution": None}
    fields = ("text", "opposite") if config.negated else ("text",)
    constitution = select(config.constitution)
    order = [p.id for p in constitution.principles]
    return {"constitution": constitution.identity(*fields, "weight"), "order": order}


def foresee(config: Config, inputs: Mapping[str, Expected]) -> list[str]:
    """Warn of a `sample` of more principles than there are, and of a value model of other ones.

    Raises:
        UserError: it is to be a value model, and is none.
    """
    total = len(select(config.constitution).principles) if config.constitution else None
    warnings = doubt_draw("sample", config.sample, total)
    expected = inputs["model"]
    model = expected.find_model() if expected.is_made else None
    if model and config.of_values:
        refuse_no_values(model, "input 'model'", may_read_profiles=False)
    if model and config.constitution:
        warnings += doubt_learnt(model, select(config.constitution).principles)
    return warnings


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Score every response.

    Raises:
        UserError: no responses, no reward model, principles that it cannot read or lacks, an
        unknown id under `negated`, a score that is not a number, memory used up.
    """
    where = f"step {context.step!r}"
    responses: list[Response | Rating] = []
    for name, artifact in inputs.items():
        if name != "model":
            responses += artifact.rows(Response, Rating)
    rows, dropped = drop_cut_off(responses, config.cut_off)
    if not rows:
        refuse_no_finished(dropped, "no response is left to score", where)
        raise UserError(
            "there are no responses to score",
            where=where,
            fix=advise_on_missing(inputs, "add an input: a step that makes Responses"),
        )
    model = inputs["model"].model()
    layout = read_format(model)
    principles = _principles(config, layout, where)
    texts = {p.id: layout.wording(p, p.id in config.negated) for p in principles}
    drawn = _draw(rows, principles, config, context)
    items: list[Item] = []
    for row in rows:
        ids = [p.id for p in drawn[row.prompt_id]]
        lists = [[name] for name in ids] if config.each and ids else [ids]
        for names in lists:
            items.append((row.prompt, row.response, tuple(texts[name] for name in names)))
    all_scores, counts = stored_scores(model, items, context, config.batch_size, config.dtype)
    sign = -1 if layout.objective == "cost" else 1
    template = fingerprint(vars(layout))
    ratings = []
    remaining = iter(all_scores)
    faults = iter(find_faults(model, items, all_scores, context))
    for row in rows:
        row_principles = drawn[row.prompt_id]
        number = len(row_principles) if config.each and row_principles else 1
        row_scores = [next(remaining) for _ in range(number)]
        row_faults = [fault for fault in (next(faults) for _ in range(number)) if fault]
        scores = [sign * score for score in row_scores if score is not None]
        if row_faults:
            reason, detail = row_faults[0]
            dropped.append(Dropped(id=row.id, reason=reason, detail=detail))
            continue
        weights = [1.0]
        if number > 1:
            weights = mean_weights(row_principles, len(principles))
        rating = fmean(scores, weights)
        ratings.append(
            rating_of(
                row,
                rating,
                [p.id for p in row_principles],
                config.negated,
                scores=scores if config.each and row_principles else [],
                model=model.content,
                template=template,
            )
        )
    return Result(
        rows=ratings,
        row_type=Rating,
        dropped=dropped,
        metrics={
            "cut_off": count_cut_off(responses),
            **(summarise_scores(ratings) if ratings else {}),
            **counts,
        },
        warnings=doubt_scores([rating.score for rating in ratings]),
    )


STAGE = Stage(
    version=3,
    config=Config,
    run=run,
    inputs={"model": Model},
    optional={"*": Response | Rating},
    least=1,
    gives=Rating,
    foresee=foresee,
    identity=identity,
)


def _principles(config: Config, layout: RewardFormat, where: str) -> tuple[Principle, ...]:
    layout.refuse_mismatch(config.constitution is not None, where)
    if config.constitution is None:
        if config.negated or config.sample or config.each:
            raise UserError(
                "`negated`, `sample` and `each` need a constitution",
                where=where,
                fix="remove them, or add `constitution:`",
            )
        return ()
    principles = select(config.constitution).principles
    ids = [principle.id for principle in principles]
    refuse_unknown(config.negated, ids, "negated: there is no principle", where)
    return principles


def _draw(
    rows: Sequence[Response | Rating],
    principles: tuple[Principle, ...],
    config: Config,
    context: Context,
) -> dict[str, Sequence[Principle]]:
    """Prompt -> the principles that its answers are scored under."""
    number = min(config.sample or len(principles), len(principles))
    drawn: dict[str, Sequence[Principle]] = {}
    for row in rows:
        if row.prompt_id in drawn:
            continue
        drawn[row.prompt_id] = principles
        if number < len(principles):
            drawn[row.prompt_id] = assign_many(principles, row.prompt_id, context.seed, number)
    return drawn
