"""The one rule for names, and that a pipeline's names keep it before anything is written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages import STAGES
from stages.guards.errors import UserError
from stages.guards.names import LONGEST, check_name, is_safe_name
from stages.runtime.pipeline.steps import read_steps

SAFE = ["a", "sl_cai", "answers-2", "Qwen3-0.6B", "1", "a" * LONGEST]
UNSAFE = [
    "",
    " ",
    ".",
    "..",
    "../../evil",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "a..b",
    "-rf",
    ".hidden",
    "a.",
    "a b",
    "a\n",
    "a\0",
    "~",
    "$HOME",
    "[/laws]",
    "\x1b[31m",
    "\u202ea",
    "\ud800",
    "é",
    "a" * (LONGEST + 1),
    "CON:",
    "a*",
    "%2e%2e",
    "{a}",
    None,
    1,
    True,
    ("a",),
]


@pytest.mark.parametrize("name", SAFE)
def test_safe_names(name):
    assert check_name(name, "a step", "pipeline") == name


@pytest.mark.parametrize("name", UNSAFE, ids=ascii)
def test_other_names_are_refused(name):
    with pytest.raises(UserError, match="cannot name a step"):
        check_name(name, "a step", "pipeline")


@given(st.text(st.sampled_from("aB1._-/~ \0"), max_size=9))
def test_a_safe_name_stays_in_its_folder(tmp_path_factory, name):
    if is_safe_name(name):
        folder = tmp_path_factory.getbasetemp()
        assert (folder / name).resolve().parent == folder.resolve()


MODEL = {"stage": "model", "path": "x"}


@pytest.mark.parametrize("name", [name for name in UNSAFE if name != "a."], ids=ascii)
def test_steps_loops_and_inputs_have_safe_names(name):
    loop = {"repeat": 2, "carry": {"policy": "base"}, "give": "tuned"}
    looped = {"stage": "sft", "inputs": {"model": "policy"}}
    pipelines = [
        {name: MODEL},
        {"base": MODEL, name: {**loop, "steps": {"tuned": looped}}},
        {"base": MODEL, "loop": {**loop, "steps": {"tuned": looped, name: looped}}},
        {"base": MODEL, "report": {"stage": "report", "inputs": {name: "base"}}},
        {
            "base": MODEL,
            "cards": {"stage": "publish", "repository": "a/b", "license": "mit"}
            | {"inputs": {name: "base"}},
        },
    ]
    for pipeline in pipelines:
        with pytest.raises(UserError):
            read_steps(pipeline, STAGES)
