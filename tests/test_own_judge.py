"""A judge that is not the model the policies start from: what it changes in a plan, and whole runs
with a judge behind an API, as a user types them.
"""

import json
import math
import re
from pathlib import Path

import pytest

from stages import STAGES
from stages.guards import secrets
from stages.runtime.pipeline.steps import read_steps
from tests.ablation.sweeping import run_command
from tests.embedded import TINY, plan_config
from tests.generators.stub import in_thread, reply, top
from tests.running import fake_model
from tests.test_configs import composed_steps, names

ASKING = {"judge", "judge_quality", "rate", "evaluate", "benchmark", "rloo", "examine_judge"}
ASKING |= {"composition", "grpo", "propose", "search_responses", "optimise_prompt"}
"""Stages whose steps a pipeline gives its judge."""
NO_JUDGE = {"human_reward_model", "human_principles"}
OWN_JUDGE = {"self_rewarding"}
"""The policy of each round rates its own answers."""
PARTS = ["+pipeline/parts@pipeline=[xstest,harm]", "++pipeline.folder=files"]
KEY = "planted-key-of-a-judge"


UNASKED = {"in_context"}
"""Pipelines whose judge answers only for parts that join them."""
ALL = sorted({*names("pipeline")} - NO_JUDGE)


@pytest.mark.parametrize(
    ("pipeline", "parts"),
    [*((name, []) for name in ALL), *((name, PARTS) for name in ("cai", "salmon", "survey"))],
)
def test_no_step_asks_the_base_model_to_judge(pipeline, parts):
    """Nor do the steps of parts, which are the same in any pipeline that they join."""
    steps = read_steps(composed_steps(f"pipeline={pipeline}", *parts), STAGES)
    by_name = {step.name: step for step in steps}
    if "judge" not in by_name:
        assert not {"judge", "rate"} & {step.stage for step in steps}
        return
    base = by_name.get("base", by_name["judge"])
    assert by_name["judge"].config == base.config
    asked = {step.stage for step in steps if "judge" in step.inputs.values()}
    assert (asked or pipeline in UNASKED) and asked <= ASKING
    for step in steps:
        if step.stage in {"judge", "rate"} and pipeline in OWN_JUDGE:
            rated = by_name[step.inputs["responses"]]
            assert step.inputs["model"] == rated.inputs["model"]
        elif step.stage in {"judge", "rate"}:
            assert step.inputs["model"] == "judge"
        if step.stage in {"evaluate", "benchmark"}:
            assert step.inputs.get("judge", "judge") == "judge"


@pytest.mark.parametrize("pipeline", ["dpo", "d_rlaif", "stable_alignment"])
def test_another_judge_changes_the_judged_steps_alone(tmp_path, pipeline):
    """And the same judge under another name changes none."""
    overrides = [f"pipeline={pipeline}", "generator=transformers", *TINY]
    other = fake_model(tmp_path / "other")
    before = plan_config(tmp_path, *overrides)
    assert before["judge"].fingerprint == before["base"].fingerprint
    after = plan_config(tmp_path, *overrides, f"judge.path={other}")
    changed = {name for name in before if before[name].fingerprint != after[name].fingerprint}
    judged = {"judge"}
    for name, planned in after.items():
        if judged & set(planned.step.inputs.values()):
            judged.add(name)
    assert changed == judged
    assert {"base", "base_held_out", "red_team"}.isdisjoint(changed)


JUDGES = {
    "base": ["judge.path=owner/name"],
    "hub": ["judge.path=owner/name", "judge.options={template_arguments: {a: 1}}"],
    "server": ["judge.path=a-name", "judge.options.endpoints=[https://api.example/v1]"],
    "policy_guard": ["judge.path=a-name", "judge.options.endpoints=[https://api.example/v1]"],
    "yes_no_guard": ["judge.path=owner/name"],
    "generative_reward": ["judge.path=a-name", "judge.options.endpoints=[https://api.example/v1]"],
}


@pytest.mark.parametrize("judge", names("judge"))
def test_every_kind_of_judge_is_a_step(judge):
    more = JUDGES.get(judge, ["pipeline=almost"])
    steps = read_steps(composed_steps("pipeline=dpo", f"judge={judge}", *more), STAGES)
    found = [step for step in steps if step.name == "judge"]
    assert len(found) == (judge != "none")
    for step in found:
        step.contract.check(step.config)
        assert step.contract.identity(step.config)["content"]


def test_methods_without_a_judge_need_none(tmp_path):
    planned = plan_config(tmp_path, "pipeline=almost", "generator=transformers", "judge=none")
    assert "judge" not in planned["evaluation"].step.inputs


def likes_length(stub, path, body):
    """A plain OpenAI server that prefers the longer response, and likes one of an even length."""
    responses = re.findall(r"^Response(?: [AB])?: (.*)$", body["messages"][-1]["content"], re.M)
    if len(responses) == 2:
        options = ("A", "B") if len(responses[0]) > len(responses[1]) else ("B", "A")
    else:
        options = ("No", "Yes") if len(responses[0]) % 2 else ("Yes", "No")
    logprobs = dict(zip(options, (math.log(0.8), math.log(0.1)), strict=True))
    return 200, reply(options[0], logprobs=top(logprobs)), {}


@pytest.fixture
def asked(monkeypatch, tmp_path, capfd):
    """Run a pipeline whose judge is a stub; returns what it printed."""
    monkeypatch.setattr(secrets, "_used", {})
    monkeypatch.setenv("KEY_OF_A_JUDGE", KEY)

    def run(stub, *overrides):
        judge = ["judge=server", "judge.path=some-judge", f"judge.options.endpoints=[{stub.url}]"]
        judge += ["judge.options.api_key_env=KEY_OF_A_JUDGE", "generator=transformers"]
        code = run_command(monkeypatch, f"runs_dir={tmp_path}", *judge, *TINY, *overrides)
        printed = capfd.readouterr().err
        assert code == 0, printed
        return printed

    return run


def no_file_holds_the_key(folder):
    for path in Path(folder).rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes(), path


@pytest.mark.slow
def test_a_judge_behind_an_api(asked, tmp_path):
    """It alone is asked over HTTP; the policies are sampled in this process."""
    with in_thread(likes_length) as stub:
        asked(stub, "pipeline=dpo")
        count = len(stub.requests)
        assert all(body.get("logprobs") for _, body in stub.requests)
        assert {body["model"] for _, body in stub.requests} == {"some-judge"}
        assert all(f"authorization: bearer {KEY}" in head for head in stub.headers)
        again = asked(stub, "pipeline=dpo")
        assert len(stub.requests) == count and "15 steps reused, 0 to run" in again
    manifests = {path.parent.name.rpartition("-")[0]: path for path in manifests_of(tmp_path)}
    judged = json.loads(manifests["judgements"].read_text())
    evaluated = json.loads(manifests["evaluation"].read_text())
    calls = judged["calls"]["sent"] + evaluated["calls"]["sent"]
    assert 0 < calls <= count and judged["rows"] > 0
    assert judged["metrics"]["option_mass"]["mean"] == pytest.approx(0.9)
    no_file_holds_the_key(tmp_path)


def manifests_of(folder):
    return (Path(folder) / "artifacts").glob("*/manifest.json")
