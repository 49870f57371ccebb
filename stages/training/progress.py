"""What a training displays while it runs, and the curve that is kept of it.

Imported only when something is trained: transformers comes with it.
"""

import json
import math
import os
import re
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from transformers import TrainerCallback
from transformers.integrations import TensorBoardCallback

from stages.guards.errors import UserError
from stages.runtime.pipeline.launch import PROGRESS
from stages.runtime.progress import progress_bar
from stages.training.checkpoints import mark_complete

CURVES = {
    "loss": "loss",
    "rewards/accuracies": "accuracy",
    "rewards/margins": "margin",
    "accuracy": "accuracy",
    "margin": "margin",
    "reward": "reward",
    "objective/scores": "reward",
    "cost": "cost",
    "lambda": "lambda",
    "kl": "kl",
    "kl_per_completion": "kl_per_completion",
    "objective/kl": "kl_per_completion",
    "entropy": "entropy",
    "value_loss": "value_loss",
    "tripwire/length": "length",
    "tripwire/refusals": "refusals",
    "tripwire/repetition": "repetition",
    "tripwire/missing": "missing",
    "tripwire/silent": "silent",
}
"""The trainers' names for what the curve keeps, and ours. KL: `kl` is a mean over tokens, the other
a sum over each answer.
"""
TERM = re.compile(r"rewards/(?P<name>.+)/mean")
"""What the trainers call a single term of a reward."""
MISSING_TERM = re.compile(r"missing/(?P<name>.+)")
"""The fraction of completions that a term cannot score."""
TENSORBOARD = "tensorboard"
"""The folder of its files, beside the artifacts."""
VALUE = re.compile(r"value/(?P<name>.+)")
"""The mean score of a dimension of values."""


class Watch(TrainerCallback):
    """Shows steps, rate, time left and loss; marks complete checkpoints; stops on divergence."""

    def __init__(self, step: str, console: Console, training: str):
        self.where = f"step {step!r}"
        self.training = training
        self.progress = progress_bar(console, "steps")
        self.task = self.progress.add_task(step, total=None, note="")

    def close(self) -> None:
        self.progress.stop()

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.progress.reset(self.task, total=state.max_steps, completed=state.global_step)
        if state.is_world_process_zero:
            self.progress.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.progress.update(self.task, completed=state.global_step)
        file = os.environ.get(PROGRESS)
        if state.is_world_process_zero and file:
            steps = json.dumps([state.global_step, state.max_steps])
            Path(file).write_text(steps, encoding="utf-8")
        self._skip_last_save(args, state, control)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._skip_last_save(args, state, control)

    def _skip_last_save(self, args: Any, state: Any, control: Any) -> None:
        """Save no checkpoint at the last step.

        The model itself is saved next, and a Trainer that resumes at its last step takes one step
        too many.
        """
        if state.global_step >= state.max_steps and not args.load_best_model_at_end:
            control.should_save = False

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        loss = (logs or {}).get("loss")
        if loss is None:
            return
        if not math.isfinite(loss):
            raise UserError(
                f"the loss is {loss} at step {state.global_step}: the training has diverged",
                where=self.where,
                fix="lower args.learning_rate, lengthen args.warmup_steps, or set "
                "args.max_grad_norm lower",
            )
        self.progress.update(self.task, note=f"loss {loss:.3f}")

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if torch.distributed.is_initialized():  # every rank has written its part
            torch.distributed.barrier()
        if state.is_world_process_zero:
            checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            mark_complete(checkpoint, self.training)


def keep_reports(trainer: Any, artifact: Path) -> None:
    """Have TensorBoard's files lie where they stay: beside the artifacts, a folder for each step.

    The trainer's own place is among the checkpoints, which are removed. The environment variable
    TENSORBOARD_LOGGING_DIR decides otherwise.

    Args:
        artifact: the folder of the step.
    """
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, TensorBoardCallback) and callback.logging_dir is None:
            callback.logging_dir = str(artifact.parent.parent / TENSORBOARD / artifact.name)


def curve(log_history: list[dict[str, Any]], points: int = 200) -> list[dict[str, float]]:
    """The training curve in at most `points` points; a point may be the mean of several steps.

    Returns:
        Dicts of `step` (the last one in it), `loss` and what else of CURVES was logged; `term
        <name>` for a term of a reward, `missing <name>` for how often it was missing, if ever;
        `value <dimension>` where a term reads values.
    """
    logged = [entry for entry in log_history if "loss" in entry]
    size = max(1, math.ceil(len(logged) / points))
    means = [_mean_point(logged[start : start + size]) for start in range(0, len(logged), size)]
    missing = {name for point in means for name, value in point.items() if value}
    idle = {name for point in means for name in point if name.startswith("missing ")} - missing
    for point in means:
        for name in idle:
            point.pop(name, None)
    return means


def _mean_point(entries: list[dict[str, Any]]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for entry in entries:
        for name, value in entry.items():
            if value is not None:
                values.setdefault(name, []).append(value)
    point: dict[str, float] = {"step": entries[-1]["step"]}
    for name, numbers in values.items():
        key = CURVES.get(name)
        if term := TERM.fullmatch(name):
            key = f"term {term['name']}"
        elif term := MISSING_TERM.fullmatch(name):
            key = f"missing {term['name']}"
        elif term := VALUE.fullmatch(name):
            key = f"value {term['name']}"
        if key:
            point[key] = round(sum(numbers) / len(numbers), 6)
    return point
