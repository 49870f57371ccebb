"""The terms of a reward at work: each is a function as TRL's online trainers call it, one number a
completion.

In: checked terms (`rewards`), the step's inputs. Out: callables (prompts, completions,
completion_ids, ...) -> numbers, with `__name__` the term's name. What a term gives is checked: a
number that is not finite stops the run and tells where.
"""

import asyncio
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

from stages.principles.assign import assign_many
from stages.principles.constitution import Principle
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact
from stages.runtime.context import Context, Drop
from stages.runtime.errors import UserError
from stages.runtime.generation import TooLong
from stages.runtime.models import Model
from stages.runtime.rows import Message
from stages.training.online.rewards import (
    JudgeTerm,
    LengthTerm,
    PythonTerm,
    RewardModelTerm,
    Term,
    UnfinishedTerm,
    load_function,
    models_named,
)
from stages.training.reward_models.format import FILE, read_format

RewardFunction = Callable[..., list[float | None]]


class Rollout:
    """What a term is shown of a batch, out of the arguments that TRL gives.

    Attributes:
        prompts, completions: messages and texts. ids: of the prompts' rows. kinds: theirs. tokens:
            each completion's.
        round: the training step, which numbers the draws of principles.
    """

    def __init__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Sequence[Any],
        **rest: Any,
    ):
        self.prompts: list[list[Message]] = [list(p) for p in prompts]
        self.completions = [c if isinstance(c, str) else c[0]["content"] for c in completions]
        self.tokens = [list(ids) for ids in completion_ids]
        self.ids: list[str] = list(rest["row_id"])
        self.kinds: list[str] = list(rest["kind"])
        self.round = int(rest["trainer_state"].global_step)


def build(
    terms: Mapping[str, Term],
    inputs: Mapping[str, Artifact],
    context: Context,
    ends: set[int],
    costs: Collection[str] = (),
) -> list[RewardFunction]:
    """The terms as functions, in their order.

    Args:
        ends: ids of the tokens that end a turn.
        costs: names of those terms that are costs.

    Raises:
        UserError: a term names an input that the step does not have, or a model that cannot be used
        so.
    """
    for name, model in models_named(terms).items():
        if model not in inputs:
            raise UserError(
                f"the term reads an input {model!r} that the step does not have",
                where=f"step {context.step!r}, rewards.{name}",
                fix=f"add it: `inputs: {{{model}: <a step>}}`; inputs here: {', '.join(inputs)}",
            )
    for name, term in terms.items():
        if isinstance(term, RewardModelTerm):
            where = f"step {context.step!r}, {'costs' if name in costs else 'rewards'}.{name}"
            _check_use(term, inputs[term.model].model(), name in costs, where)
    return [
        _checked(name, _working(term, inputs, context, ends), context.step)
        for name, term in terms.items()
    ]


def _check_use(term: RewardModelTerm, model: Model, is_cost: bool, where: str) -> None:
    """Refuse a model whose layout or whose sign is not what the term takes it for, before anything
    is rolled out.
    """
    layout = read_format(model)
    if layout.principles and not (term.constitution or term.intervention):
        raise UserError(
            "this reward model reads principles and was given none",
            where=where,
            fix="add `constitution: ...`",
        )
    if not layout.principles and (term.constitution or term.intervention):
        raise UserError(
            "this reward model was trained without principles and cannot read any",
            where=where,
            fix="remove `constitution` and `intervention`, or give its `reward_model` step a constitution",
        )
    costly = layout.objective == "cost"
    if (Path(model.path) / FILE).is_file() and costly != is_cost and term.weight * term.scale > 0:
        raise UserError(
            "a cost model's score is the higher the worse a response is, and here it is rewarded"
            if costly
            else "a reward model's score is the higher the better a response is, and here it is a cost",
            where=where,
            fix=(
                "move the term to `costs` of a `ppo` step"
                if costly
                else "train it with `objective: cost`"
            )
            + ", or give it a negative weight",
        )


def _working(
    term: Term, inputs: Mapping[str, Artifact], context: Context, ends: set[int]
) -> Callable[[Rollout], Any]:
    match term:
        case RewardModelTerm():
            return _by_reward_model(term, inputs, context)
        case JudgeTerm():
            return _by_judge(term, inputs, context)
        case LengthTerm():
            return lambda rollout: [
                min(term.factor.get(kind, 1.0) * len(tokens) / term.per, term.cap)
                for kind, tokens in zip(rollout.kinds, rollout.tokens, strict=True)
            ]
        case UnfinishedTerm():
            return lambda rollout: [
                0.0 if tokens and tokens[-1] in ends else -1.0 for tokens in rollout.tokens
            ]
        case PythonTerm():
            function = load_function(term.function, f"step {context.step!r}")
            return lambda rollout: [
                function(prompt, text, {"id": name, "kind": kind})
                for prompt, text, name, kind in zip(
                    rollout.prompts, rollout.completions, rollout.ids, rollout.kinds, strict=True
                )
            ]


