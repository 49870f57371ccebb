"""Loops in a pipeline are written out, with the checkpoint handed from round to round."""

import pytest

from stages.guards.errors import UserError
from stages.runtime.pipeline.loops import unroll_loops
from tests.running import run_steps, text_pipeline

LOOP = {
    "repeat": 3,
    "carry": {"learner": "base"},
    "give": "tuned",
    "steps": {
        "drawn": {
            "stage": "respond",
            "inputs": {"prompts": "requests", "model": "learner"},
            "n": 2,
        },
        "tuned": {"stage": "sft", "inputs": {"model": "learner", "rows": "drawn"}},
    },
}


def test_each_round_starts_from_the_model_of_the_one_before():
    steps = unroll_loops(
        {
            "base": {"stage": "model"},
            "loop": LOOP,
            "after": {"stage": "respond", "inputs": {"model": "loop"}},
        }
    )
    assert list(steps) == [
        "base",
        "drawn_1",
        "tuned_1",
        "drawn_2",
        "tuned_2",
        "drawn_3",
        "tuned_3",
        "after",
    ]
    models = {name: step["inputs"]["model"] for name, step in steps.items() if "inputs" in step}
    assert models["drawn_1"] == models["tuned_1"] == "base"
    assert models["drawn_2"] == models["tuned_2"] == "tuned_1" and models["drawn_3"] == "tuned_2"
    assert (
        steps["tuned_2"]["inputs"]["rows"] == "drawn_2"
        and steps["drawn_3"]["inputs"]["prompts"] == "requests"
    )
    assert models["after"] == "tuned_3"
    assert LOOP["steps"]["drawn"]["inputs"]["model"] == "learner", (
        "what was given is left as it was"
    )


def test_one_round_more_computes_one_round_more(tmp_path):
    steps = text_pipeline(tmp_path, prompts=4)
    half = {"stage": "filter", "inputs": {"rows": "left"}, "share": [0.0, 0.7]}
    loop = {"repeat": 2, "carry": {"left": "requests"}, "give": "half", "steps": {"half": half}}
    wanted = {
        "requests": steps["requests"],
        "loop": loop,
        "last": {"stage": "filter", "inputs": {"rows": "loop"}},
    }
    _, done = run_steps(wanted, tmp_path)
    assert {"half_1", "half_2", "last"} < set(done)
    planned, _ = run_steps(wanted | {"loop": loop | {"repeat": 3}}, tmp_path, only_plan=True)
    assert [p.step.name for p in planned if p.artifact is None] == ["half_3", "last"]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"repeat": 0}, "loop 'loop': option 'repeat'.*greater than or equal to 1"),
        ({"repeat": True}, "loop 'loop': option 'repeat'.*valid integer"),
        ({"give": "tunde"}, r"no step of the loop: 'tunde'\. Did you mean 'tuned'"),
        ({"carry": {}}, "option 'carry'.*at least 1 item"),
        ({"carry": {"drawn": "base"}}, "both carried and a step"),
        ({"stage": "sft"}, "unknown option 'stage'"),
        ({"steps": {"tuned": LOOP}}, "a loop in a loop"),
        ({"steps": {"tuned": None}}, "no step of the loop"),
    ],
)
def test_invalid_loops_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        unroll_loops({"base": {"stage": "model"}, "loop": LOOP | change})


def test_a_missing_key_and_a_repeated_name_are_refused():
    with pytest.raises(UserError, match="the option 'give' is missing"):
        unroll_loops({"loop": {key: value for key, value in LOOP.items() if key != "give"}})
    with pytest.raises(UserError, match="two steps are called 'tuned_1'"):
        unroll_loops({"tuned_1": {"stage": "model"}, "loop": LOOP})


def test_a_step_can_read_every_round():
    profile = {
        "stage": "value_profile",
        "inputs": {"base": "x", "step_*": "drawn_*", "end": "loop"},
    }
    steps = unroll_loops({"loop": LOOP, "profile": profile})
    assert steps["profile"]["inputs"] == {
        "base": "x",
        "step_1": "drawn_1",
        "step_2": "drawn_2",
        "step_3": "drawn_3",
        "end": "tuned_3",
    }
    with pytest.raises(UserError, match=r"no step of a loop 'drown_\*'\. Did you mean 'drawn_\*'"):
        unroll_loops({"loop": LOOP, "profile": {"stage": "x", "inputs": {"a_*": "drown_*"}}})
    with pytest.raises(UserError, match="no step of a loop 'drawn'"):
        unroll_loops({"loop": LOOP, "profile": {"stage": "x", "inputs": {"a_*": "drawn"}}})
    left_out = {"stage": "x", "inputs": {"a_*": None}}
    assert unroll_loops({"loop": LOOP, "profile": left_out})["profile"] == left_out
