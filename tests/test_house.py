"""The house rules that a machine can check."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ["ablation", "evaluation", "training", "preferences", "text", "principles", "generators", "runtime"]  # top to bottom
MODULES = sorted((ROOT / "stages").glob("*/*.py"))


def imports(path: Path) -> set[str]:
    """Rooms under stages/ that a module imports from, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        found |= {name.split(".")[1] for name in names if name.startswith("stages.")}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down_only(path):
    room = path.parent.name
    if room == "world":
        assert imports(path) <= {"world"}
        return
    ground = {"generators", "runtime"}  # they know each other: a model is opened here, remembered there
    below = set(FLOORS[FLOORS.index(room) :]) | (ground if room in ground else set())
    assert imports(path) <= below, f"{room} reaches up"


def test_modules_stay_small():
    assert len(MODULES) > 20
    sizes = {path: len(path.read_text().splitlines()) for path in MODULES}
    assert {str(p): n for p, n in sizes.items() if n > 400} == {}
    assert not [p for p in MODULES if p.stem in {"utils", "util", "helpers", "common", "misc"}]


def test_planning_imports_no_heavy_library():
    """A second run takes seconds because nothing of torch is loaded to plan it."""
    code = (
        "import importlib, sys, stages;"
        "[importlib.import_module(m) for m in stages.STAGES.values()];"
        "print([m for m in ('torch', 'transformers', 'trl', 'vllm', 'datasets', 'scipy', 'matplotlib') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"
