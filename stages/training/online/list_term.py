"""The term `ranking`: a judge's ranking of all completions of a prompt at once.

In: the completions of a batch. Out: the mean place of each among those of its prompt. The terms
that score one completion at a time are in `model_terms.py`.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field

from stages.guards.templates import template_hash
from stages.preferences.judging.rubric import find_rubric, read_rubrics
from stages.preferences.rubrics.listwise import RANK_TEMPLATE, rank_answers
from stages.principles.proposed import as_proposal
from stages.principles.select import Selection, select
from stages.runtime.generation import RowFailure, Sampling
from stages.runtime.store import derive_seed
from stages.training.online.hacking.hiding import hide_criteria
from stages.training.online.model_terms import (
    CriteriaTerm,
    check_criteria,
    count_missing,
    identify_selection,
)
from stages.training.online.terms import Completion, ScoreFunction, TermUse


@dataclass(frozen=True, kw_only=True)
class ListTerm(CriteriaTerm):
    """A judge's ranking of all completions of a prompt at once: the mean place, in [0, 1].

    All completions of a prompt share one question for each order, so that a group of eight in two
    orders costs two calls, and a judge need not give two groups the same scale: what a group's
    baseline takes off is all that the scale could add. Several processes rank what each has of a
    prompt's completions.

    Source: `stages/preferences/rubrics/listwise.py`.
    """

    constitution: Selection | None = None
    """What it ranks by."""
    rubrics: str | None = None
    """In its place: the step's input with the criteria of each request."""
    orders: Annotated[int, Field(ge=1, le=100)] = 2
    """In how many orders the completions are shown, each with a question of its own."""
    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0.0))
    """How to sample the judge's reply."""
    template: str = RANK_TEMPLATE
    """What the judge reads."""

    def check(
        self,
        where: str,
    ) -> None:
        check_criteria(self.constitution, self.rubrics, where)
        if self.constitution:
            select(self.constitution)

    def identity(self) -> dict[str, Any]:
        template = {"template": template_hash(self.template)}
        return template | (
            identify_selection("constitution", self.constitution) if self.constitution else {}
        )

    def data_inputs(self) -> list[str]:
        return [self.rubrics] if self.rubrics else []

    def score_function(
        self,
        use: TermUse,
    ) -> ScoreFunction:
        """Return the function; None for the completions of a prompt that cannot be ranked."""
        generator = use.context.generator(self.input_model(use))
        seed = use.context.seed
        principles = select(self.constitution).principles if self.constitution else ()
        shared = [as_proposal(principle) for principle in principles]
        rubrics = read_rubrics(use.inputs[self.rubrics]) if self.rubrics else {}

        async def rank(
            prompt_id: str,
            group: list[Completion],
        ) -> list[float] | list[None]:
            """The place of each completion of one prompt, or None for all of them."""
            try:
                criteria = shared or find_rubric(rubrics, prompt_id)
                ranked = await rank_answers(
                    generator,
                    group[0].prompt,
                    [completion.text for completion in group],
                    hide_criteria(criteria, self.dropout, seed, group[0].step),
                    template=self.template,
                    orders=self.orders,
                    sampling=self.sampling,
                    seed=derive_seed(seed, prompt_id, "rank"),
                )
            except RowFailure as failure:
                count_missing(failure.reason, failure.detail, use.where)
                return [None] * len(group)
            return ranked.scores

        async def rank_all(completions: list[Completion]) -> list[float | None]:
            """Rank the completions by prompt, and return the places in the batch's order."""
            groups: dict[str, list[Completion]] = {}
            for completion in completions:
                groups.setdefault(completion.prompt_id, []).append(completion)
            ranked = await asyncio.gather(*(rank(*group) for group in groups.items()))
            scores = {name: iter(each) for name, each in zip(groups, ranked, strict=True)}
            return [next(scores[completion.prompt_id]) for completion in completions]

        return lambda completions: use.context.loop.run(rank_all(completions))
