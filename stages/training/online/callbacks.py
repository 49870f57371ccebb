"""What TRL's online trainers lack: an order of prompts that can be resumed, whole sums of rewards,
checkpoints between rollouts, and a stop if the reward has no signal.

A completion that lacks a term of its reward has no reward. TRL would add up the terms that there
are, and a missing one would count as 0, which may be far more than it is worth. Such a completion
is learnt nothing from, and its group or batch is compared without it. Imported only when something
is trained: transformers comes with it.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import TrainerCallback

from stages.guards.errors import UserError

PATIENCE = 10
"""Batches without a difference in reward before a training is stopped."""
MISSING_CURVE = "tripwire/missing"
"""The name of the curve: the fraction of completions without a reward."""


def is_whole(rewards: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Which completions have all terms that count.

    Args:
        rewards: by completion and term; NaN where a term is missing.
        counted: of each term, whether it counts: one of weight 0 is only watched.
    """
    return ~(rewards.isnan() & counted.to(rewards.device)).any(dim=1)


def missing_shares(
    rewards: torch.Tensor, terms: Sequence[str], counted: torch.Tensor
) -> Iterator[tuple[str, float]]:
    """What is logged of missing terms: the fraction of completions without a reward, then of those
    without each term.
    """
    whole = is_whole(rewards, counted)
    yield MISSING_CURVE, 1 - whole.float().mean().item()
    for column, term in enumerate(terms):
        yield f"missing/{term}", rewards[:, column].isnan().float().mean().item()


class Resumable:
    """Mixed into TRL's online trainers: an epoch's order of prompts depends on its number alone.

    TRL's order comes from a random generator that a resumed training starts again.
    """

    state: Any
    args: Any

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        sampler = super()._get_train_sampler(dataset)  # type: ignore[misc]
        trainer = self

        class ByEpoch(type(sampler)):  # type: ignore[misc]
            def __iter__(self) -> Any:
                epoch = math.floor((trainer.state.epoch or 0) + 1e-6)
                self.generator.manual_seed(trainer.args.seed + epoch)
                return super().__iter__()

        sampler.__class__ = ByEpoch
        return sampler


class WholeRewards:
    """Mixed into TRL's GRPO and RLOO trainers: the sum of a completion's terms is missing where one
    of them is.
    """

    accelerator: Any
    model: Any
    num_generations: int
    reward_func_names: list[str]
    reward_weights: torch.Tensor
    rewards: torch.Tensor
    """Of this process's completions, by completion and term; a row of NaN where the sum is missing.
    """
    _metrics: Any

    def counted_terms(self) -> torch.Tensor:
        """Which terms count; one of weight 0 is only watched."""
        return self.reward_weights != 0

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """The terms' rewards over all processes, shape (completions, terms)."""
        rewards: torch.Tensor = super()._calculate_rewards(*args, **kwargs)  # type: ignore[misc]
        metrics = self._metrics["train" if self.model.training else "eval"]
        for name, value in missing_shares(rewards, self.reward_func_names, self.counted_terms()):
            metrics[name].append(value)
        # TRL takes a completion without any reward out of the baselines.
        rewards[~is_whole(rewards, self.counted_terms())] = torch.nan
        parts = rewards.view(self.accelerator.num_processes, -1, rewards.size(1))
        self.rewards = parts[self.accelerator.process_index]
        return rewards

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Take completions without a reward out of the loss, of its KL term too."""
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)  # type: ignore[misc]
        whole = is_whole(self.rewards, self.counted_terms())
        gathered = self.accelerator.gather(whole.long()).bool()
        if gathered.all():
            return batch
        self._log_silent_groups(gathered)
        if "num_items_in_batch" in batch:  # RLOO has neither, and its loss no KL term
            mask = batch["completion_mask"] * whole.unsqueeze(1)
            batch["completion_mask"] = mask
            learnt = mask * batch["tool_mask"] if "tool_mask" in batch else mask
            batch["num_items_in_batch"] = self.accelerator.gather(learnt.sum()).sum()
        return batch

    def _log_silent_groups(self, whole: torch.Tensor) -> None:
        """Count a group with fewer than two rewards as one without a difference; TRL does not."""
        if self.num_generations < 2 or not self.model.training:
            return
        weights = self.reward_weights.to(self.rewards.device)
        sums = self.accelerator.gather((self.rewards * weights).nansum(dim=1))
        silent = []
        for rewards, valid in zip(
            sums.view(-1, self.num_generations), whole.view(-1, self.num_generations), strict=True
        ):
            present = rewards[valid]
            differ = len(present) > 1 and not torch.isclose(present, present[0]).all()
            silent.append(not differ)
        self._metrics["train"]["frac_reward_zero_std"][-1] = sum(silent) / len(silent)


def online_trainer(trainer: type) -> Any:
    """A class of TRL's GRPO or RLOO trainers, made resumable, with whole sums of rewards."""
    return type(f"Online{trainer.__name__}", (Resumable, WholeRewards, trainer), {})


class AlignedSaves(TrainerCallback):
    """Delays a checkpoint until its rollout ends: no checkpoint holds a half-used rollout."""

    def __init__(self, arguments: Any):
        batches = getattr(arguments, "steps_per_generation", 1)
        batches *= getattr(arguments, "num_iterations", 1)
        accumulated = arguments.gradient_accumulation_steps
        self.steps_per_rollout = math.lcm(batches, accumulated) // accumulated
        self.due = False

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.due = self.due or control.should_save
        control.should_save = self.due and state.global_step % self.steps_per_rollout == 0
        self.due = self.due and not control.should_save


class NoSignal(TrainerCallback):
    """Stops a training whose reward has never differed between answers to a prompt, or is always
    missing.

    Args:
        warnings: gets a warning where a training ends sooner than that, and had no signal either.
    """

    def __init__(self, step: str, warnings: list[str]):
        self.where = f"step {step!r}"
        self.warnings = warnings
        self.silent = 0
        """Batches without a signal; -1 once there was one."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        for logs in state.log_history:  # a resumed training counts its earlier batches too
            self._count(args, logs)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        self._count(args, logs or {})
        if self.silent >= PATIENCE:
            raise UserError(
                f"in none of {PATIENCE} batches did the reward differ between answers to a prompt: "
                "nothing can be learnt",
                where=self.where,
                fix="look at the terms under `rewards`, raise args.temperature or "
                "args.num_generations, or give other prompts",
            )

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.silent > 0:
            self.warnings.append(
                f"in none of its {self.silent} batches did the reward differ between answers to a "
                "prompt: nothing could be learnt"
            )

    def _count(self, args: Any, logs: dict[str, Any]) -> None:
        has_rollout = "frac_reward_zero_std" in logs or "objective/scores_margin" in logs
        if has_rollout and self.silent >= 0:
            self.silent = self.silent + 1 if _rewards_equal(args, logs) else -1


def _rewards_equal(args: Any, logs: dict[str, Any]) -> bool:
    """Whether a batch's rewards distinguish no answer from another."""
    if "objective/scores_margin" in logs:  # online DPO: the better answer less the worse
        return not logs["objective/scores_margin"]
    if logs.get("reward") is None:  # no term could score
        return True
    if getattr(args, "num_generations", 1) > 1:
        return bool(logs["frac_reward_zero_std"] >= 1)
    return not logs.get("reward_std")
