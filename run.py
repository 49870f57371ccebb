"""The entry point of Credo: a Hydra config becomes a plan, the plan becomes artifacts.

python run.py                                        the demo: Constitutional AI, embedded world
python run.py plan=true                              show what would run, be reused and be sent
python run.py constitution.name=path/to/mine.yaml    another goal, same method
python run.py pipeline=cai_open                      another method, same goal
python run.py 'constitution.drop=[no-insults]'       the same without one principle
python run.py model=qwen3_0_6b                       a real model (needs a GPU and the Hub)
python run.py -m experiment=ablate                   variants of the principles, compared
"""

import _signal  # `signal` imports modules of its own, in which Ctrl-C would end with a traceback

# Ctrl-C while modules are imported ends without a traceback; in the background it does nothing.
if __name__ == "__main__" and _signal.getsignal(_signal.SIGINT) != _signal.SIG_IGN:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

import asyncio
import inspect
import json
import os
import secrets
import signal
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from stages import STAGES
from stages.guards.console import guard_libraries, open_console
from stages.guards.disk import as_disk_error, write_atomically
from stages.guards.errors import Faults, UserError, refuse_unknown
from stages.guards.locks import hold_lock
from stages.guards.secrets import mask_values, remember_plain
from stages.pretrained.provenance import git_state, machine_facts, versions
from stages.principles.select import Selection
from stages.principles.variants import KINDS
from stages.runs.next_command import show_next
from stages.runs.prune import PRUNING
from stages.runs.records import register
from stages.runtime.artifacts import Artifact
from stages.runtime.cost.budget import Budget
from stages.runtime.pipeline.config_files import guard_config_files
from stages.runtime.pipeline.display import (
    log_cause,
    say,
    show_bug,
    show_error,
    show_job,
    show_machine,
    show_plan,
    show_tables,
    show_warnings,
)
from stages.runtime.pipeline.failures import raise_failures
from stages.runtime.pipeline.plan import PlannedStep, find_unreached
from stages.runtime.pipeline.readings import show_sources
from stages.runtime.pipeline.runner import Runner
from stages.runtime.pipeline.settings import Settings, as_user_error, check_settings, resolve
from stages.runtime.pipeline.steps import Step, join_sections, read_steps, up_to
from stages.runtime.progress import RUNNING, report, show_status
from stages.runtime.store import CallStore
from stages.runtime.typed_config import parse_config

IN_STATUS = ("seed", "variant", "constitution")
"""What of the config a run's status repeats."""


