"""Every example in docs/data.md is written to a file and read as the page says."""

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from stages import STAGES
from stages.runtime.rows import Rating
from stages.runtime.stage import load_stage
from stages.runtime.typed_config import parse_config

PAGE = Path(__file__).resolve().parents[1] / "docs" / "data.md"
EXAMPLE = re.compile(
    r"^### (?P<title>.+?)$.*?^```yaml\n(?P<step>.+?)^```\n```\w+\n(?P<file>.+?)^```\n"
    r"```text\n(?P<reading>.+?)^```",
    re.MULTILINE | re.DOTALL,
)
EXAMPLES = {match["title"]: match for match in EXAMPLE.finditer(PAGE.read_text())}


def show(row) -> str:
    """A row in the notation of the page."""
    lines = [f"[{m['role']}] {m['content']}" for m in getattr(row, "prompt", [])]
    if hasattr(row, "messages"):
        lines = [f"[{m['role']}] {m['content']}" for m in row.messages]
    elif hasattr(row, "chosen"):
        lines += [f"[under] {name}" for name in row.principles]
        for side in ("chosen", "rejected"):
            safe = {None: "", True: ", safe", False: ", unsafe"}[getattr(row, f"{side}_safe")]
            lines.append(f"[{side}{safe}] {getattr(row, side)}")
    elif hasattr(row, "options"):
        lines = [f"[question] {row.text}"]
        for place, option in enumerate(row.options):
            lines.append(f"[{'right ' if place in row.gold else ''}option] {option}")
    else:
        score = f", score {row.score:g}" if isinstance(row, Rating) else ""
        lines.append(f"[answer{score}] {row.response}")
    return "\n".join(lines)


def read(step: dict, folder: Path):
    stage = load_stage(STAGES[step.pop("stage")])
    step["source"] = str(folder / step["source"])
    return stage.read(parse_config(stage.config, step, "a step"), None)


def test_the_page_has_all_sections():
    assert len(EXAMPLES) >= 26
    assert len(EXAMPLES) == PAGE.read_text().count("\n### ")


@pytest.mark.parametrize("title", EXAMPLES)
def test_an_example_is_read_as_the_page_says(title, tmp_path):
    example = EXAMPLES[title]
    step = yaml.safe_load(example["step"])
    (tmp_path / step["source"]).write_text(example["file"])
    rows, dropped, reading = read(step, tmp_path)
    counts = Counter(row.reason for row in dropped)
    drops = [f"dropped: {count} x {reason}" for reason, count in sorted(counts.items())]
    shown = [show(row) for row in rows]
    if drops:
        shown.append("\n".join(drops))
    assert "\n\n".join(shown) == example["reading"].strip()
    assert reading.form and reading.records and reading.example
