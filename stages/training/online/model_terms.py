"""The terms of a reward that ask a model: a reward model or a judge.

    reward_model   a score, under principles that are drawn for each prompt (`draws.py`) or none
    judge          an expected rating under such principles, or a rubric's score
    ranking        the place among the completions of the same prompt (`list_term.py`)

What a model does not say is no number: such a completion has no reward, and is counted.
"""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

from pydantic import Field

from stages.guards.errors import UserError
from stages.guards.templates import template_hash
from stages.preferences.judging.ask import VERDICT_TEMPLATE
from stages.preferences.judging.rating import YES_NO, Scale, expected_rating, rescale_rating
from stages.preferences.judging.rubric import GATE, find_rubric, grade, read_rubrics
from stages.principles.select import Selection, select
from stages.runtime.generation import RowFailure
from stages.runtime.models import Model
from stages.runtime.typed_config import machine
from stages.training.model_files import template_variables
from stages.training.online.hacking.hiding import hide_criteria
from stages.training.online.terms import Completion, ExpectedInputs, ScoreFunction, Term, TermUse
from stages.training.reward_models.draws import PrincipleDraw
from stages.training.reward_models.format import FILE, read_format
from stages.training.session import count_warning


@dataclass(frozen=True, kw_only=True)
class ModelTerm(Term):
    """A term that asks a model."""

    model: str
    """The step's input that holds it."""

    def input_model(
        self,
        use: TermUse,
    ) -> Model:
        """Return the model.

        Raises:
            UserError: the step does not have the input.
        """
        if self.model not in use.inputs:
            raise UserError(
                f"the term reads an input {self.model!r} that the step does not have",
                where=use.where,
                fix=f"add it: `inputs: {{{self.model}: <a step>}}`; "
                f"inputs here: {', '.join(use.inputs)}",
            )
        return use.inputs[self.model].model()


@dataclass(frozen=True, kw_only=True)
class CriteriaTerm(ModelTerm):
    """A term whose model reads principles or criteria."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = machine(0.0)  # as ADDED_LATER says
    """The chance of each principle or criterion to be hidden in a step; at least one stays. Gates,
    `always` and `intervention` are never hidden.
    """


@dataclass(frozen=True, kw_only=True)
class RewardModelTerm(CriteriaTerm):
    """A reward model's score of the completion: (score - shift) * scale."""

    constitution: Selection | None = None
    """For a model that reads principles: those it can be given."""
    draw: int | None = None
    """At most how many of them are shown for a prompt; None: all, in the file's order."""
    always: tuple[str, ...] = ()
    """Ids of those shown in every rollout, before the drawn ones."""
    intervention: Selection | None = None
    """A further set, shown in every rollout before all others; it needs no further training."""
    boost: dict[str, dict[str, Annotated[float, Field(ge=0)]]] = field(default_factory=dict)
    """By kind of prompt, what is added to the weights of the named principles in the draw."""
    each: bool = False
    """Score under every shown principle alone, and take the mean: by weight, or plain where they
    were drawn by weight.

    This is for a model too small to weigh several at once (`reward_accuracy` reports whether it
    can: one of a list, first). The prefix is shared, so it costs little more.
    """
    scale: Annotated[float, Field(ge=-1e6, le=1e6)] = 1.0
    shift: Annotated[float, Field(ge=-1e6, le=1e6)] = 0.0
    batch_size: Annotated[int, Field(ge=1)] = machine(32)

    def check(
        self,
        where: str,
    ) -> None:
        needing = (self.draw, self.always, self.boost, self.each, self.dropout)
        if not self.constitution and any(needing):
            raise UserError(
                "`draw`, `always`, `boost`, `each` and `dropout` need a constitution",
                where=where,
                fix="add `constitution: ...`",
            )
        self._make_draw(0, where)

    def identity(self) -> dict[str, Any]:
        identity: dict[str, Any] = {}
        if self.constitution:
            identity |= identify_selection("constitution", self.constitution)
        if self.intervention:
            identity |= identify_selection("intervention", self.intervention)
        return identity

    def foresee(
        self,
        inputs: ExpectedInputs,
    ) -> list[str]:
        """Warn of a `draw` of more principles than there are."""
        return self._make_draw(0, "").doubts

    def score_function(
        self,
        use: TermUse,
    ) -> ScoreFunction:
        """Return the function; None for a completion longer than the model's context.

        Raises:
            UserError: the model's layout or its sign does not match the term.
        """
        from stages.training.reward_models.scorer import Scorer

        model = self.input_model(use)
        _check_model(self, model, use)
        variables = template_variables(use.context)
        scorer = Scorer(model, batch_size=self.batch_size, template_arguments=variables)
        draw = self._make_draw(use.context.seed, use.where)

        def score(completions: list[Completion]) -> list[float | None]:
            items = []
            weights = []
            for completion in completions:
                principles = draw(completion.prompt_id, completion.kind, completion.step)
                groups = [principles]
                if self.each and len(principles) > 1:
                    groups = [[principle] for principle in principles]
                for group in groups:
                    texts = tuple(scorer.format.wording(principle) for principle in group)
                    items.append((completion.prompt, completion.text, texts))
                group_weights = [1.0]
                if len(groups) > 1:
                    group_weights = draw.mean_weights(principles)
                weights.append(group_weights)
            scores = iter(scorer.score(items))
            scored_items = iter(items)
            rewards = []
            for group_weights in weights:
                group_scores = [next(scores) for _ in group_weights]
                group_items = [next(scored_items) for _ in group_weights]
                valid = [value for value in group_scores if value is not None]
                reward = None
                if len(valid) == len(group_scores):
                    reward = (fmean(valid, group_weights) - self.shift) * self.scale
                else:
                    lacking = group_items[group_scores.index(None)]
                    count_missing(*scorer.fault(lacking), use.where)
                rewards.append(reward)
            return rewards

        return score

    def _make_draw(
        self,
        seed: int,
        where: str,
    ) -> PrincipleDraw:
        return PrincipleDraw(
            self.constitution,
            self.draw,
            seed,
            always=self.always,
            intervention=self.intervention,
            boost=self.boost,
            dropout=self.dropout,
            where=where,
        )


