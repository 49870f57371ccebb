"""Whole pipelines on the embedded model, as run.py composes them, in this process."""

import asyncio
import contextlib
import io
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from stages import STAGES
from stages.guards.console import open_console
from stages.pretrained import hardware  # noqa: F401  registers resolvers
from stages.runtime.artifacts import Artifact
from stages.runtime.calls import Engines
from stages.runtime.pipeline.plan import PlannedStep
from stages.runtime.pipeline.runner import Runner
from stages.runtime.pipeline.steps import join_sections, read_steps, up_to
from stages.runtime.store import CallStore

ROOT = Path(__file__).resolve().parents[1]
TINY = [
    "data.red_team.arguments.count=12",
    "data.helpful.arguments.count=4",
    "data.held_out.arguments.count=16",
    "data.held_out_helpful.arguments.count=4",
    "model.sft.num_train_epochs=1",
    "model.dpo.max_steps=2",
    "++pipeline.steps.judge_examination.requests=4",
    "scale.judge_limit=2",
    "scale.rounds=4",
    "scale.principles_per_pair=2",
    "model.reward_model.num_train_epochs=1",
    "model.groups.num_train_epochs=1",
    "scale.candidates=2",
    *(f"model.{stage}.max_steps=2" for stage in ("ppo", "grpo", "rloo")),
    *(f"model.{stage}.per_device_train_batch_size=16" for stage in ("ppo", "grpo", "rloo")),
]


def run_config(root: Path, *overrides: str) -> tuple[list[PlannedStep], dict[str, Artifact]]:
    """Compose the configuration as run.py does and run it in this process."""
    with _prepared(root, *overrides) as (runner, planned):
        return planned, runner.run(planned)


def plan_config(root: Path, *overrides: str) -> dict[str, PlannedStep]:
    """Compose the configuration as run.py does and plan it, without running it."""
    with _prepared(root, *overrides) as (_, planned):
        return {plan.step.name: plan for plan in planned}


@contextlib.contextmanager
def _prepared(root: Path, *overrides: str) -> Iterator[tuple[Runner, list[PlannedStep]]]:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = OmegaConf.to_container(compose("config", list(overrides)), resolve=True)
    generator = config["generator"]
    store = CallStore(root / "calls.sqlite")
    engines = Engines(generator["name"], generator["options"], generator["keep"])
    try:
        with asyncio.Runner() as loop:
            runner = Runner(
                root / "artifacts",
                config["seed"],
                store,
                engines,
                open_console(file=io.StringIO()),
                loop,
            )
            steps = read_steps(join_sections(config["pipeline"]), STAGES)
            until = config["until"]
            steps = up_to(steps, [until] if isinstance(until, str) else until)
            yield runner, runner.plan(steps)
    finally:
        store.close()


def calls_in(path: Path) -> int:
    """How many calls a store holds while a run writes to it; 0 before there is one."""
    if not path.exists():
        return 0
    with contextlib.closing(sqlite3.connect(path)) as store:
        try:
            return store.execute("SELECT COUNT(*) FROM calls").fetchone()[0]
        except sqlite3.OperationalError:  # not yet a store
            return 0
