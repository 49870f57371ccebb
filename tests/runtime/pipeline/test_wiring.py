"""A plan refuses an input of a kind that its stage does not read, and names the steps that fit."""

import random

import pytest

from stages import STAGES
from stages.guards.errors import UserError
from stages.runtime.models import Model
from stages.runtime.pipeline.steps import MOST_STEPS, read_steps
from stages.runtime.rows import ROW_TYPES, Pair, Rating, Response
from stages.runtime.stage import Stage, describe_kind, fits, load_stage
from tests.running import text_pipeline


@pytest.fixture
def steps(tmp_path):
    return text_pipeline(tmp_path, prompts=2)


def test_every_stage_declares_what_it_reads_and_gives():
    kinds = {Model, object, *ROW_TYPES.values()}
    for name, location in STAGES.items():
        stage = load_stage(location)
        gives = stage.gives
        if isinstance(gives, str):
            gives = stage.inputs[gives]
        for kind in (gives, *stage.inputs.values(), *stage.optional.values()):
            assert kind is None or fits(kind, object), name
            assert kind is None or any(fits(kind, one) for one in kinds), name
        assert not stage.least or "*" in stage.optional, name


@pytest.mark.parametrize("draw", range(40))
def test_a_random_wiring_is_refused_where_the_kinds_differ(steps, draw):
    rng = random.Random(draw)
    name = rng.choice([name for name in steps if "inputs" in steps[name]])
    place = rng.choice(list(steps[name]["inputs"]))
    before = list(steps)[: list(steps).index(name)]
    source = rng.choice(before)
    steps[name]["inputs"][place] = source
    gives = load_stage(STAGES[steps[source]["stage"]]).gives
    takes = load_stage(STAGES[steps[name]["stage"]]).kind_of(place)
    if fits(gives, takes):
        read_steps(steps, STAGES)
        return
    with pytest.raises(UserError) as caught:
        read_steps(steps, STAGES)
    assert f"step {name!r}: the input {place!r} is the step {source!r}" in str(caught.value)
    suggested = str(caught.value).partition("choose from: ")[2].split(", ")
    kinds = {other: load_stage(STAGES[steps[other]["stage"]]).gives for other in before}
    assert set(suggested) >= {other for other in before if fits(kinds[other], takes)}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"stage": "rate", "inputs": {"model": "base"}}, "one or more inputs .*Revision"),
        ({"stage": "ranked_pairs", "inputs": {"a": "answers"}}, "2 or more inputs"),
        ({"stage": "report"}, "one or more inputs"),
        ({"stage": "filter", "inputs": {"rows": "base"}}, "gives a model, not rows"),
        ({"stage": "filter", "inputs": {"rows": ["answers"]}}, "unknown step"),
        ({"stage": "filter", "inputs": {"rows": {"a": 1}}}, "unknown step"),
        ({"stage": "filter", "inputs": {"rows": "x"}}, "wait for each other: x -> x"),
        ({"stage": "filter", "inputs": "answers"}, "`inputs` is a mapping, not 'answers'"),
        ({"stage": "filter", "inputs": {"rows": "answers", "more": "answers"}}, "takes no input"),
        ({"stage": "filter"}, "needs the input 'rows'\n.*answers, revisions"),
        ({"stage": None}, "no stage is called None"),
        ({"stage": ["filter"]}, "no stage is called"),
        ({"stage": "export", "inputs": {"a": "answers"}}, "no input has rows that"),
        ({"stage": "publish", "repository": "a/b", "license": "mit"}, "nothing to publish"),
        ({"stage": "benchmark", "inputs": {"a": "answers"}}, "needs a model that rates"),
        ({"stage": "reward_accuracy", "inputs": {"pairs": "pairs"}}, "no reward model to test"),
        ({"stage": "reward_accuracy", "inputs": {"reward": "base"}}, "no pairs to ask about"),
        (3, "a step is a mapping"),
        ("filter", "a step is a mapping"),
        ([], "a step is a mapping"),
    ],
    ids=str,
)
def test_what_a_plan_refuses_of_a_step(steps, entry, message):
    steps["x"] = entry
    with pytest.raises(UserError, match=rf"(?s)(step 'x'|pipeline.steps): .*{message}"):
        read_steps(steps, STAGES)


def test_all_faults_of_a_pipeline_are_shown_at_once(steps):
    steps["answers"] |= {"n": 0, "sampling": {"top_p": 7}}
    steps["revisions"]["inputs"]["responses"] = "requests"
    steps["pairs"]["inputs"]["judgements"] = "nowhere"
    steps["x"] = {"stage": "fliter"}
    with pytest.raises(UserError) as caught:
        read_steps(steps, STAGES)
    for place in ("option 'n'", "'sampling.top_p'", "'requests', which gives", "nowhere", "fliter"):
        assert place in str(caught.value)


def test_a_filter_gives_what_it_reads(steps):
    steps["fewer"] = {"stage": "filter", "inputs": {"rows": "answers"}}
    steps["judgements"]["inputs"]["responses"] = "fewer"
    read_steps(steps, STAGES)
    steps["fewer"]["inputs"]["rows"] = "revisions"
    with pytest.raises(UserError, match="'fewer', which gives rows of Revision"):
        read_steps(steps, STAGES)


def test_a_long_pipeline_is_read_fast_or_refused(steps):
    base = dict(steps)
    for number in range(1000):
        steps[f"f{number}"] = {"stage": "filter", "inputs": {"rows": f"f{number - 1}"}}
    steps["f0"]["inputs"]["rows"] = "answers"
    assert len(read_steps(steps, STAGES)) == len(base) + 1000
    many = base | {f"s{number}": {} for number in range(MOST_STEPS)}
    with pytest.raises(UserError, match=f"up to {MOST_STEPS}"):
        read_steps(many, STAGES)


@pytest.mark.parametrize("repeat", [0, -1, 1001, 100_000, 10**30, True, "3", 1.0, None, [2]])
def test_rounds_of_a_loop(steps, repeat):
    inner = {"more": {"stage": "filter", "inputs": {"rows": "rows"}}}
    steps["loop"] = {"repeat": repeat, "carry": {"rows": "answers"}, "give": "more", "steps": inner}
    with pytest.raises(UserError, match=r"loop 'loop'.*'repeat'"):
        read_steps(steps, STAGES)


def test_inputs_under_names_that_end_in_a_way():
    stage = Stage(
        version=1,
        config=object,
        run=lambda config, inputs, context: None,
        inputs={"model": Model},
        optional={"*_model": Model, "*": Response | Pair},
    )
    assert stage.kind_of("a_model") is stage.kind_of("model") is Model
    assert stage.kind_of("a") == Response | Pair and stage.place_of("*") == "*"
    assert fits(Rating | Response, Response) and not fits(None, Response) and fits(None, object)
    assert describe_kind(Response | Model) == "rows of Response or a model"
