"""The files of small runs: requests, answers, preferences, principles, a model that nothing loads."""

import json
from pathlib import Path

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


def write_jsonl(path: Path, records: list[dict[str, str]]) -> None:
    """Write one JSON object a line."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def overrides_of_texts(files: Path, runs_dir: Path) -> list[str]:
    """The arguments of run.py for all stages of texts and preferences."""
    return [
        f"--config-dir={CONF}",
        "pipeline=fuzz_texts",
        f"pipeline.files={files}",
        f"runs_dir={runs_dir}",
    ]
