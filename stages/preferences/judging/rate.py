"""Stage `rate`: a judge rates single responses, one expected rating for each principle.

In: `model`, any inputs of Response or Revision rows, or
of Rating rows, whose answers are rated again, and optionally the judge's `examination`, so
that it comes first. Out: one Rating for each row, grouped by its prompt; `scores` holds one number
for each principle, `score` their mean by the constitution's weights.

With an input `rubrics` in place of a constitution every row is rated under the criteria of its own
request (`rubric.py`), and `score` is its rubric's; a row whose request has none is dropped and
counted.

d-RLAIF's reward (Lee et al. 2023, arXiv 2309.00267, section 2.3) with the scale {"Yes": 10, "No":
1}, the two ends of their scale; a model that understands digits can use all ten values. With
{"Yes": 0, "No": 1} a score is P(violated), which `judged_pairs` can read as a safety rating. A
rating is read off probabilities, unless the judge has a form of its own and writes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Literal

from stages.doubts.words import doubt_words, foresee_words
from stages.guards.errors import UserError, refuse_unknown
from stages.guards.templates import template_hash
from stages.preferences.judging.ask import MIN_MASS, VERDICT_TEMPLATE, MinMass
from stages.preferences.judging.rating import (
    YES_NO,
    Scale,
    expected_rating,
    rating_of,
    rescale_rating,
    summarise_scores,
)
from stages.preferences.judging.rubric import (
    GATE,
    RUBRICS,
    distinct_criteria,
    find_rubric,
    grade,
    read_rubrics,
)
from stages.principles.constitution import Principle, wording
from stages.principles.proposed import check_source, identity_of
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result, advise_on_missing
from stages.runtime.context import Context
from stages.runtime.models import Model
from stages.runtime.rows import Proposal, Question, Rating, Response, Revision
from stages.runtime.stage import Kind, Stage
from stages.runtime.typed_config import Fraction, Names, machine
from stages.text.cut_off import CutOff, count_cut_off, drop_cut_off, refuse_no_finished


@dataclass(frozen=True)
class Config:
    constitution: Selection | None = None
    """The principles to rate under, and their weights in `score`; null: those of `rubrics`."""
    negated: Names = ()
    """Ids of principles that are asked about in their opposite wording."""
    scale: Scale = field(default_factory=lambda: dict(YES_NO))
    """The value of each option that the judge may answer."""
    rescale: Literal["none", "unit"] = "none"
    """`unit`: bring ratings to [-1, 1]."""
    template: str = VERDICT_TEMPLATE
    """The judge's prompt; its variables are request, response, principle (text) and value (the
    principle's id)."""
    min_mass: MinMass = MIN_MASS
    """A row is dropped where the judge puts less probability than this on all options together."""
    cut_off: CutOff = "drop"
    """Whether rows that were cut off at max_tokens are dropped."""
    gate: Fraction = machine(GATE)  # `identity` adds it, if it is read
    """How far an answer must meet the gates of its rubric; else it has the least score."""


@dataclass(frozen=True)
class Item:
    """A row that is to be rated."""

    id: str
    """The row's id; inputs may share ids, so with several it carries the input's name."""
    row: Response | Revision | Rating

    @property
    def finish_reason(self) -> str:
        """Of the row's text."""
        return self.row.finish_reason


def check(config: Config) -> None:
    """Refuse a scale of one value, and principles under `negated` that cannot be."""
    values = set(config.scale.values())
    if len(values) < 2:
        raise UserError(
            f"every option of the scale is worth {values.pop()}",
            where="",
            fix='give values that differ, such as {"Yes": 10, "No": 1}',
        )
    ids = [principle.id for principle in _principles(config)]
    refuse_unknown(config.negated, ids, "negated: there is no principle", "")


def identity(config: Config) -> dict[str, Any]:
    """The texts that the judge reads, and the scale in its order, which is part of a call's key."""
    texts = []
    for principle in _principles(config):
        texts.append([principle.id, wording(principle, principle.id in config.negated)])
    facts = {
        "constitution": identity_of(config.constitution, "weight"),
        "texts": texts,
        "scale": [[option, value] for option, value in config.scale.items()],
        "template": template_hash(config.template),
    }
    return facts if config.constitution else facts | {"gate": config.gate}


