"""The door to Credo: a Hydra config becomes a plan, the plan becomes artifacts.

python run.py                                        the demo: Constitutional AI on the embedded world
python run.py plan=true                              show what would run, what is reused and what it would send; stop there
python run.py constitution.name=path/to/mine.yaml    another goal, same method
python run.py pipeline=cai_open                      another method, same goal
python run.py 'constitution.drop=[no-insults]'       the same without one principle
python run.py model=qwen3_0_6b                       the same on a real model (needs a GPU and the Hub)
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from stages import STAGES
from stages.runtime.artifacts import Artifact, write_atomically
from stages.runtime.calls import Engines
from stages.runtime.display import show_plan, show_tables
from stages.runtime.errors import UserError
from stages.runtime.pipeline import Planned, Runner, read_steps
from stages.runtime.provenance import git_state, machine_facts, versions
from stages.runtime.store import CallStore


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> None:
    """Turn mistakes of the user into one message and exit code 2; bugs keep their traceback."""
    console = wide(Console(stderr=True))
    try:
        run(config, console)
    except UserError as error:
        console.print("[bold red]Credo stopped.[/]", highlight=False)
        console.print(str(error), markup=False, highlight=False)
        sys.exit(2)
    except KeyboardInterrupt:
        console.print("Interrupted. Run the same command again to go on; nothing done is lost.")
        sys.exit(130)


def run(config: DictConfig, console: Console) -> None:
    """Plan, show the plan and, unless `plan=true`, run it and show what came out."""
    started = time.monotonic()
    try:
        settings: dict[str, Any] = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    except OmegaConfBaseException as error:
        raise UserError(str(error).splitlines()[0], where="the config", mend="see `python run.py --cfg job`") from None
    steps = read_steps(settings["pipeline"]["steps"], STAGES)
    store = CallStore(Path(settings["store"]))
    generator = settings["generator"]
    engines = Engines(generator["name"], generator["options"], generator["keep"])
    with asyncio.Runner() as loop:
        try:
            runner = Runner(
                Path(settings["runs_dir"]) / "artifacts",
                settings["seed"],
                store,
                engines,
                console,
                loop,
                generator["concurrency"],
            )
            planned = runner.plan(steps)
            show_plan(planned, console)
            if settings["plan"]:
                return
            done = runner.run(planned)
        finally:
            loop.run(engines.release())
            store.close()
    _write_manifest(settings, planned, done, time.monotonic() - started)
    show_tables(done.values(), wide(Console()))


def wide(console: Console) -> Console:
    """Pipes and logs have no width of their own; give tables room there."""
    console.width = console.width if console.is_terminal else max(console.width, 120)
    return console


def _write_manifest(settings: dict[str, Any], planned: list[Planned], done: dict[str, Artifact], seconds: float) -> None:
    folder = Path(HydraConfig.get().runtime.output_dir)
    manifest = {
        "seconds": round(seconds, 2),
        "seed": settings["seed"],
        "config": settings,
        "steps": {
            p.step.name: {"artifact": str(done[p.step.name].directory), "reused": p.artifact is not None} for p in planned
        },
        "versions": versions(),
        "git": git_state(),
        "machine": machine_facts(),
    }
    write_atomically(folder / "run.json", json.dumps(manifest, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
