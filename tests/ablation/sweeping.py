"""`python run.py -m experiment=ablate` in this process, with a scripted judge; Hydra, run.py and
the runner are real.
"""

import hashlib
import json
import re
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from stages.runtime.calls import Engines
from stages.runtime.rows import Message
from tests.running import Seeded, fake_model

ROOT = Path(__file__).resolve().parents[2]


def opinion(messages: Sequence[Message], options: Sequence[str]) -> list[float]:
    """A judge who likes each response as much as a hash of it and the principle says, in whichever
    place it stands.
    """
    parts = re.match(
        r"(?s).*Response A: (.*)Response B: (.*)Principle: (.*)Answer", messages[-1]["content"]
    )
    if parts is None:  # a question for Yes or No, or a number
        return [-1.0 - _liking(messages[-1]["content"], option) for option in options]
    a, b = (_liking(response.strip(), parts[3].strip()) for response in parts.groups()[:2])
    return [a - 9.0, b - 9.0]


def _liking(response: str, principle: str) -> float:
    return int(hashlib.sha256(f"{principle}|{response}".encode()).hexdigest()[:4], 16) / 8192


def write_set(path: Path, count: int = 12, **more: str) -> Path:
    """`count` principles p0, p1, ...: the first half tagged one, the others two; each with an
    opposite.
    """
    lines = ["name: test-set", "principles:"]
    for i in range(count):
        lines += [
            f"  - id: p{i}",
            f"    text: Keep rule number {i}.",
            f"    opposite: Break rule number {i}.",
        ]
        lines += [
            f"    tags: [{'one' if i < count / 2 else 'two'}]",
            *more.get(f"p{i}", "").splitlines(),
        ]
    path.write_text("\n".join(lines) + "\n")
    return path


def arguments(folder: Path, prompts: int = 20) -> list[str]:
    """A small configuration whose labels need no training: a base model judges its own samples."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prompts.csv").write_text(
        "prompt\n" + "".join(f"request number {i}\n" for i in range(prompts))
    )
    files = [
        f"data.{which}.source={folder / 'prompts.csv'}"
        for which in ("red_team", "helpful", "held_out")
    ]
    if not (folder / "set.yaml").exists():
        write_set(folder / "set.yaml")
    own = [
        f"runs_dir={folder / 'runs'}",
        f"model.path={fake_model(folder / 'model')}",
        f"constitution.name={folder / 'set.yaml'}",
    ]
    return [
        *own,
        "data=files",
        *files,
        "pipeline=rlaif",
        "scale.principles_per_pair=null",
        "generator=transformers",
    ]


def credo(
    monkeypatch: pytest.MonkeyPatch, *overrides: str, generator: Seeded | None = None
) -> tuple[int, Seeded]:
    """Run it; returns the exit code and the generator, which knows what it was asked."""
    generator = generator or Seeded(scores=opinion)

    async def get(self: Any, model: Any) -> Seeded:
        return generator

    monkeypatch.setattr(Engines, "get", get)
    return run_command(monkeypatch, *overrides), generator


def run_command(monkeypatch: pytest.MonkeyPatch, *overrides: str) -> int:
    """Run it in this process, which has imported the libraries already; returns the exit code."""
    monkeypatch.setattr(
        sys,
        "argv",
        ["run.py", *(g for g in overrides if g == "-m"), *(g for g in overrides if g != "-m")],
    )
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.delenv("COLUMNS", raising=False)  # which xdist sets for its workers
    monkeypatch.chdir(ROOT)
    try:
        runpy.run_path(str(ROOT / "run.py"), run_name="__main__")
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0


def last_sweep(folder: Path) -> Path:
    return max((folder / "runs" / "sweeps").iterdir(), key=lambda path: path.stat().st_mtime_ns)


def results(sweep: Path) -> dict[str, Any]:
    return json.loads((sweep / "ablation" / "results.json").read_text())
