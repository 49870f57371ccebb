"""docs/architecture.md says what is true: its example stage runs, its map names every module."""

import re
import sys
from pathlib import Path

from stages import STAGES
from stages.runtime.rows import Response
from tests.running import run_steps, text_pipeline

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text()


def test_the_example_stage_runs(tmp_path, monkeypatch):
    code = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1]
    assert len([line for line in code.splitlines() if line.strip()]) <= 25
    (tmp_path / "short_responses.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(STAGES, "short_responses", "short_responses")
    steps = text_pipeline(tmp_path, prompts=4)
    steps["all"] = {"stage": "short_responses", "inputs": {"responses": "answers"}}
    steps["none"] = steps["all"] | {"words": 0}
    _, artifacts = run_steps(steps, tmp_path)
    assert artifacts["all"].rows(Response) == artifacts["answers"].rows(Response)
    assert artifacts["none"].rows(Response) == []
    assert artifacts["none"].manifest.dropped == {
        "too many words": len(artifacts["answers"].rows())
    }
    del sys.modules["short_responses"]


def test_the_map_names_every_module():
    rooms = PAGE.partition("## The rooms")[2]
    listed = set(re.findall(r"^\| `([a-z_/]+\.py)`", rooms, re.MULTILINE))
    modules = {str(path.relative_to(ROOT / "stages")) for path in ROOT.glob("stages/**/*.py")}
    modules = {name for name in modules if not name.endswith("__init__.py")}
    assert listed - modules == set(), "files that are no longer there"
    assert modules - listed == set(), "files that the map lacks"