def check_inputs(config: Config, inputs: Mapping[str, Kind]) -> None:
    """Refuse a step with no criteria, and one with two sources of them."""
    check_source(config.constitution, inputs, "rate", RUBRICS)


def choices(config: Config) -> list[tuple[str, Sequence[str]]]:
    """The options of the scale."""
    return [("model", tuple(config.scale))]


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Rate every row under every principle.

    A row with a rating that cannot be read is dropped and counted.

    Raises:
        UserError: there is nothing to rate, an unknown id under `negated`, or a scale of one value.
    """
    where = f"step {context.step!r}"
    principles = _principles(config)
    rubrics = read_rubrics(inputs[RUBRICS]) if RUBRICS in inputs else {}
    items = _items(inputs, where)
    finished, cut_off = drop_cut_off(items, config.cut_off)
    if not finished:
        refuse_no_finished(cut_off, "no response is left to rate", where)
    model = inputs["model"].model()
    judge = context.generator(model)
    template = template_hash(judge.form.template if judge.form else config.template)
    weights = [principle.weight for principle in principles]

    async def rate(item: Item) -> Rating:
        row = item.row
        if not principles:
            criteria = find_rubric(rubrics, row.prompt_id)
            score, scores = await grade(
                judge,
                row.prompt,
                row.response,
                criteria,
                config.scale,
                config.template,
                config.min_mass,
                config.gate,
            )
            if config.rescale == "unit":
                score = rescale_rating(score, config.scale)
                scores = [rescale_rating(value, config.scale) for value in scores]
            return make_rating(item, score, scores, criteria)
        scores = []
        for principle in principles:
            text = wording(principle, principle.id in config.negated)
            score = await expected_rating(
                judge,
                row.prompt,
                row.response,
                text,
                config.scale,
                config.template,
                config.min_mass,
                principle.id,
            )
            if config.rescale == "unit":
                score = rescale_rating(score, config.scale)
            scores.append(score)
        weighted = [score * weight for score, weight in zip(scores, weights, strict=True)]
        mean = sum(weighted) / sum(weights)
        return make_rating(item, mean, scores, principles)

    def make_rating(
        item: Item, score: float, scores: list[float], criteria: Sequence[Principle | Proposal]
    ) -> Rating:
        return rating_of(
            item.row,
            score,
            [one.id for one in criteria],
            config.negated,
            id=item.id,
            scores=scores,
            model=model.content,
            template=template,
        )

    rows, unread = context.map(finished, rate)
    return Result(
        rows=rows,
        row_type=Rating,
        dropped=cut_off + unread,
        metrics={"cut_off": count_cut_off(items), **_metrics(rows, principles)},
        warnings=doubt_words(model, principles or distinct_criteria(rubrics)),
    )


STAGE = Stage(
    version=2,
    config=Config,
    run=run,
    inputs={"model": Model},
    optional={"examination": Question, RUBRICS: Proposal, "*": Response | Revision | Rating},
    least=1,
    gives=Rating,
    calls_generator=True,
    check=check,
    check_inputs=check_inputs,
    choices=choices,
    foresee=foresee_words,
    identity=identity,
)


def _principles(config: Config) -> tuple[Principle, ...]:
    """Those of the constitution, if there is one."""
    return select(config.constitution).principles if config.constitution else ()


def _items(inputs: dict[str, Artifact], where: str) -> list[Item]:
    sources: dict[str, list[Any]] = {}
    for name, artifact in inputs.items():
        if name not in ("model", "examination", RUBRICS):
            sources[name] = artifact.rows(Response, Revision, Rating)
    items = []
    for name, rows in sources.items():
        for row in rows:
            row_id = f"{name}/{row.id}" if len(sources) > 1 else row.id
            items.append(Item(row_id, row))
    if not items:
        raise UserError(
            "there are no responses to rate",
            where=where,
            fix=advise_on_missing(inputs, "add an input: a step that makes Responses"),
        )
    return items


def _metrics(rows: list[Rating], principles: Sequence[Principle]) -> dict[str, Any]:
    """A summary of the scores, and the mean under each principle; of rubrics, how many criteria."""
    if not rows:
        return {}
    if not principles:
        return summarise_scores(rows) | {"criteria": fmean(len(row.scores) for row in rows)}
    means = {}
    for index, principle in enumerate(principles):
        means[principle.id] = fmean(row.scores[index] for row in rows)
    return summarise_scores(rows) | {"principles": means}
