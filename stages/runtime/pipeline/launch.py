"""A training step in several processes: each rank runs the same stage in the same folder, and rank
0 tells what came out.

In: a step, its inputs and the `launcher` of the config. Out: the step's Result, as if one process
had made it. The runner stays one process; only steps of stages with TRAINS are launched.
Data-parallel processes come from torchrun, on a GPU (nccl) or a CPU (gloo); what `accelerate` names
(FSDP, DeepSpeed) from `accelerate launch` with that configuration.

How many there are is no part of a step's identity: each takes its share of
`args.per_device_train_batch_size`. What is drawn at random in training (sampled rollouts, dropout)
does differ with their number. The ranks read the run's call store, and what they add comes back to
it at the end. They die with the run that started them.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field

from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.errors import UserError
from stages.runtime.progress import progress_bar
from stages.runtime.rows import Dropped

ROOT = Path(__file__).resolve().parents[3]
PR_SET_PDEATHSIG = 1  # of prctl(2)
PROGRESS = "CREDO_PROGRESS"  # the file in which rank 0 says how far it is


@dataclass(frozen=True)
class Launcher:
    """Args:
    processes: on this machine.
    accelerate: fields of a configuration of `accelerate launch`; empty: torchrun, data-parallel.
    """

    processes: Annotated[int, Field(ge=1)] = 1
    accelerate: dict[str, Any] | None = None

    @property
    def launches(self) -> bool:
        """Whether training leaves this process. For `accelerate` one is enough: DeepSpeed can move
        its states off the GPU.
        """
        return self.processes > 1 or bool(self.accelerate)


def launch(
    stage: str, config: Any, inputs: Mapping[str, Artifact], context: Context, launcher: Launcher
) -> Result:
    """Run a stage in `launcher.processes` ranks and wait for them.

    Raises:
        UserError: what a rank told, or that the ranks died, with the place of their log.
    """
    context.release_engines()
    folder = context.directory / "launch"
    folder.mkdir(exist_ok=True)
    for left in ("error.json", "result.json", "progress.json"):
        (folder / left).unlink(missing_ok=True)
    job = {
        "stage": stage,
        "config": asdict(config),
        "inputs": {
            name: [artifact.step, str(artifact.directory.resolve())]
            for name, artifact in inputs.items()
        },
        "step": context.step,
        "directory": str(context.directory.resolve()),
        "seed": context.seed,
        "store": str(context.store.path.resolve()),
        "generator": {
            "name": context.engines.name,
            "options": dict(context.engines.options),
            "keep": context.engines.keep,
        },
        "concurrency": context.concurrency,
    }
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    code = _wait(_command(folder, launcher), folder, context)
    for calls in sorted(folder.glob("calls-*.sqlite")):
        context.store.absorb(calls)
    if (folder / "error.json").exists():
        told = json.loads((folder / "error.json").read_text(encoding="utf-8"))
        raise UserError(told["what"], where=told["where"], fix=told["fix"])
    if code or not (folder / "result.json").exists():
        raise UserError(
            f"the {launcher.processes} training processes ended with exit code {code}",
            where=f"step {context.step!r}",
            fix=f"see {folder / 'log.txt'}; the same command goes on from the last whole checkpoint",
        )
    found = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return Result(dropped=[Dropped(**row) for row in found["dropped"]], metrics=found["metrics"])


def _command(folder: Path, launcher: Launcher) -> list[str]:
    worker = ["-m", "stages.runtime.pipeline.worker", str(folder / "job.json")]
    count = str(launcher.processes)
    if not launcher.accelerate:
        return [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc_per_node",
            count,
            *worker,
        ]
    file = folder / "accelerate.yaml"
    file.write_text(
        yaml.safe_dump(launcher.accelerate | {"num_processes": launcher.processes}),
        encoding="utf-8",
    )
    return [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(file), *worker]


def _wait(command: list[str], folder: Path, context: Context) -> int:
    progress = folder / "progress.json"
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), PROGRESS: str(progress)}
    bar = progress_bar(context.console, "steps")
    with (folder / "log.txt").open("w", encoding="utf-8") as log, bar:
        child = subprocess.Popen(
            command, stdout=log, stderr=log, env=environment, preexec_fn=die_with_parent
        )
        task = bar.add_task(context.step, total=None, note="")
        try:
            while child.poll() is None:
                time.sleep(0.2)
                if progress.exists():
                    done, total = json.loads(progress.read_text(encoding="utf-8") or "[0, null]")
                    bar.update(task, completed=done, total=total)
        except BaseException:
            child.terminate()
            child.wait()
            raise
    return child.returncode


def die_with_parent() -> None:
    """Have the kernel kill this process with its parent, however that ends; to be called in the
    child.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
