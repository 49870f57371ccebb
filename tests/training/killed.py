"""Trainings that are killed: each in a process of its own that shares only the folder with us.

They fork from a process that has imported the libraries, which takes longer than such a training.
"""

import asyncio
import importlib
import multiprocessing
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from stages.runtime.pipeline.launch import STOPPED

LIBRARIES = ["stages.training.progress", "datasets", "peft", "trl.trainer.base_trainer"]
SECONDS = 240


def train_until_killed(
    root: Path,
    stage: str,
    inputs: Mapping[str, str],
    options: Mapping[str, Any],
    step: int,
    how: str = "SIGKILL",
) -> None:
    """Run a stage in `root/cut` until a signal ends it: SIGKILL at the end of a training step, or
    SIGTERM while the step is computed.

    Args:
        stage: its module.
        inputs: the folder in `root` of each input.
    """
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(LIBRARIES)
    process = processes.Process(target=_train, args=(root, stage, inputs, options, step, how))
    process.start()
    process.join(SECONDS)
    exit_code = process.exitcode
    process.kill()
    assert exit_code == (-signal.SIGKILL if how == "SIGKILL" else STOPPED), exit_code


def count_steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The steps that trainings will take from here on: one that starts again ends with the same
    weights as one that goes on.
    """
    from stages.training.progress import Watch

    steps: list[int] = []
    inner = Watch.on_step_end

    def count(self: Any, args: Any, state: Any, control: Any, **rest: Any) -> None:
        steps.append(state.global_step)
        inner(self, args, state, control, **rest)

    monkeypatch.setattr(Watch, "on_step_end", count)
    return steps


def _train(
    root: Path,
    stage: str,
    inputs: Mapping[str, str],
    options: Mapping[str, Any],
    step: int,
    how: str,
) -> None:
    import torch

    from stages.runtime.artifacts import Artifact
    from stages.runtime.calls import Engines
    from stages.runtime.context import Context
    from stages.runtime.store import CallStore
    from stages.training.progress import Watch

    at = step if how == "SIGKILL" else step - 1

    def die(self: Any, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == at:
            os.kill(os.getpid(), signal.Signals[how])

    torch.set_num_threads(1)
    setattr(Watch, "on_step_end" if how == "SIGKILL" else "on_step_begin", die)
    module = importlib.import_module(stage)
    artifacts = {name: Artifact(name, root / folder) for name, folder in inputs.items()}
    store = CallStore(root / "other.sqlite")
    context = Context("cut", root / "cut", 7, store, Engines("none", {}), asyncio.Runner())
    module.run(module.Config(**options), artifacts, context)
