"""Any override is accepted or refused in one message; what is surely wrong is refused.

Those that are drawn at random are in `test_lane.py`; more: `python -m tests.fuzz overrides`.
"""

import re

import pytest

from tests.fuzz.overrides import JUNK, plan_quietly


@pytest.mark.parametrize(
    "override",
    [
        pytest.param(text, marks=pytest.mark.slow if number % 8 == 0 else pytest.mark.long)
        for number, text in enumerate(JUNK)
    ],
    ids=lambda text: ascii(text)[:40],
)
def test_overrides_that_no_one_should_write(tmp_path, override):
    message = plan_quietly([override], tmp_path)
    assert len(message or "") < 10_000


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["until=[]"], "no step is named"),
        (["until=nowhere"], "no step 'nowhere'"),
        (["generator.name=foo"], "no generator is called 'foo'"),
        (["generator.keep=0", "generator.concurrency=true"], "2 faults"),
        (["ablate.kinds=[nope]"], "no kind 'nope'"),
        (["pipeline=null"], "the command line: Config group override"),
        (["scale=[]"], r"(?s)\d+ faults.*scale\.rounds"),
        (["data.red_team.source=stages.world:nothing"], "no such function"),
        (["data.red_team.arguments.coutn=3"], "coutn"),
        (["+data.red_team.arguments.coutn=3"], "unexpected keyword argument 'coutn'"),
        (["data.ground_truth=stages.world:flatters"], "missing a required"),
        (["constitution.drop=[x]", "pipeline.steps.pairs.keep=0"], "'keep'"),
        (["constitution.weights={no-insults: 1e30}"], "weight"),
        (["seed=" + "9" * 5000], "the command line"),
    ],
    ids=str,
)
def test_what_each_says(tmp_path, overrides, message):
    shown = plan_quietly(overrides, tmp_path)
    assert shown is not None
    assert re.search(message, shown), shown
