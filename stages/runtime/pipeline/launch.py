"""A training step in several processes: each rank runs the same stage in the same folder.

In: a step, its inputs and the config's `launcher`. Out: the step's Result, as if one process had
made it; rank 0 reports it. The runner stays one process: only steps of stages with `trains` are
launched. Data-parallel processes come from torchrun, on a GPU (nccl) or a CPU (gloo); what
`accelerate` names (FSDP, DeepSpeed) comes from `accelerate launch` with that configuration.

The number of processes is not a part of a step's identity: each takes its part of
`args.per_device_train_batch_size`. But random numbers in training (sampled rollouts, dropout) do
depend on it. The ranks read the run's call store; the calls that they add are copied into it at the
end. They are killed when the run that started them ends.
"""

import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from stages.guards.errors import UserError
from stages.guards.secrets import mask, separate_secrets
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.progress import progress_bar
from stages.runtime.rows import Dropped
from stages.runtime.tally import Tally
from stages.runtime.typed_config import Few, NotNegative

ROOT = Path(__file__).resolve().parents[3]
PR_SET_PDEATHSIG = 1  # of prctl(2)
RAISED = re.compile(
    r"^(?:\[rank\d+\]: *)?((?!torch\.distributed)[\w.]*(?:Error|Exception): .+)$", re.M
)
SECRETS = "CREDO_SECRETS"  # holds the texts of the job that no file may hold
STOPPED = 128 + signal.SIGTERM  # the exit code of a run that saved a checkpoint and stopped
PROGRESS = "CREDO_PROGRESS"  # names the file in which rank 0 reports its progress
TALLIES = "tally-*.json"  # how the calls of each rank were answered
MOST_LOGGED = 100_000  # characters of the ranks' log that are repeated in the run's


class ProcessFailed(Exception):
    """What a training process wrote when it failed: the cause of the run's own error."""


@dataclass(frozen=True)
class Launcher:
    """How training steps are started."""

    processes: Few = 1
    """Processes on this machine."""
    accelerate: dict[str, Any] | None = None
    """A configuration of `accelerate launch`; empty or null: torchrun, data-parallel."""
    checkpoint_minutes: NotNegative = 10.0
    """The most minutes of a training that a kill may cost; 0: no checkpoints."""

    @property
    def launches(self) -> bool:
        """Whether training runs outside of this process.

        With `accelerate` one process is enough: DeepSpeed can move its states off the GPU.
        """
        return self.processes > 1 or bool(self.accelerate)


def launch(
    stage: str, config: Any, inputs: Mapping[str, Artifact], context: Context, launcher: Launcher
) -> Result:
    """Run a stage in `launcher.processes` ranks and wait for them.

    Args:
        stage: its location, as in `stages/__init__.py`.

    Raises:
        UserError: a rank reported one, or the ranks died; the message then names their log.
    """
    context.release_engines()
    folder = context.directory / "launch"
    folder.mkdir(exist_ok=True)
    old_tallies = [tally.name for tally in folder.glob(TALLIES)]
    for stale in ("error.json", "result.json", "progress.json", *old_tallies):
        (folder / stale).unlink(missing_ok=True)
    job = _job(stage, config, inputs, context)
    job["generator"] = context.engines.describe(launcher.processes)
    job, secrets = separate_secrets(job)
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    try:
        exit_code = _wait(_command(folder, launcher), folder, context, secrets)
    finally:
        _mask_file(folder / "log.txt")
    for calls in sorted(folder.glob("calls-*.sqlite")):
        context.store.absorb(calls)
    for tally in sorted(folder.glob(TALLIES)):
        counted = Tally(**json.loads(tally.read_text(encoding="utf-8")))
        context.tally.add(counted)
        context.engines.budget.spend(counted.usage, counted.money)
    if (folder / "error.json").exists():
        error = json.loads((folder / "error.json").read_text(encoding="utf-8"))
        cause = ProcessFailed(error["cause"]) if error["cause"] else None
        raise UserError(error["what"], where=error["where"], fix=error["fix"]) from cause
    if exit_code or not (folder / "result.json").exists():
        log = folder / "log.txt"
        raise UserError(
            f"the {launcher.processes} training processes ended with exit code {exit_code}"
            f"{first_error(log)}",
            where=f"step {context.step!r}",
            fix=f"see {log}; the same command goes on from the last complete checkpoint",
        ) from ProcessFailed(log.read_text(encoding="utf-8", errors="replace")[-MOST_LOGGED:])
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    dropped = [Dropped(**row) for row in result["dropped"]]
    return Result(dropped=dropped, metrics=result["metrics"], warnings=result["warnings"])


