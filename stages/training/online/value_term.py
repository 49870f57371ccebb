"""The reward term `values`: minus the distance of an answer's values from a target (BaseAlign).

    values: {term: values, model: evaluator, constitution: ..., target: ideal, expression: 0.5}

`model` is a value evaluator (`rule_model` with `objective: value`); `target`, `targets` and the
distance are the options of an `Aim`. Or it is a reward model that reads a profile (`reward_model`
on `profile_pairs`): it is shown the target as text, and its score is the reward, so that a new
target needs no further training. Logged beside the reward: the share of dimensions on which
answers are silent, since the distance of Yao et al. is met best by texts that say nothing, and the
mean score of each dimension.

Source: BaseAlign, Yao et al. 2024 (arXiv 2311.10766), its training code: `mask: published`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Annotated, Any

from pydantic import Field

from stages.guards.errors import UserError
from stages.principles.select import select
from stages.runtime.models import Model
from stages.runtime.typed_config import machine
from stages.training.model_files import template_variables
from stages.training.online.model_terms import ModelTerm
from stages.training.online.terms import Completion, ScoreFunction, TermUse
from stages.training.reward_models.format import VALUES, read_format
from stages.training.reward_models.scorer import Item, Scorer
from stages.training.session import count_warning
from stages.values.aim import Aim, aim_identity, check_aim, profile_text
from stages.values.distance import silent_share


@dataclass(frozen=True, kw_only=True)
class ValuesTerm(Aim, ModelTerm):
    """Minus the distance of the completion's values from the target."""

    batch_size: Annotated[int, Field(ge=1)] = machine(32)
    """Texts at a time."""

    def check(self, where: str) -> None:
        check_aim(self)

    def identity(self) -> dict[str, Any]:
        constitution = select(self.constitution)
        return aim_identity(self) | {"constitution": constitution.identity("text")}

    def score_function(self, use: TermUse) -> ScoreFunction:
        """Return the function; None for a completion that the evaluator cannot read.

        Raises:
            UserError: the model is no value evaluator.
        """
        model = self.input_model(use)
        layout = read_format(model)
        if layout.objective == "preference" and layout.principles:
            return self._read_profiles(model, use)
        if layout.objective not in VALUES:
            raise UserError(
                "this model does not say from -1 to 1 how much an answer is for a value",
                where=use.where,
                fix=f"wire `{self.model}` to a `rule_model` step with `objective: value`",
            )
        scorer = self._scorer(model, use)
        principles = [
            each for each in select(self.constitution).principles if each.id in self.dimension_of
        ]
        names = [principle.id for principle in principles]
        texts = [scorer.format.wording(principle) for principle in principles]
        doubted: set[str] = set()

        def score(completions: list[Completion]) -> list[float | None]:
            items: list[Item] = [
                (completion.prompt, completion.text, (text,))
                for completion in completions
                for text in texts
            ]
            values = scorer.score(items)
            rewards: list[float | None] = [None] * len(completions)
            places, profiles, targets = [], [], []
            for place, completion in enumerate(completions):
                start = place * len(texts)
                scores = values[start : start + len(texts)]
                read = [value for value in scores if value is not None]
                if len(read) < len(texts):
                    _count_missing(scorer, items[start + scores.index(None)], use)
                    continue
                profile = self.profile(names, read)
                assert profile is not None  # each dimension has a principle
                places.append(place)
                profiles.append(profile)
                targets.append(self.target_of(completion.kind))
            if not places:
                return rewards
            for warning in set(self.doubts(targets)) - doubted:
                doubted.add(warning)
                count_warning(f"{use.where}: {warning}", True)
            for place, distance in zip(places, self.far(profiles, targets), strict=True):
                rewards[place] = -float(distance)
            use.signs.update(self._signs(profiles))
            return rewards

        return score

    def _scorer(self, model: Model, use: TermUse) -> Scorer:
        variables = template_variables(use.context)
        return Scorer(model, batch_size=self.batch_size, template_arguments=variables)

    def _read_profiles(self, model: Model, use: TermUse) -> ScoreFunction:
        """Return the function where the model reads the target itself."""
        scorer = self._scorer(model, use)

        def score(completions: list[Completion]) -> list[float | None]:
            items: list[Item] = []
            for completion in completions:
                target = self.target_of(completion.kind)
                text = profile_text(self.theory.dimensions, target)
                items.append((completion.prompt, completion.text, (text,)))
            scores = scorer.score(items)
            for item, value in zip(items, scores, strict=True):
                if value is None:
                    _count_missing(scorer, item, use)
            return scores

        return score

    def _signs(self, profiles: Sequence[Sequence[float]]) -> dict[str, float]:
        """What is logged of a batch: how much it leaves unsaid, and the mean of each dimension."""
        signs = {"tripwire/silent": float(silent_share(profiles, self.threshold).mean())}
        for place, name in enumerate(self.theory.dimensions):
            signs[f"value/{name}"] = fmean(profile[place] for profile in profiles)
        return signs


def _count_missing(scorer: Scorer, item: Item, use: TermUse) -> None:
    """Say once why a completion has no reward, and count how many have none for this reason."""
    reason, detail = scorer.fault(item)
    count_warning(f"{use.where}: no reward for a completion: {reason}", True, detail)
