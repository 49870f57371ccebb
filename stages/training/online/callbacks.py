"""Callbacks of online training: when checkpoints are made, and a stop if the reward has no signal.

Imported only when something is trained: transformers comes with it.
"""

import math
from typing import Any

from transformers import TrainerCallback

from stages.runtime.errors import UserError

PATIENCE = 10
"""Batches without a difference in reward before a training is stopped."""


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


def resumable(trainer: type) -> Any:
    """A class of TRL's online trainers, made resumable."""
    return type(f"Resumable{trainer.__name__}", (Resumable, trainer), {})


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
    """

    def __init__(self, step: str):
        self.where = f"step {step!r}"
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