def _job(
    stage: str, config: Any, inputs: Mapping[str, Artifact], context: Context
) -> dict[str, Any]:
    """What a rank needs to build the same config, inputs and context."""
    return {
        "stage": stage,
        "config": asdict(config),
        "inputs": {
            name: [artifact.step, str(artifact.directory.resolve())]
            for name, artifact in inputs.items()
        },
        "step": context.step,
        "directory": str(context.directory.resolve()),
        "seed": context.seed,
        "store": context.store.place,
        "concurrency": context.concurrency,
        "max_failed": context.max_failed,
        "checkpoint_minutes": context.checkpoint_minutes,
    }


def _command(folder: Path, launcher: Launcher) -> list[str]:
    if launcher.accelerate:
        file = folder / "accelerate.yaml"
        settings = launcher.accelerate | {"num_processes": launcher.processes}
        file.write_text(yaml.safe_dump(settings), encoding="utf-8")
        starter = ["accelerate.commands.launch", "--config_file", str(file)]
    else:
        starter = ["torch.distributed.run", "--standalone"]
        starter += ["--nproc_per_node", str(launcher.processes)]
    worker = ["-m", "stages.runtime.pipeline.worker", str(folder / "job.json")]
    return [sys.executable, "-m", *starter, *worker]


def _wait(command: list[str], folder: Path, context: Context, secrets: list[str]) -> int:
    """Run a command to its end, with its output in a log and its progress on the console."""
    progress_file = folder / "progress.json"
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        PROGRESS: str(progress_file),
        SECRETS: json.dumps(secrets),
    }
    bar = progress_bar(context.console, "steps")
    is_stopping = False

    def pass_on(*_: Any) -> None:
        nonlocal is_stopping
        is_stopping = True
        child.terminate()

    with (folder / "log.txt").open("w", encoding="utf-8") as log, bar:
        child = subprocess.Popen(
            command, stdout=log, stderr=log, env=environment, preexec_fn=die_with_parent
        )
        task = bar.add_task(context.step, total=None, note="")
        before = signal.getsignal(signal.SIGTERM)
        is_main = threading.current_thread() is threading.main_thread()
        if is_main:  # no other thread gets signals
            signal.signal(signal.SIGTERM, pass_on)
        try:
            while child.poll() is None:
                time.sleep(0.2)
                if progress_file.exists():
                    text = progress_file.read_text(encoding="utf-8") or "[0, null]"
                    done, total = json.loads(text)
                    bar.update(task, completed=done, total=total)
        except BaseException:
            child.terminate()
            child.wait()
            raise
        finally:
            if is_main:
                signal.signal(signal.SIGTERM, before)
    if is_stopping and child.returncode:  # the ranks have saved, if there was time
        context.console.print(f"{context.step}: stopped by SIGTERM; see {folder / 'log.txt'}")
        sys.exit(STOPPED)
    return child.returncode


def _mask_file(log: Path) -> None:
    """Mask what libraries have printed of a key, once the file is whole."""
    with suppress(OSError):
        text = log.read_text(encoding="utf-8", errors="replace")
        if (masked := mask(text)) != text:
            log.write_text(masked, encoding="utf-8")


def first_error(log: Path) -> str:
    """Return `: ` and the last line of the first traceback in a log, which is the cause; or ""."""
    match = RAISED.search(log.read_text(encoding="utf-8", errors="replace"))
    return f": {match[1]}" if match else ""


def die_with_parent() -> None:
    """Have the kernel kill this process with its parent, however the parent ends; to be called in
    the child.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
