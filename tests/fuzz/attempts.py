"""What is done with a drawn input: given to Credo as a user's run would, and what comes out judged.

Models and training options have their attempts beside their drawings, secrets too.
"""

import asyncio
import copy
import json
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from stages import STAGES
from stages.generators.servers.server import open_generator
from stages.guards.errors import UserError
from stages.guards.templates import render_source
from stages.principles.constitution import load
from stages.runtime.generation import RowFailure, Sampling
from stages.runtime.models import Model
from stages.runtime.stage import load_stage
from stages.runtime.typed_config import parse_config
from stages.training.checkpoints import last_complete, mark_complete
from tests.fuzz import constitutions, data_files, overrides, servers
from tests.fuzz.artifacts import damage, damage_store
from tests.fuzz.killed import compare, contents
from tests.fuzz.kind import Kind, Wrong
from tests.fuzz.templates import draw_template
from tests.running import Seeded, run_steps, text_pipeline

QUESTION = [{"role": "user", "content": "why?"}]
SMALL = 2**30
"""Bytes by which a worker may grow where nothing large is asked for."""


def read_constitution(draws: Random, folder: Path) -> None:
    """Read a file as `constitution.name` does."""
    content = constitutions.draw_constitution(draws)
    fault = constitutions.find_fault(content, folder)
    if fault and not fault.startswith("a traceback"):
        raise Wrong(fault)
    load(folder / "mine.yaml")


def read_data(draws: Random, folder: Path) -> str:
    """Read a file as a plan does."""
    path = data_files.draw_file(draws, folder)
    stage = draws.choice(data_files.STAGES_THAT_READ)
    contract = load_stage(STAGES[stage])
    config = parse_config(contract.config, {"source": str(path)}, "a step")
    contract.identity(config)
    rows, dropped, reading = contract.read(config, None)
    for row in [*rows, *dropped]:
        try:
            f"{row.id}{row!r}".encode()
        except UnicodeEncodeError:
            raise Wrong("a row that no file can hold") from None
    if reading.records and not (rows or dropped):
        raise Wrong("records that were neither read nor dropped")
    return f"{len(rows)} rows"


def plan(draws: Random, folder: Path) -> None:
    """Plan with overrides."""
    draw = overrides.draw_overrides(draws)
    refusal = overrides.plan_quietly(draw.overrides, folder)
    if refusal is not None:
        raise UserError(refusal)
    if draw.is_surely_wrong:
        raise Wrong(f"accepted: {ascii(draw.overrides)[:2000]}")


def ask_server(draws: Random, folder: Path) -> str:
    """Ask a server that misbehaves, for a text or for the odds of two options."""
    ways = servers.CHOICES if draws.random() < 0.15 else None
    way = draws.choice(ways) if ways else servers.draw(draws)
    return asyncio.run(_ask(way, bool(ways)))


async def _ask(way: servers.Misbehaviour, is_choice: bool) -> str:
    options: dict[str, Any] = {
        "api_key_env": "FUZZ_API_KEY",
        "timeout": 1.5,
        "backoff": 0.01,
        "max_retries": 1,
        "extensions": False,
    }
    os.environ["FUZZ_API_KEY"] = servers.KEY
    async with servers.Server(way) as server:
        model = Model("/models/some", "0" * 16)
        generator = await open_generator(model, options | {"endpoints": [server.url]})
        try:
            if is_choice:
                taken = str(await generator.choose(QUESTION, ["A", "B"]))
            else:
                taken = (await generator.complete(QUESTION, Sampling(), 1)).text
        except RowFailure as failure:  # the row is dropped, with this reason
            raise UserError(f"{failure.reason}: {failure.detail}") from None
        finally:
            await generator.close()
    if taken not in way.texts and "*" not in way.texts:
        raise Wrong(f"{way.name}: taken for an answer: {taken[:300]!r}")
    return "answered"


def render(draws: Random, folder: Path) -> str:
    """Render a template."""
    source = draw_template(draws)
    return str(len(render_source(source, "mine.jinja", messages=QUESTION, text="words")))


@cache
def sound_run() -> tuple[Path, dict[str, Any]]:
    """A finished run of texts and preferences, and what it holds."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-sound-"))
    run_steps(text_pipeline(folder, prompts=4), folder)
    return folder, contents(folder)


def prepare_artifacts() -> None:
    """Make the run that is damaged."""
    sound_run()


def repair(draws: Random, folder: Path) -> str:
    """Damage what a run has left, or a checkpoint, and run again."""
    part = draws.choice(["artifact", "artifact", "artifact", "store", "checkpoint"])
    if part == "checkpoint":
        return _go_on(draws, folder)
    sound, expected = sound_run()
    shutil.copytree(sound, folder, dirs_exist_ok=True)
    artifacts = sorted((folder / "artifacts").glob("[a-z]*"))
    is_store = part == "store"
    way = damage_store(folder / "calls.sqlite", draws) if is_store else ""
    way = way or damage(draws.choice(artifacts), draws)
    run_steps(copy.deepcopy(text_pipeline(folder, prompts=4)), folder, Seeded())
    try:
        compare(expected, folder)
    except Wrong as error:
        raise Wrong(f"{error} (after {part}: {way})") from None
    return way


def _go_on(draws: Random, folder: Path) -> str:
    """Find the checkpoint from which a training may go on, the latest one being damaged."""
    checkpoints = folder / "checkpoints"
    for step in (2, 4):
        place = checkpoints / f"checkpoint-{step}"
        place.mkdir(parents=True)
        (place / "model.safetensors").write_bytes(bytes(range(256)) * 4)
        (place / "trainer_state.json").write_text(json.dumps({"global_step": step}))
        mark_complete(place, "this one")
    way = damage(checkpoints / "checkpoint-4", draws)
    last = last_complete(checkpoints, "this one", [].append)
    if last != checkpoints / "checkpoint-2":
        raise Wrong(f"a training goes on from {last}, after: {way}")
    return way


CONSTITUTIONS = Kind(5000, read_constitution, memory=SMALL)
DATA = Kind(1000, read_data)
OVERRIDES = Kind(2000, plan)
SERVERS = Kind(500, ask_server, memory=SMALL)
ARTIFACTS = Kind(1000, repair, prepare=prepare_artifacts)
TEMPLATES = Kind(1000, render, memory=SMALL)
