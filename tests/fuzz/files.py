"""The files of small runs: requests, answers, preferences, principles, models."""

import json
from pathlib import Path
from typing import Any

from tests.running import fake_model, write_constitution

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "tests" / "fuzz" / "conf"


def write_files(folder: Path, requests: int = 24) -> Path:
    """Write what conf/pipeline/fuzz_texts.yaml reads."""
    folder.mkdir(parents=True, exist_ok=True)
    fake_model(folder / "model")
    write_constitution(folder / "set.yaml", 6)
    numbers = range(requests)
    lines = ["prompt", *(f"request number {number}" for number in numbers)]
    (folder / "requests.csv").write_text("\n".join(lines) + "\n")
    answers = [{"prompt": f"request {n}", "response": f"answer {n}"} for n in numbers]
    write_jsonl(folder / "answers.jsonl", answers)
    pairs = [{"prompt": f"ask {n}", "chosen": f"good {n}", "rejected": f"bad {n}"} for n in numbers]
    write_jsonl(folder / "pairs.jsonl", pairs)
    return folder


def write_training_files(folder: Path) -> Path:
    """Write what conf/pipeline/fuzz_trainings.yaml reads, a tiny model among it."""
    from tests.tiny_model import build_tiny_model

    write_files(folder, requests=16)
    build_tiny_model(folder / "tiny")
    rated = []
    for number in range(12):
        for score in range(3):
            response = f"{'kind ' * (score + number % 3)}answer {number}"
            rated.append({"prompt": f"ask {number}", "response": response, "score": score})
    write_jsonl(folder / "rated.jsonl", rated)
    return folder


def write_jsonl(path: Path, records: list[dict[str, Any]]) -> None:
    """Write one JSON object a line."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def overrides(pipeline: str, files: Path, runs_dir: Path) -> list[str]:
    """The arguments of run.py for `fuzz_texts` or `fuzz_trainings`."""
    return [
        f"--config-dir={CONF}",
        f"pipeline={pipeline}",
        f"pipeline.files={files}",
        f"runs_dir={runs_dir}",
    ]
