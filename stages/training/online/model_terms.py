"""The terms of a reward that ask a model: a reward model or a judge.

Both score under principles that are drawn for each prompt (`draws.py`).
"""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

from pydantic import Field

from stages.generators import TooLong
from stages.preferences.judging.rating import YES_NO, Scale, expected_rating, rescaled
from stages.principles.constitution import Principle
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact
from stages.runtime.context import Context, Drop
from stages.runtime.errors import UserError
from stages.runtime.settings import machine
from stages.runtime.templates import template_hash
from stages.training.examples import template_variables
from stages.training.online.draws import Draw, check_draw
from stages.training.online.terms import Completion, ScoreFunction, Term
from stages.training.reward_models.format import FILE, RewardFormat, read_format


@dataclass(frozen=True, kw_only=True)
class ModelTerm(Term):
    """A term that asks a model."""

    model: str
    """The step's input that holds it."""

    def check_inputs(self, inputs: Mapping[str, Artifact], is_cost: bool, where: str) -> None:
        if self.model not in inputs:
            raise UserError(
                f"the term reads an input {self.model!r} that the step does not have",
                where=where,
                fix=f"add it: `inputs: {{{self.model}: <a step>}}`; "
                f"inputs here: {', '.join(inputs)}",
            )


@dataclass(frozen=True, kw_only=True)
class RewardModelTerm(ModelTerm):
    """A reward model's score of the completion: (score - shift) * scale."""

    constitution: Selection | None = None
    """For a model that reads principles: those that it may be shown."""
    draw: int | None = None
    """How many of them are shown for a prompt; None: all, in the file's order."""
    always: tuple[str, ...] = ()
    """Ids of those shown in every rollout, before the drawn ones."""
    intervention: Selection | None = None
    """A further set, shown in every rollout before all others; nothing need be trained for it."""
    boost: dict[str, dict[str, Annotated[float, Field(ge=0)]]] = field(default_factory=dict)
    """By kind of prompt, what is added to the weights of the named principles in the draw."""
    each: bool = False
    """Score under every shown principle alone, and take the mean.

    This is for a model too small to weigh several at once (`reward_accuracy` reports whether it
    can: one of a list, first). The prefix is shared, so it costs little more.
    """
    scale: float = 1.0
    shift: float = 0.0
    batch_size: Annotated[int, Field(ge=1)] = machine(32)

    def check(self, where: str) -> None:
        if self.constitution:
            check_draw(
                self.constitution, self.draw, where, self.always, self.intervention, self.boost
            )
        elif self.draw or self.always or self.boost or self.each:
            raise UserError(
                "`draw`, `always`, `boost` and `each` need a constitution",
                where=where,
                fix="add `constitution: ...`",
            )

    def identity(self) -> dict[str, Any]:
        return _identify("constitution", self.constitution) | _identify(
            "intervention", self.intervention
        )

    def check_inputs(self, inputs: Mapping[str, Artifact], is_cost: bool, where: str) -> None:
        """Refuse a model whose layout or whose sign is not what the term takes it for."""
        super().check_inputs(inputs, is_cost, where)
        model = inputs[self.model].model()
        layout = read_format(model)
        self._check_principles(layout, where)
        if (Path(model.path) / FILE).is_file() and self.weight * self.scale > 0:
            _check_sign(layout, is_cost, where)

    def _check_principles(self, layout: RewardFormat, where: str) -> None:
        has_principles = bool(self.constitution or self.intervention)
        if layout.principles and not has_principles:
            raise UserError(
                "this reward model reads principles and was given none",
                where=where,
                fix="add `constitution: ...`",
            )
        if has_principles and not layout.principles:
            raise UserError(
                "this reward model was trained without principles and cannot read any",
                where=where,
                fix="remove `constitution` and `intervention`, or give its `reward_model` step a "
                "constitution",
            )

    def score_function(
        self, inputs: Mapping[str, Artifact], context: Context, end_tokens: set[int]
    ) -> ScoreFunction:
        """Return the function; None for a completion longer than the model's context."""
        from stages.training.reward_models.scorer import Scorer

        variables = template_variables(context)
        model = inputs[self.model].model()
        scorer = Scorer(model, batch_size=self.batch_size, template_arguments=variables)
        draw = Draw(
            self.constitution, self.draw, context.seed, self.always, self.intervention, self.boost
        )

        def score(completions: list[Completion]) -> list[float | None]:
            items = []
            weights = []
            for completion in completions:
                shown = draw(completion.prompt_id, completion.kind, completion.step)
                for principles in self._shown_together(shown):
                    texts = tuple(principle.text for principle in principles)
                    items.append((completion.prompt, completion.text, texts))
                weights.append(self._weights_in_mean(shown))
            scores = iter(scorer.score_fitting(items))
            return [self._mean(scores, each) for each in weights]

        return score

    def _shown_together(self, principles: list[Principle]) -> list[list[Principle]]:
        if self.each and len(principles) > 1:
            return [[principle] for principle in principles]
        return [principles]

    def _weights_in_mean(self, principles: list[Principle]) -> list[float]:
        if not self.each or len(principles) < 2:
            return [1.0]
        if self.draw is not None:  # the draw has used the weights
            return [1.0] * len(principles)
        return [principle.weight for principle in principles]

    def _mean(self, scores: Iterator[float | None], weights: list[float]) -> float | None:
        """Take the next scores, one for each weight."""
        values = []
        for _ in weights:
            values.append(next(scores))
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            return None
        return (fmean(known, weights) - self.shift) * self.scale


