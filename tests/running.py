"""Run steps against a scripted generator: the real runner, store and artifacts, no model."""

import asyncio
import hashlib
import importlib.util
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from stages import STAGES
from stages.guards.console import open_console
from stages.runtime.artifacts import Artifact
from stages.runtime.calls import Engines
from stages.runtime.generation import Completion, Sampling
from stages.runtime.pipeline.plan import PlannedStep
from stages.runtime.pipeline.runner import Runner
from stages.runtime.pipeline.steps import read_steps
from stages.runtime.rows import Message
from stages.runtime.store import CallStore
from tests.scripted import ScriptedGenerator

# Asked without importing it: vLLM takes seconds to import, in each of three processes.
needs_vllm = pytest.mark.skipif(
    importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"
)


@dataclass
class Seeded(ScriptedGenerator):
    """Answers depend on the messages and the seed, as a sampled text does, and on nothing else."""

    async def complete(
        self, messages: Sequence[Message], sampling: Sampling, seed: int
    ) -> Completion:
        made = await super().complete(messages, sampling, seed)
        mark = hashlib.sha256(f"{seed}{messages}".encode()).hexdigest()[:6]
        return Completion(
            f"{made.text} <{mark}>", made.finish_reason, made.prompt_tokens, made.completion_tokens
        )


@dataclass
class AloneContext:
    """What a stage that asks no model needs of its context; the rows that it stores are a list."""

    step: str = "a step"
    seed: int = 0

    def store_rows(self, rows: Iterable[Any], row_type: type) -> list[Any]:
        return list(rows)


def run_steps(
    steps: Mapping[str, Any],
    root: Path,
    generator: ScriptedGenerator | None = None,
    seed: int = 0,
    only_plan: bool = False,
    opener: Callable[..., Any] | None = None,
    concurrency: int = 1024,
    max_failed: float = 0.05,
    console: Console | None = None,
    place: str | None = None,
    **engine_options: Any,
) -> tuple[list[PlannedStep], dict[str, Artifact]]:
    """Plan and run; returns the plan (with its forecasts) and the artifacts by step name.

    Args:
        place: of the call store.
    """
    generator = generator or Seeded()

    async def open_scripted(name: str, model: Any, options: Any) -> ScriptedGenerator:
        return generator

    store = CallStore(place or root / "calls.sqlite")
    try:
        with asyncio.Runner() as loop:
            engines = Engines("scripted", {}, opener=opener or open_scripted, **engine_options)
            runner = Runner(
                root / "artifacts",
                seed,
                store,
                engines,
                console or open_console(file=io.StringIO()),
                loop,
                concurrency,
                max_failed=max_failed,
            )
            planned = runner.plan(read_steps(steps, STAGES))
            return planned, {} if only_plan else runner.run(planned)
    finally:
        store.close()


def fake_model(folder: Path, weights: bytes = b"weights") -> Path:
    """A folder that looks like a model to everything that does not load it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(as_safetensors(weights))
    return folder


def as_safetensors(content: bytes) -> bytes:
    """A sound file with one tensor of these bytes."""
    tensor = {"dtype": "U8", "shape": [len(content)], "data_offsets": [0, len(content)]}
    header = json.dumps({"w": tensor}).encode()
    return len(header).to_bytes(8, "little") + header + content


def write_constitution(path: Path, count: int = 16, **edits: str) -> Path:
    """A constitution of `count` principles p0, p1, ...; `edits` gives other texts by id."""
    lines = ["name: test-set", "principles:"]
    for i in range(count):
        lines += [
            f"  - id: p{i}",
            f"    text: {edits.get(f'p{i}', f'The response keeps rule number {i}.')!r}",
        ]
    path.write_text("\n".join(lines) + "\n")
    return path


def text_pipeline(
    folder: Path, prompts: int = 40, rounds: int = 2, **revise: Any
) -> dict[str, Any]:
    """The text half of Constitutional AI over `prompts` made-up requests; files lie in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prompts.csv").write_text(
        "prompt\n" + "".join(f"request number {i}\n" for i in range(prompts))
    )
    constitution = {"name": str(folder / "set.yaml")}
    if not (folder / "set.yaml").exists():
        write_constitution(folder / "set.yaml")
    return {
        "base": {"stage": "model", "path": str(fake_model(folder / "model"))},
        "requests": {"stage": "prompts", "source": str(folder / "prompts.csv")},
        "answers": {"stage": "respond", "inputs": {"prompts": "requests", "model": "base"}, "n": 2},
        "revisions": {
            "stage": "revise",
            "inputs": {"responses": "answers", "model": "base"},
            "constitution": dict(constitution),
            "rounds": rounds,
            **revise,
        },
        "judgements": {
            "stage": "judge",
            "inputs": {"responses": "answers", "model": "base"},
            "constitution": {**constitution},
        },
        "pairs": {
            "stage": "judged_pairs",
            "inputs": {"judgements": "judgements"},
            "constitution": dict(constitution),
        },
    }


@dataclass
class CutsOff(Seeded):
    """Answers as `Seeded` does, and cuts some answers off.

    Attributes:
        cuts: (messages, seed) -> how the answer ends: "stop", "length", or another reason.
    """

    cuts: Callable[[Sequence[Message], int], str] = lambda messages, seed: "stop"

    async def complete(
        self, messages: Sequence[Message], sampling: Sampling, seed: int
    ) -> Completion:
        answer = await super().complete(messages, sampling, seed)
        return replace(answer, finish_reason=self.cuts(messages, seed))
