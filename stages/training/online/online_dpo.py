"""Stage `online_dpo`: DPO on pairs of fresh rollouts, the better one by the reward (Guo et al.
2024, arXiv 2402.04792).

In: `model`, `prompts` and other Prompt rows, and the models that the reward's terms name. Out: a
model. Through TRL, where it is called experimental. From a pair with an answer that no term can
tell anything about nothing is learnt. See `online.py` for what the online stages share,
`rewards.py` for the reward.
"""

from dataclasses import dataclass
from typing import Any

from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.stage import Stage
from stages.training.online import rollouts as online


@dataclass(frozen=True, kw_only=True)
class Config(online.OnlineConfig):
    """`args` are fields of TRL's OnlineDPOConfig."""

    stage = "online_dpo"
    trainer_options = "OnlineDPOConfig"


def identity(config: Config) -> dict[str, Any]:
    return online.online_identity(config)


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Train and save the model.

    Raises:
        UserError: as `grpo`.
    """

    def make(reward_funcs: list[Any], **given: Any) -> Any:
        from trl.experimental.online_dpo import OnlineDPOTrainer

        class Logged(
            OnlineDPOTrainer
        ):  # TRL's logs the sum of the terms only, and takes a missing reward for 0
            def _generate(self, *args: Any, **kwargs: Any) -> Any:
                made = super()._generate(*args, **kwargs)
                self.sampled_mask = made[3]
                return made

            def _generate_vllm(self, *args: Any, **kwargs: Any) -> Any:
                made = super()._generate_vllm(*args, **kwargs)
                self.sampled_mask = made[3]
                return made

            def _calculate_rewards_from_functions(
                self, prompts: Any, completions: Any, completion_ids_list: Any, **rest: Any
            ) -> Any:
                def note(name: str, value: float) -> None:
                    self.stats.setdefault(name, []).append(value)

                known = [False] * len(completions)
                ids = [_sampled(each, set(self.eos_token_ids)) for each in completion_ids_list]
                rewards = super()._calculate_rewards_from_functions(
                    prompts, completions, ids, **rest, log_metric=note, known=known
                )
                for row in _untold(known):
                    self.sampled_mask[row] = (
                        0  # both sides' log-probabilities become 0: a pair without a gradient
                    )
                return rewards

        return Logged(reward_funcs=[_noted(function) for function in reward_funcs], **given)

    return online.run_online(config, inputs, context, make, remove_unused_columns=False)


STAGE = Stage(
    version=3,
    config=Config,
    run=run,
    inputs=online.NEEDS,
    optional=online.ALSO_TAKES,
    trains=True,
    identity=identity,
)


def _sampled(ids: list[int], ends: set[int]) -> list[int]:
    """A completion's own tokens: this trainer fills each up to the longest of its batch."""
    last = next((place for place, token in enumerate(ids) if token in ends), len(ids))
    return ids[: last + 1]


def _untold(known: list[bool]) -> list[int]:
    """Rows of the pairs that lack a reward on one side; a batch holds first answers to all prompts,
    then the second ones.
    """
    half = len(known) // 2
    lacking = [row for row in range(half) if not (known[row] and known[row + half])]
    return lacking + [row + half for row in lacking]


def _noted(function: Any) -> Any:
    """The same function, which also logs its mean and marks the rows of `known` that it can tell
    about.
    """

    def noting(log_metric: Any, known: list[bool], **given: Any) -> Any:
        scores = function(log_metric=log_metric, **given)
        known[:] = [
            before or score is not None for before, score in zip(known, scores, strict=True)
        ]
        told = [score for score in scores if score is not None]
        log_metric(f"rewards/{function.__name__}/mean", sum(told) / max(len(told), 1))
        return scores

    noting.__name__ = function.__name__
    return noting