def _checked(name: str, term: Callable[[Rollout], Any], step: str) -> RewardFunction:
    def rewarded(
        prompts: Any, completions: Any, completion_ids: Any, **rest: Any
    ) -> list[float | None]:
        rollout = Rollout(prompts, completions, completion_ids, **rest)
        given = term(rollout)
        try:
            scores = [None if score is None else float(score) for score in given]
        except (TypeError, ValueError):
            raise UserError(
                f"the reward term {name!r} gave something that is no number: {given!r:.80}",
                where=f"step {step!r}",
                fix="let its function return a number, or None where it cannot tell",
            ) from None
        for row, score in zip(rollout.ids, scores, strict=True):
            if score is not None and not math.isfinite(score):
                raise UserError(
                    f"the reward term {name!r} gave {score} for a completion of prompt {row}",
                    where=f"step {step!r}",
                    fix="look at what the term scores there; a term that cannot tell must give None",
                )
        return scores

    rewarded.__name__ = name
    return rewarded


def _by_reward_model(
    term: RewardModelTerm, inputs: Mapping[str, Artifact], context: Context
) -> Callable[[Rollout], Any]:
    from stages.training.reward_models.scorer import Scorer

    arguments = context.engines.meaning.get("template_arguments")
    scorer = Scorer(
        inputs[term.model].model(), batch_size=term.batch_size, template_arguments=arguments
    )
    draw = Draw(
        term.constitution, term.draw, context.seed, term.always, term.intervention, term.boost
    )

    def score(
        rollout: Rollout,
    ) -> list[float | None]:  # None: longer than the model's context, as from a judge
        items, weights = [], []
        rows = zip(rollout.prompts, rollout.completions, rollout.ids, rollout.kinds, strict=True)
        for prompt, completion, name, kind in rows:
            shown = draw(name, kind, rollout.round)
            apart = term.each and len(shown) > 1
            lists = [(p.text,) for p in shown] if apart else [tuple(p.text for p in shown)]
            items += [(prompt, completion, texts) for texts in lists]
            weights.append(
                [p.weight if term.draw is None else 1.0 for p in shown] if apart else [1.0]
            )  # a draw has used them
        found = iter(scorer.score_fitting(items))
        return [_mean(list(islice(found, len(each))), each, term) for each in weights]

    return score


def _mean(scores: list[float | None], weights: list[float], term: RewardModelTerm) -> float | None:
    known = [score for score in scores if score is not None]
    return (fmean(known, weights) - term.shift) * term.scale if len(known) == len(scores) else None


def _by_judge(
    term: JudgeTerm, inputs: Mapping[str, Artifact], context: Context
) -> Callable[[Rollout], Any]:
    from stages.preferences.judging.rating import expected_rating, rescaled

    generator = context.generator(inputs[term.model].model())
    draw = Draw(term.constitution, term.draw, context.seed)

    async def rate(prompt: list[Message], text: str, principles: list[Principle]) -> float | None:
        total, weights = 0.0, 0.0
        for principle in principles:
            try:
                found = await expected_rating(
                    generator, prompt, text, principle.text, term.scale, term.template
                )
            except (
                Drop,
                TooLong,
            ):  # no verdict: the term is missing from the sum; where all are, nothing is learnt
                return None
            total += principle.weight * (rescaled(found, term.scale) if term.rescale else found)
            weights += principle.weight
        return total / weights

    async def rate_all(rollout: Rollout) -> list[float | None]:
        rows = zip(rollout.prompts, rollout.completions, rollout.ids, rollout.kinds, strict=True)
        return await asyncio.gather(
            *(rate(p, t, draw(name, kind, rollout.round)) for p, t, name, kind in rows)
        )

    return lambda rollout: context.loop.run(rate_all(rollout))


class Draw:
    """Which principles a rollout of a prompt is scored under; equal for all completions of a prompt
    in a round.
    """

    def __init__(
        self,
        constitution: Selection | None,
        count: int | None,
        seed: int,
        always: Sequence[str] = (),
        intervention: Selection | None = None,
        boost: Mapping[str, Mapping[str, float]] | None = None,
    ):
        principles = select(constitution).principles if constitution else ()
        known = {p.id: p for p in principles}
        fixed = list(select(intervention).principles) if intervention else []
        self.fixed = fixed + [known[name] for name in always]
        self.drawn = [p for p in principles if p.id not in set(always)]
        self.count, self.seed, self.boost = count, seed, boost or {}

    def __call__(self, row: str, kind: str, draw: int) -> list[Principle]:
        if self.count is None:
            return self.fixed + self.drawn
        if self.count == 0:
            return self.fixed
        extra = self.boost.get(kind, {})
        weighted = [
            p.model_copy(update={"weight": p.weight + extra.get(p.id, 0.0)}) for p in self.drawn
        ]
        return self.fixed + assign_many(weighted, row, self.seed, self.count, draw)