@dataclass(frozen=True, kw_only=True)
class JudgeTerm(CriteriaTerm):
    """A judge's expected rating of the completion, without a reward model.

    Source: d-RLAIF, Lee et al. 2023, section 2.3; under rubrics, Gunjal et al. 2025.
    """

    constitution: Selection | None = None
    """What it rates by."""
    rubrics: str | None = machine(None)  # `identity` adds it, if set
    """In its place: the step's input with the criteria of each request; the reward is the rubric's
    score (`judging/rubric.py`).
    """
    gate: Annotated[float, Field(ge=0, le=1)] = machine(GATE)  # as `rubrics`
    """How far a completion must meet the gates of its rubric; else it has the least reward."""
    draw: int | None = None
    """Under at most how many principles a prompt is rated, drawn by weight; the reward is the mean
    of their ratings. None: all, and the mean is by weight.
    """
    scale: Scale = field(default_factory=lambda: dict(YES_NO))
    """The answers it may give, and what each is worth."""
    rescale: bool = True
    """Bring ratings to [-1, 1], as in the paper."""
    template: str = VERDICT_TEMPLATE
    """What the judge reads."""

    def check(
        self,
        where: str,
    ) -> None:
        if len(set(self.scale.values())) < 2:
            raise UserError(
                f"every option of the scale is worth {next(iter(self.scale.values()))}",
                where=where,
                fix="give values that differ",
            )
        check_criteria(self.constitution, self.rubrics, where)
        if self.rubrics is not None and self.draw is not None:
            raise UserError(
                "`draw` draws principles of a constitution, and a rubric is read in full",
                where=where,
                fix="leave `draw` out",
            )
        if self.constitution:
            PrincipleDraw(self.constitution, self.draw, seed=0, where=where)

    def choices(self) -> list[tuple[str, tuple[str, ...]]]:
        return [(self.model, tuple(self.scale))]

    def identity(self) -> dict[str, Any]:
        template = {"template": template_hash(self.template)}
        if self.constitution is None:
            return template | {"rubrics": self.rubrics, "gate": self.gate}
        return template | identify_selection("constitution", self.constitution)

    def data_inputs(self) -> list[str]:
        return [self.rubrics] if self.rubrics else []

    def foresee(self, inputs: ExpectedInputs) -> list[str]:
        """Warn of a `draw` of more principles than there are."""
        return PrincipleDraw(self.constitution, self.draw, seed=0).doubts

    def score_function(self, use: TermUse) -> ScoreFunction:
        """Return the function; None, and so no reward at all, for a completion that gets no verdict
        under some principle or criterion, for any reason.
        """
        generator = use.context.generator(self.input_model(use))
        seed = use.context.seed
        draw = PrincipleDraw(self.constitution, self.draw, seed, dropout=self.dropout)
        rubrics = read_rubrics(use.inputs[self.rubrics]) if self.rubrics else {}

        async def rate_by_rubric(completion: Completion) -> float:
            """The score under the criteria of its prompt."""
            score, _ = await grade(
                generator,
                completion.prompt,
                completion.text,
                hide_criteria(
                    find_rubric(rubrics, completion.prompt_id), self.dropout, seed, completion.step
                ),
                self.scale,
                self.template,
                gate=self.gate,
            )
            return rescale_rating(score, self.scale) if self.rescale else score

        async def rate_by_principles(completion: Completion) -> float:
            """The mean rating under the principles of its prompt in this step."""
            ratings = []
            principles = draw(completion.prompt_id, completion.kind, completion.step)
            for principle in principles:
                rating = await expected_rating(
                    generator,
                    completion.prompt,
                    completion.text,
                    principle.text,
                    self.scale,
                    self.template,
                )
                if self.rescale:
                    rating = rescale_rating(rating, self.scale)
                ratings.append(rating)
            return fmean(ratings, draw.mean_weights(principles))

        async def rate(completion: Completion) -> float | None:
            try:
                if self.rubrics:
                    return await rate_by_rubric(completion)
                return await rate_by_principles(completion)
            except RowFailure as failure:
                count_missing(failure.reason, failure.detail, use.where)
                return None

        async def rate_all(completions: list[Completion]) -> list[float | None]:
            return await asyncio.gather(*map(rate, completions))

        return lambda completions: use.context.loop.run(rate_all(completions))