def cli() -> None:
    """Run; errors that Hydra raises before there is a config are reported in the same way."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra prints its errors itself and exits with 1
    os.environ["CREDO_RUN"] = secrets.token_hex(3)  # in the run's folder, so that it is its own
    guard_libraries()
    if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    OmegaConf.register_new_resolver("variants", variants, replace=True)
    guard_config_files()
    for argument in sys.argv:
        remember_plain(argument)  # until it is refused
    console = open_console(stderr=True)
    try:
        if get_args_parser().parse_args().experimental_rerun:
            raise UserError(
                "would load a pickle, which can hold any code",
                where="--experimental-rerun",
                fix="give the overrides again; they are in .hydra/overrides.yaml of the run",
            )
        main()
        sys.stdout.flush()
    except KeyboardInterrupt:  # while another package's launcher waits for its jobs
        exit_interrupted(console)
    except BrokenPipeError:  # `| head` has read enough
        open_console().on_broken_pipe()
    except Exception as error:
        main_code = inspect.unwrap(main).__code__
        if any(frame.f_code is main_code for frame, _ in traceback.walk_tb(error.__traceback__)):
            sys.exit(2 if isinstance(error, UserError) else 1)  # a job of a sweep has shown it
        show_error(as_user_error(error), console)
        sys.exit(2)


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> None:
    """Turn a UserError into one message and exit code 2; a bug into one that names a log, and 1."""
    console = open_console(stderr=True)
    try:
        run(config, console)
    except KeyboardInterrupt:
        exit_interrupted(console)
    except Exception as error:
        known = error if isinstance(error, UserError) else as_disk_error(error)
        log = Path(HydraConfig.get().runtime.output_dir) / "run.log"
        if known:
            show_error(known, console)
            log_cause(known, log, console)
        else:
            show_bug(error, log, console)
        if HydraConfig.get().mode == RunMode.MULTIRUN:  # the other jobs go on
            raise known or error from None
        sys.exit(2 if known else 1)


def run(config: DictConfig, console: Console) -> None:
    """Plan, show the plan and, unless `plan=true`, run it and show the results."""
    settings, plain, steps = prepare(config)
    if settings.plan:
        plan_and_run(settings, plain, steps, console)
        return
    hydra_config: Any = HydraConfig.get()
    folder = Path(hydra_config.runtime.output_dir)
    register(folder, Path(settings.runs_dir))
    with show_status(folder):
        report(pipeline=method_of(hydra_config), **{name: plain[name] for name in IN_STATUS})
        plan_and_run(settings, plain, steps, console)
    if hydra_config.mode == RunMode.RUN:  # a sweep ends after its last job
        show_next(folder, Path(settings.runs_dir), console)


def plan_and_run(
    settings: Settings, plain: Mapping[str, Any], steps: Sequence[Step], console: Console
) -> None:
    """Plan the steps and, unless `plan=true`, run them."""
    started = time.monotonic()
    hydra_config: Any = HydraConfig.get()
    callbacks = OmegaConf.select(hydra_config, "callbacks") or {}
    is_sweep_job = hydra_config.mode == RunMode.MULTIRUN and "ablation" in callbacks
    store = CallStore(settings.store)
    generator = settings.generator
    engines = settings.open_engines()
    root = Path(settings.runs_dir) / "artifacts"
    with asyncio.Runner() as loop:
        runner = Runner(
            root=root,
            seed=settings.seed,
            store=store,
            engines=engines,
            console=console,
            loop=loop,
            concurrency=generator.concurrency,
            launcher=settings.launcher,
            max_failed=settings.max_failed,
            names={
                "method": method_of(hydra_config),
                "constitution": settings.constitution,
            },
        )
        try:
            with hold_lock(root / PRUNING, shared=True):  # see stages/runs/prune.py
                planned = runner.plan(steps)
                report(state=RUNNING, artifacts=[plan.folder for plan in planned])
            if is_sweep_job:
                show_job(settings.variant, settings.seed, planned, console)
            else:
                show_plan(planned, console)
                if settings.machine:
                    show_machine(settings.machine, settings.model, console)
                show_sources(planned, console, only_plan=settings.plan)
            if settings.plan:
                unreached = loop.run(find_unreached(planned, engines, patient=False))
                say(((", ".join(steps), str(error)) for steps, error in unreached), console)
                return
            artifacts = runner.run(planned)
        finally:
            loop.run(engines.release())
            store.close()
    try:
        write_run_manifest(plain, planned, artifacts, engines.budget, time.monotonic() - started)
    finally:
        if not is_sweep_job:  # a sweep shows its own table after the last job
            show_tables(artifacts.values(), open_console())
            show_warnings(artifacts.values(), console)
        if spent := engines.budget.describe():
            console.print(f"The calls of this run: {spent}.")
    raise_failures(runner.failures)


def prepare(config: DictConfig) -> tuple[Settings, dict[str, Any], list[Step]]:
    """The checked settings, the same as plain values, and the steps to run."""
    plain = resolve(config)
    faults = Faults()
    with faults.gather():
        settings = check_settings(plain)
        refuse_unknown(settings.ablate.kinds, KINDS, "there is no kind", "ablate.kinds")
        if settings.is_ablation:
            from stages.ablation.levels import prepare_job

            return prepare_job(config)
    with faults.gather():
        parse_config(Selection, plain.get("constitution"), "constitution")
    with faults.gather():
        steps = read_steps(join_sections(plain.get("pipeline")), STAGES)
        if not faults.errors:
            steps = up_to(steps, settings.until)
    faults.raise_any()
    return settings, plain, steps


def variants(constitution: Any, kinds: Any) -> str:
    """`${variants:${constitution},${ablate.kinds}}` in a config: all variants of these kinds."""
    from stages.ablation.levels import variants_of

    return variants_of(constitution, kinds)


def write_run_manifest(
    plain: Mapping[str, Any],
    planned: Sequence[PlannedStep],
    artifacts: Mapping[str, Artifact],
    budget: Budget,
    seconds: float,
) -> None:
    """Write run.json into the run's folder: config, artifacts, what it cost, versions, machine."""
    steps = {}
    for plan in planned:
        if plan.step.name in artifacts:  # not those that failed
            artifact = artifacts[plan.step.name]
            reused = bool(plan.artifact or artifact.manifest.copy_of)
            steps[plan.step.name] = {"artifact": str(artifact.directory), "reused": reused}
    manifest = {
        "seconds": round(seconds, 2),
        "calls": asdict(budget.usage) | {"cost": budget.cost if budget.priced else None},
        "pipeline": method_of(HydraConfig.get()),
        "seed": plain["seed"],
        "variant": plain["variant"],
        "level": plain["ablate"]["level"],
        "constitution": plain["constitution"],
        "config": mask_values(plain),
        "steps": steps,
        "versions": versions(),
        "git": git_state(),
        "machine": mask_values(machine_facts()),
    }
    folder = Path(HydraConfig.get().runtime.output_dir)
    write_atomically(folder / "run.json", json.dumps(manifest, indent=2, ensure_ascii=False))


def method_of(hydra_config: Any) -> str | None:
    """The name of the pipeline's file."""
    name: str | None = OmegaConf.select(hydra_config, "runtime.choices.pipeline")
    return name


def exit_interrupted(console: Console) -> NoReturn:
    console.print("Interrupted. Run the same command again to go on; nothing done is lost.")
    sys.exit(130)


if __name__ == "__main__":
    cli()