@dataclass(frozen=True, kw_only=True)
class JudgeTerm(ModelTerm):
    """A judge's expected rating of the completion, without a reward model.

    Source: d-RLAIF, Lee et al. 2023, section 2.3.
    """

    constitution: Selection
    """What it rates by; the principles' weights average the ratings."""
    draw: int | None = None
    """How many principles a prompt is rated under; None: all."""
    scale: Scale = field(default_factory=lambda: dict(YES_NO))
    """The answers it may give, and what each is worth."""
    rescale: bool = True
    """Bring ratings to [-1, 1], as in the paper."""
    template: str = "preferences/judging/verdict.jinja"
    """What the judge reads."""

    def check(self, where: str) -> None:
        if len(set(self.scale.values())) < 2:
            raise UserError(
                f"every option of the scale is worth {next(iter(self.scale.values()))}",
                where=where,
                fix="give values that differ",
            )
        check_draw(self.constitution, self.draw, where)

    def identity(self) -> dict[str, Any]:
        template = {"template": template_hash(self.template)}
        return template | _identify("constitution", self.constitution)

    def score_function(
        self, inputs: Mapping[str, Artifact], context: Context, end_tokens: set[int]
    ) -> ScoreFunction:
        """Return the function; None for a completion without a verdict under some principle."""
        generator = context.generator(inputs[self.model].model())
        draw = Draw(self.constitution, self.draw, context.seed)

        async def rate(completion: Completion) -> float | None:
            total = 0.0
            weights = 0.0
            for principle in draw(completion.prompt_id, completion.kind, completion.step):
                try:
                    rating = await expected_rating(
                        generator,
                        completion.prompt,
                        completion.text,
                        principle.text,
                        self.scale,
                        self.template,
                    )
                except (Drop, TooLong):
                    return None
                if self.rescale:
                    rating = rescaled(rating, self.scale)
                total += principle.weight * rating
                weights += principle.weight
            return total / weights

        async def rate_all(completions: list[Completion]) -> list[float | None]:
            return await asyncio.gather(*map(rate, completions))

        return lambda completions: context.loop.run(rate_all(completions))


def _identify(option: str, selection: Selection | None) -> dict[str, Any]:
    """Texts and weights of the selected principles, and the order in which they are read."""
    if selection is None:
        return {}
    constitution = select(selection)
    order = [principle.id for principle in constitution.principles]
    return {option: constitution.identity("text", "weight"), f"{option}_order": order}


def _check_sign(layout: RewardFormat, is_cost: bool, where: str) -> None:
    """Refuse a model of costs as a reward, and a model of rewards as a cost."""
    if layout.objective == "cost" and not is_cost:
        raise UserError(
            "a cost model's score is the higher the worse a response is, and here it is rewarded",
            where=where,
            fix="move the term to `costs` of a `ppo` step, or give it a negative weight",
        )
    if layout.objective != "cost" and is_cost:
        raise UserError(
            "a reward model's score is the higher the better a response is, and here it is a cost",
            where=where,
            fix="train it with `objective: cost`, or give it a negative weight",
        )
