"""Write a small file and read it as a stage does."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from stages import STAGES
from stages.runtime.stage import load_stage
from stages.runtime.typed_config import parse_config


def lines(*records: Any) -> str:
    return "\n".join(json.dumps(record) for record in records)


def turns(*texts: str) -> list[dict[str, str]]:
    """Turns of user and assistant in alternation."""
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]


def read(folder: Path, stage: str, name: str, content: str | bytes, **options: Any):
    """Rows, dropped rows by reason, and the Reading."""
    path = folder / name
    data = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    path.write_bytes(data)
    contract = load_stage(STAGES[stage])
    config = parse_config(contract.config, {"source": str(path), **options}, "a step")
    rows, dropped, reading = contract.read(config, None)
    return rows, dict(Counter(row.reason for row in dropped)), reading


def requests(folder: Path, name: str, content: str | bytes, **options: Any) -> list[list[str]]:
    """The texts of each prompt's turns."""
    rows, _, _ = read(folder, "prompts", name, content, **options)
    return [[turn["content"] for turn in row.messages] for row in rows]


def pairs(folder: Path, name: str, content: str | bytes, **options: Any) -> list[tuple[str, ...]]:
    """The texts of each pair: the turns, the chosen and the rejected side."""
    rows, _, _ = read(folder, "human_pairs", name, content, **options)
    texts = []
    for row in rows:
        texts.append((*(turn["content"] for turn in row.prompt), row.chosen, row.rejected))
    return texts
