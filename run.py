"""The door to Credo: a Hydra config becomes a plan, the plan becomes artifacts.

python run.py                                        the demo: Constitutional AI on the embedded
world python run.py plan=true                              show what would run, what is reused and
what it would send; stop there python run.py constitution.name=path/to/mine.yaml    another goal,
same method python run.py pipeline=cai_open                      another method, same goal
python run.py 'constitution.drop=[no-insults]'       the same without one principle
python run.py model=qwen3_0_6b                       the same on a real model (needs a GPU and the
Hub) python run.py -m experiment=ablate                   one variant of the principles after the
other, compared
"""

import asyncio
import inspect
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig
from rich.console import Console

from stages.ablation.levels import prepare_job, register
from stages.runtime.artifacts import Artifact, write_atomically
from stages.runtime.calls import Engines
from stages.runtime.errors import UserError
from stages.runtime.pipeline.config import told
from stages.runtime.pipeline.display import show_job, show_plan, show_tables, stopped, wide
from stages.runtime.pipeline.runner import Planned, Runner
from stages.runtime.provenance import git_state, machine_facts, versions
from stages.runtime.store import CallStore


def cli() -> None:
    """Run, and tell in the same way what Hydra refuses before there is a config."""
    os.environ["HYDRA_FULL_ERROR"] = (
        "1"  # without it Hydra prints its errors itself and exits with 1
    )
    register()
    try:
        main()
    except KeyboardInterrupt:  # while a launcher of other people's waits for its jobs
        interrupted(Console(stderr=True))
    except Exception as error:
        ours = inspect.unwrap(main).__code__
        if any(frame.f_code is ours for frame, _ in traceback.walk_tb(error.__traceback__)):
            if isinstance(error, UserError):  # a sweep's job; it was told when it stopped
                sys.exit(2)
            raise
        stopped(told(error), wide(Console(stderr=True)))
        sys.exit(2)


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> None:
    """Turn mistakes of the user into one message and exit code 2; bugs keep their traceback."""
    console = wide(Console(stderr=True))
    try:
        run(config, console)
    except UserError as error:
        stopped(error, console)
        if HydraConfig.get().mode == RunMode.MULTIRUN:  # the other jobs go on
            raise
        sys.exit(2)
    except KeyboardInterrupt:
        interrupted(console)


def interrupted(console: Console) -> NoReturn:
    console.print("Interrupted. Run the same command again to go on; nothing done is lost.")
    sys.exit(130)


def run(config: DictConfig, console: Console) -> None:
    """Plan, show the plan and, unless `plan=true`, run it and show what came out."""
    started = time.monotonic()
    settings, plain, steps = prepare_job(config)
    ablation = HydraConfig.get().mode == RunMode.MULTIRUN and "ablation" in (
        HydraConfig.get().callbacks or {}
    )
    store = CallStore(Path(settings.store))
    generator = settings.generator
    engines = Engines(generator.name, generator.options, generator.keep)
    artifacts = Path(settings.runs_dir) / "artifacts"
    with asyncio.Runner() as loop:
        try:
            runner = Runner(
                artifacts,
                settings.seed,
                store,
                engines,
                console,
                loop,
                generator.concurrency,
                settings.launcher,
            )
            planned = runner.plan(steps)
            if ablation:
                show_job(settings.variant, settings.seed, planned, console)
            else:
                show_plan(planned, console)
            if settings.plan:
                return
            done = runner.run(planned)
        finally:
            loop.run(engines.release())
            store.close()
    _write_manifest(plain, planned, done, time.monotonic() - started)
    if not ablation:  # its own table comes after the last job
        show_tables(done.values(), wide(Console()))


def _write_manifest(
    settings: dict[str, Any], planned: list[Planned], done: dict[str, Artifact], seconds: float
) -> None:
    folder = Path(HydraConfig.get().runtime.output_dir)
    manifest = {
        "seconds": round(seconds, 2),
        "seed": settings["seed"],
        "variant": settings["variant"],
        "level": settings["ablate"]["level"],
        "constitution": settings["constitution"],
        "config": settings,
        "steps": {
            p.step.name: {
                "artifact": str(done[p.step.name].directory),
                "reused": p.artifact is not None,
            }
            for p in planned
        },
        "versions": versions(),
        "git": git_state(),
        "machine": machine_facts(),
    }
    write_atomically(folder / "run.json", json.dumps(manifest, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    cli()
