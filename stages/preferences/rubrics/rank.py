"""Stage `rank`: a judge ranks all answers to a request at once, in several orders.

In: `model`, any inputs of Response rows, and optionally `rubrics` in place of a constitution and
the judge's `examination`. Out: one Rating for each answer, its mean place in [0, 1]
(`listwise.py`), ready for `best_of` and `rated_pairs`. Requests with a single answer, and those of
which no reply of the judge is a ranking, are dropped and counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stages.guards.templates import template_hash
from stages.preferences.judging.rating import rating_of, summarise_scores
from stages.preferences.judging.rubric import RUBRICS, find_rubric, read_rubrics
from stages.preferences.rubrics.listwise import RANK_TEMPLATE, Ranked, rank_answers
from stages.principles.proposed import as_proposal, check_source, identity_of
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context, Drop
from stages.runtime.generation import Sampling
from stages.runtime.models import Model
from stages.runtime.rows import Proposal, Question, Rating, Response
from stages.runtime.stage import Kind, Stage
from stages.runtime.store import derive_seed
from stages.runtime.typed_config import Few
from stages.text.cut_off import CutOff, count_cut_off, drop_cut_off

ONE_ANSWER = "the only answer to its request"


@dataclass(frozen=True)
class Config:
    constitution: Selection | None = None
    """The principles to rank by; null: the criteria of `rubrics`."""
    orders: Few = 4
    """In how many orders the answers are shown, each with a question of its own; of fewer answers
    each stands in each place once.
    """
    template: str = RANK_TEMPLATE
    """The judge's prompt; its variables are request, answers (a list) and criteria (a list with
    text, weight and gate).
    """
    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0.0))
    """How to sample the judge's reply."""
    cut_off: CutOff = "drop"
    """Whether answers that were cut off at max_tokens are dropped."""


@dataclass(frozen=True)
class Group:
    """The answers to one request."""

    id: str
    answers: list[Response]


def identity(config: Config) -> dict[str, Any]:
    """The principles in their order, and the template."""
    order = select(config.constitution).principles if config.constitution else ()
    return {
        "constitution": identity_of(config.constitution, "text", "weight"),
        "order": [principle.id for principle in order],
        "template": template_hash(config.template),
    }


def check_inputs(config: Config, inputs: Mapping[str, Kind]) -> None:
    """Refuse a step with no criteria, and one with two sources of them."""
    check_source(config.constitution, inputs, "rank", RUBRICS)


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Rank the answers to every request."""
    model = inputs["model"].model()
    judge = context.generator(model)
    principles = select(config.constitution).principles if config.constitution else ()
    shared = [as_proposal(principle) for principle in principles]
    rubrics = read_rubrics(inputs[RUBRICS]) if RUBRICS in inputs else {}
    template = template_hash(config.template)
    rankings: list[Ranked] = []
    answers = []
    for name, artifact in inputs.items():
        if name not in ("model", "examination", RUBRICS):
            answers += artifact.rows(Response)
    finished, dropped = drop_cut_off(answers, config.cut_off)
    groups: dict[str, Group] = {}
    for row in finished:
        groups.setdefault(row.prompt_id, Group(row.prompt_id, [])).answers.append(row)

    async def rank(group: Group) -> list[Rating]:
        texts = [row.response for row in group.answers]
        if len(set(texts)) < 2:
            raise Drop(ONE_ANSWER)
        criteria = shared or find_rubric(rubrics, group.id)
        ranked = await rank_answers(
            judge,
            group.answers[0].prompt,
            texts,
            criteria,
            template=config.template,
            orders=config.orders,
            sampling=config.sampling,
            seed=derive_seed(context.seed, group.id, "rank"),
        )
        rankings.append(ranked)
        rows = []
        for row, score in zip(group.answers, ranked.scores, strict=True):
            rating = rating_of(
                row,
                score,
                [one.id for one in criteria],
                scores=[],
                model=model.content,
                template=template,
            )
            rows.append(rating)
        return rows

    rows, unread = context.map(list(groups.values()), rank)
    metrics = {"cut_off": count_cut_off(answers), **_metrics(rankings)}
    if rows:
        metrics |= summarise_scores(rows)
    return Result(rows=rows, row_type=Rating, dropped=dropped + unread, metrics=metrics)


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    inputs={"model": Model},
    optional={"examination": Question, RUBRICS: Proposal, "*": Response},
    least=1,
    gives=Rating,
    calls_generator=True,
    check_inputs=check_inputs,
    identity=identity,
)


def _metrics(rankings: list[Ranked]) -> dict[str, Any]:
    """How many replies are no ranking, and how often the answer that was shown first won."""
    asked = sum(ranked.orders for ranked in rankings)
    unread = sum(ranked.unread for ranked in rankings)
    if asked == unread:
        return {"orders": asked, "unread": unread}
    wins = sum(ranked.first_wins for ranked in rankings)
    return {"orders": asked, "unread": unread, "first_place_wins": wins / (asked - unread)}
