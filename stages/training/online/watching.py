"""What is watched of an online training: tripwires, a reward that tells nothing, and where
checkpoints may be made.

Imported only when something is trained: transformers comes with it.
"""

import math
from typing import Any

from transformers import TrainerCallback

from stages.runtime.errors import UserError
from stages.training.online.reward_terms import RewardFunction
from stages.training.online.tripwires import tripwires

PATIENCE = 10  # rollouts without a difference in reward before a training is stopped


def watched(functions: list[RewardFunction]) -> list[RewardFunction]:
    """The same functions; the first also logs the tripwires of each batch that it sees."""
    first = functions[0]

    def watching(
        prompts: Any, completions: Any, completion_ids: Any, **rest: Any
    ) -> list[float | None]:
        log = rest.get("log_metric")
        if log is not None:
            texts = [c if isinstance(c, str) else c[0]["content"] for c in completions]
            for name, value in tripwires(texts, [len(ids) for ids in completion_ids]).items():
                log(f"tripwire/{name}", value)
        return first(
            prompts=prompts, completions=completions, completion_ids=completion_ids, **rest
        )

    watching.__name__ = first.__name__  # type: ignore[attr-defined]
    return [watching, *functions[1:]]


class Resumable:
    """Mixed into TRL's online trainers: an epoch's order of prompts depends on its number, not on
    the epochs before it.

    Theirs comes from a generator that a resumed training starts anew.
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


class AlignedSaves(TrainerCallback):
    """Puts a checkpoint off to the end of its rollout: half-used rollouts are in no checkpoint."""

    def __init__(self, arguments: Any):
        batches = getattr(arguments, "steps_per_generation", 1) * getattr(
            arguments, "num_iterations", 1
        )
        accumulated = arguments.gradient_accumulation_steps
        self.cycle = math.lcm(batches, accumulated) // accumulated
        self.due = False

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.due = self.due or control.should_save
        control.should_save = self.due and state.global_step % self.cycle == 0
        self.due = self.due and not control.should_save


class NoSignal(TrainerCallback):
    """Stops a training whose reward is the same for all answers to a prompt, or missing for all,
    from the start on.
    """

    def __init__(self, step: str):
        self.where = f"step {step!r}"
        self.silent = 0  # batches without a signal; -1 once there was one

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        for logs in state.log_history:  # a resumed training has had its start
            self._count(args, logs)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        self._count(args, logs or {})
        if self.silent >= PATIENCE:
            raise UserError(
                f"the reward told no answer to a prompt from another in any of {PATIENCE} batches: nothing can be learnt",
                where=self.where,
                fix="look at the terms under `rewards`, raise args.temperature or args.num_generations, or give other prompts",
            )

    def _count(self, args: Any, logs: dict[str, Any]) -> None:
        rolled_out = "frac_reward_zero_std" in logs or "objective/scores_margin" in logs
        if rolled_out and self.silent >= 0:
            self.silent = self.silent + 1 if _alike(args, logs) else -1


def _alike(args: Any, logs: dict[str, Any]) -> bool:
    """Whether a batch's rewards tell no answer from another."""
    if "objective/scores_margin" in logs:  # online DPO: the better answer less the worse
        return not logs["objective/scores_margin"]
    if logs.get("reward") is None:  # no term could tell
        return True
    return (
        logs["frac_reward_zero_std"] >= 1
        if getattr(args, "num_generations", 1) > 1
        else not logs.get("reward_std")
    )
