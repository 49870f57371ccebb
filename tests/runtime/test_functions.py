"""Functions that a config names: whatever they are or do, there is one message."""

import sys

import pytest

from stages.evaluation.ground_truth import load_truth
from stages.guards.errors import UserError
from stages.text import prompts
from tests.running import run_steps, text_pipeline

CODE = """
import itertools, types
ONE = {"messages": [{"role": "user", "content": "hello"}]}
class Prompts: pass
NUMBER = 3
def good(): return [ONE]
def one_at_a_time(): yield ONE
def endless(): return itertools.repeat(ONE)
def two_arguments(a, b): return [ONE]
def nothing(): return None
def empty(): return []
def texts(): return ["hello"]
def no_messages(): return [{"kind": "x"}]
def odd_turn(): return [{"messages": [{"role": "robot", "content": "x"}]}]
def odd_content(): return [{"messages": [{"role": "user", "content": None}]}]
def odd_kind(): return [ONE | {"kind": 3}]
def raises(): return [][1]
def leaves(): raise SystemExit(3)
def recurses(): return recurses()
def raises_late():
    yield ONE
    raise KeyError("late")
def truth(request, response):
    return types.SimpleNamespace(
        violations={}, well_formed=None, on_topic=None, evasive=None, helpful=None)
def no_truth(request, response): return 3
def raises_truth(request, response): return 1 / 0
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "users_own.py").write_text(CODE)
    (tmp_path / "broken_module.py").write_text("1 / 0")
    (tmp_path / "leaving_module.py").write_text("raise SystemExit(0)")
    (tmp_path / "no_python.py").write_text("def (")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(prompts, "MOST_PROMPTS", 1000)
    yield
    for name in ("users_own", "broken_module", "leaving_module", "no_python"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", ["good", "one_at_a_time"])
def test_functions_that_give_prompts(tmp_path, module, name):
    steps = {"requests": {"stage": "prompts", "source": f"users_own:{name}"}}
    assert len(run_steps(steps, tmp_path)[1]["requests"].rows()) == 1


@pytest.mark.parametrize(
    ("source", "message", "planned"),
    [
        ("users_own:endless", "more than 1000 prompts", False),
        ("users_own:two_arguments", "cannot be called", True),
        ("users_own:nothing", "raised TypeError", False),
        ("users_own:empty", "gave no prompt", False),
        ("users_own:texts", "no prompt", False),
        ("users_own:no_messages", "no prompt", False),
        ("users_own:odd_turn", "no prompt", False),
        ("users_own:odd_content", "no prompt", False),
        ("users_own:odd_kind", "no prompt", False),
        ("users_own:raises", r"users_own.py:\d+.*raised IndexError", False),
        ("users_own:leaves", "raised SystemExit", False),
        ("users_own:recurses", "raised RecursionError", False),
        ("users_own:raises_late", "raised KeyError", False),
        ("users_own:Prompts", "", False),
        ("users_own:NUMBER", "no such function", True),
        ("users_own:missing", "no such function", True),
        ("broken_module:f", "cannot be imported: ZeroDivisionError", True),
        ("leaving_module:f", "cannot be imported: SystemExit", True),
        ("no_python:f", "cannot be imported: SyntaxError", True),
        ("nowhere_at_all:f", "cannot be imported: ModuleNotFoundError", True),
    ],
)
def test_functions_that_give_none(tmp_path, module, source, message, planned):
    steps = {"requests": {"stage": "prompts", "source": source}}
    with pytest.raises(UserError, match=message):
        run_steps(steps, tmp_path, only_plan=planned)


def test_ground_truths(module):
    assert load_truth("users_own:truth", "x")("a", "b").violations == {}
    for name, message in (("no_truth", "lacks violations"), ("raises_truth", "ZeroDivisionError")):
        with pytest.raises(UserError, match=message):
            load_truth(f"users_own:{name}", "x")("a", "b")
    for name in ("good", "NUMBER", "missing", ""):
        with pytest.raises(UserError, match="function"):
            load_truth(f"users_own:{name}", "x")


@pytest.mark.parametrize(
    "text",
    [
        *("a", "3", "- a", "- - a", "- - {role: user}", "- - {role: robot, content: x}", "- [[]]"),
        *("- - {role: user, content: 3}", "!!bool abc", "!!int ''", "*x", "a: b: c", "\t", "["),
        *('- - {role: user, content: "\\ud800"}', "!!python/object:x.y z", "[" * 1200, "&a [*a]"),
    ],
    ids=lambda text: text[:30],
)
def test_demonstrations_are_looked_at_when_planning(tmp_path, text):
    (tmp_path / "d.yaml").write_text(text)
    steps = text_pipeline(tmp_path, prompts=2, demonstrations=str(tmp_path / "d.yaml"))
    with pytest.raises(UserError, match=r"d\.yaml"):
        run_steps(steps, tmp_path, only_plan=True)


def test_missing_files_are_missed_when_planning(tmp_path):
    for name in ("missing.yaml", "", "\0", "x" * 5000):
        steps = text_pipeline(tmp_path, prompts=2, demonstrations=name)
        with pytest.raises(UserError):
            run_steps(steps, tmp_path, only_plan=True)