def check_criteria(constitution: Selection | None, rubrics: str | None, where: str) -> None:
    """Refuse a judge with no criteria, and one with two sources of them.

    Raises:
        UserError: it has none or two.
    """
    if (constitution is None) == (rubrics is None):
        raise UserError(
            "a judge scores by `constitution` or by `rubrics`",
            where=where,
            fix="give one of the two: constitution: ${constitution}, or rubrics: <an input>",
        )


def count_missing(reason: str, detail: str, where: str) -> None:
    """Say once why a completion has no reward, and count how many have none for this reason.

    Args:
        detail: what is true of this completion alone.
        where: the step and the term.
    """
    count_warning(f"{where}: no reward for a completion: {reason}", True, detail)


def identify_selection(option: str, selection: Selection) -> dict[str, Any]:
    """Texts and weights of the selected principles, and the order in which they are read."""
    constitution = select(selection)
    order = [principle.id for principle in constitution.principles]
    return {option: constitution.identity("text", "weight"), f"{option}_order": order}


def _check_model(term: RewardModelTerm, model: Model, use: TermUse) -> None:
    """Refuse a reward model whose layout or whose sign does not match the term."""
    layout = read_format(model)
    layout.refuse_mismatch(bool(term.constitution or term.intervention), use.where)
    states_sign = (Path(model.path) / FILE).is_file() and term.weight * term.scale > 0
    if states_sign and layout.objective == "cost" and not use.is_cost:
        raise UserError(
            "a cost model gives worse responses a higher score, and here it is rewarded",
            where=use.where,
            fix="move the term to `costs` of a `ppo` step, or give it a negative weight",
        )
    if states_sign and layout.objective != "cost" and use.is_cost:
        raise UserError(
            "a reward model gives better responses a higher score, and here it is a cost",
            where=use.where,
            fix="train it with `objective: cost`, or give it a negative weight",
        )
