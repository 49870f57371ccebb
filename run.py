"""The door to Credo: a Hydra config becomes a plan, the plan becomes artifacts.

python run.py                                        the demo: Constitutional AI on the embedded world
python run.py plan=true                              show what would run, what is reused and what it would send; stop there
python run.py constitution.name=path/to/mine.yaml    another goal, same method
python run.py pipeline=cai_open                      another method, same goal
python run.py 'constitution.drop=[no-insults]'       the same without one principle
python run.py model=qwen3_0_6b                       the same on a real model (needs a GPU and the Hub)
"""

import asyncio
import inspect
import json
import os
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field
from rich.console import Console

from stages import STAGES
from stages.runtime.artifacts import Artifact, write_atomically
from stages.runtime.calls import Engines
from stages.runtime.display import show_plan, show_tables
from stages.runtime.errors import UserError, did_you_mean
from stages.runtime.pipeline import Planned, Runner, read_steps
from stages.runtime.provenance import git_state, machine_facts, versions
from stages.runtime.settings import parse_config
from stages.runtime.store import CallStore


@dataclass(frozen=True)
class Generator:
    """What the runner needs to know of `generator`; each generator checks its own options."""

    name: str
    options: dict[str, Any]
    keep: Any
    concurrency: Any


@dataclass(frozen=True)
class Settings:
    """The config's keys. What lies under `constitution`, `data` and `model` the pipeline refers to."""

    constitution: dict[str, Any]
    data: dict[str, Any]
    generator: Generator
    model: dict[str, Any]
    pipeline: dict[str, Any]
    plan: bool
    runs_dir: str
    seed: Annotated[int, Field(strict=True)]
    store: str


def cli() -> None:
    """Run, and tell in the same way what Hydra refuses before there is a config."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # without it Hydra prints its errors itself and exits with 1
    try:
        main()
    except Exception as error:
        ours = inspect.unwrap(main).__code__
        if any(frame.f_code is ours for frame, _ in traceback.walk_tb(error.__traceback__)):
            raise
        _stop(_told(error), wide(Console(stderr=True)))


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> None:
    """Turn mistakes of the user into one message and exit code 2; bugs keep their traceback."""
    console = wide(Console(stderr=True))
    try:
        run(config, console)
    except UserError as error:
        _stop(error, console)
    except KeyboardInterrupt:
        console.print("Interrupted. Run the same command again to go on; nothing done is lost.")
        sys.exit(130)


def run(config: DictConfig, console: Console) -> None:
    """Plan, show the plan and, unless `plan=true`, run it and show what came out."""
    started = time.monotonic()
    plain = _plain(config)
    settings: Settings = parse_config(Settings, plain, "the config")
    steps = read_steps(settings.pipeline.get("steps"), STAGES)
    store = CallStore(Path(settings.store))
    generator = settings.generator
    engines = Engines(generator.name, generator.options, generator.keep)
    with asyncio.Runner() as loop:
        try:
            runner = Runner(
                Path(settings.runs_dir) / "artifacts",
                settings.seed,
                store,
                engines,
                console,
                loop,
                generator.concurrency,
            )
            planned = runner.plan(steps)
            show_plan(planned, console)
            if settings.plan:
                return
            done = runner.run(planned)
        finally:
            loop.run(engines.release())
            store.close()
    _write_manifest(plain, planned, done, time.monotonic() - started)
    show_tables(done.values(), wide(Console()))


def _plain(config: DictConfig) -> dict[str, Any]:
    """The config as plain values.

    Raises:
        UserError: a value is missing or refers to none, or a file has no effect.
    """
    if missing := _missing(OmegaConf.to_container(config)):
        mend = f"set it on the command line: {' '.join(f'{key}=<value>' for key in missing)}"
        raise UserError(f"no value is given for {', '.join(missing)}", where="the config", mend=mend)
    try:
        plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    except OmegaConfBaseException as error:
        raise UserError(str(error).splitlines()[0], where="the config", mend="see `python run.py --cfg job`") from None
    for group in ("experiment", "local"):
        if group in plain:
            mend = "make `# @package _global_` its first line"
            raise UserError(
                f"what the file says would lie under {group!r}, where nothing reads it", where=f"conf/{group}", mend=mend
            )
    return plain


def _missing(value: Any, key: str = "") -> list[str]:
    if not isinstance(value, dict):
        return [key] if value == "???" else []
    return [name for inner in value for name in _missing(value[inner], f"{key}.{inner}" if key else str(inner))]


def _told(error: Exception) -> UserError:
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.partition("/")
        known = list(error.options or ())
        mend = f"choose one of: {', '.join(known)}" if known else "see the folder conf/"
        return UserError(f"there is no {error.missing_cfg_file!r}.{did_you_mean(name, known)}", where=group, mend=mend)
    if isinstance(error, yaml.YAMLError):
        return UserError(" ".join(str(error).split()), where="conf/", mend="mend the YAML file")
    if isinstance(error, OSError):
        return UserError(
            f"the run's folder cannot be made: {error}", where="runs_dir", mend="set it to a folder you may write to"
        )
    what = str(error).strip().partition("\n")[0].partition(" To override")[0]
    if isinstance(error, OverrideParseException):
        mend = "write key=value, and quotes around what holds brackets, commas or equals signs: 'key=\"a, b\"'"
        return UserError(what, where=error.override, mend=mend)
    mend = "key=value changes what is there (see `python run.py --cfg job`), +key=value gives a step an option, ~key removes"
    return UserError(what, where="the command line", mend=mend)


def _stop(error: UserError, console: Console) -> NoReturn:
    console.print("[bold red]Credo stopped.[/]", highlight=False)
    console.print(str(error), markup=False, highlight=False)
    sys.exit(2)


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
    cli()
