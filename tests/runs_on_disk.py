"""Runs on the disk as run.py leaves them: real artifacts of scripted steps, and their records."""

import json
from pathlib import Path
from typing import Any

from stages.runtime.progress import STATUS
from tests.running import run_steps, text_pipeline

OLDER, NEWER = "2026-11-26_10-00-00-000000-aaa111", "2026-11-27_10-00-00-000000-bbb222"


def write_run(runs_dir: Path, name: str, seed: int = 0, **facts: Any) -> dict[str, Any]:
    """Run requests and answers, and record them; return the artifacts by step."""
    steps = {key: text_pipeline(runs_dir / "files", 5)[key] for key in ("base", "requests")}
    steps["answers"] = {"stage": "respond", "inputs": {"prompts": "requests", "model": "base"}}
    _, artifacts = run_steps(steps, runs_dir, seed=seed)
    record(runs_dir / "logs" / name, artifacts, seed=seed, **facts)
    return artifacts


def record(folder: Path, artifacts: dict[str, Any], **facts: Any) -> None:
    steps = {
        name: {"artifact": str(one.directory), "reused": False} for name, one in artifacts.items()
    }
    plain = {
        "seconds": 12.0,
        "seed": 0,
        "variant": "full",
        "level": "policy",
        "pipeline": "cai",
        "constitution": {"name": "world"},
        "config": {"seed": facts.get("seed", 0), "model": {"path": "a"}, "runs_dir": "x"},
        "steps": steps,
    }
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(plain | facts))


def write_status(folder: Path, **facts: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    plain = {"state": "running", "pid": 1, "started": "2026-11-27T12:00:00+0000"}
    (folder / STATUS).write_text(json.dumps(plain | facts))
