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

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from stages.principles.select import select
from stages.runtime.rows import Prompt, Proposal
from stages.runtime.typed_config import machine
from stages.training.model_files import template_variables
from stages.training.online.model_terms import ModelTerm
from stages.training.online.terms import Completion, ExpectedInputs, ScoreFunction, TermUse
from stages.training.reward_models.scorer import Scorer
from stages.training.reward_models.value_reader import (
    Answer,
    ValueReader,
    doubt_learnt,
    refuse_no_values,
)
from stages.training.session import count_warning
from stages.values.aim import Aim, aim_identity, check_aim


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

    def foresee(self, inputs: ExpectedInputs) -> list[str]:
        """Warn of kinds of requests without a target of their own, and of another set's evaluator.

        Raises:
            UserError: a kind has no target, or the model reads neither values nor profiles.
        """
        counts: Counter[str] = Counter()
        for expected in inputs.values():
            counts.update(expected.count_kinds())
        warnings = self.doubt_kinds(counts)
        evaluator = inputs.get(self.model)
        model = evaluator.find_model() if evaluator and evaluator.is_made else None
        if model:
            refuse_no_values(model, f"input {self.model!r}")
            warnings += doubt_learnt(model, select(self.constitution).principles)
        return warnings

    def score_function(self, use: TermUse) -> ScoreFunction:
        """Return the function; None for a completion that the model cannot read.

        Raises:
            UserError: the model reads neither values nor profiles, or a request has no target.
        """
        model = self.input_model(use)
        kinds: Counter[str] = Counter()
        for name, artifact in use.inputs.items():
            if name != self.model and artifact.manifest.rows:
                prompts = artifact.rows(Prompt, Proposal)
                kinds.update(row.kind for row in prompts if isinstance(row, Prompt))
        for warning in self.doubt_kinds(kinds):
            count_warning(f"{use.where}: {warning}", True)
        variables = template_variables(use.context)
        scorer = Scorer(
            model,
            batch_size=self.batch_size,
            template_arguments=variables,
        )
        reader = ValueReader(self, model, scorer, use.where)
        doubted: set[str] = set()

        def score(completions: list[Completion]) -> list[float | None]:
            """Minus the distances, or what a profile reader says."""
            answers = [Answer(each.prompt, each.text, each.kind) for each in completions]
            if reader.reads_profiles:
                rewards = reader.scores(answers)
            else:
                profiles = reader.profiles(answers)
                rewards = self._distances(answers, profiles, use, doubted)
            for reason, detail in reader.faults:
                warning = f"{use.where}: no reward for a completion: {reason}"
                count_warning(warning, True, detail)
            return rewards

        return score

    def _distances(
        self,
        answers: Sequence[Answer],
        profiles: Sequence[Sequence[float] | None],
        use: TermUse,
        doubted: set[str],
    ) -> list[float | None]:
        """Minus the distance of each answer that has a profile; log what the batch leaves unsaid.

        Args:
            doubted: the warnings that were given already.
        """
        rewards: list[float | None] = []
        present = []
        targets = []
        for answer, profile in zip(answers, profiles, strict=True):
            target = self.target_of(answer.kind)
            reward = None
            if profile is not None:
                reward = -float(self.far([profile], [target])[0])
                present.append(profile)
                targets.append(target)
            rewards.append(reward)
        if present:
            use.signs.update(self.signs(present))
            for warning in self.doubts(targets):
                if warning not in doubted:
                    doubted.add(warning)
                    count_warning(f"{use.where}: {warning}", True)
        return rewards
