"""The plan refuses options with which no training can work; the kinds are in tests/fuzz."""

import importlib.util
from pathlib import Path
from random import Random

import pytest

from stages import STAGES
from stages.guards.errors import SeveralErrors, UserError
from stages.runtime.models import Model
from stages.runtime.pipeline.steps import read_steps
from stages.runtime.stage import load_stage
from stages.runtime.typed_config import parse_config
from stages.training.options.fields import SOURCES, known_fields
from stages.training.options.values import BOUNDS, CHOICES, LOSSES
from tests.fuzz.training_options import LORA, OWN, TRAININGS, WRONG, draw_args


def check(stage, options):
    contract = load_stage(STAGES[stage])
    config = parse_config(contract.config, options, f"step {stage!r}")
    contract.check_inputs(config, dict.fromkeys(["model", "prompts", "rm", "cost"], Model))
    contract.check(config)


@pytest.mark.parametrize("seed", range(8))
def test_drawn_options_are_judged_as_they_should_be(seed):
    rng = Random(seed)
    for _ in range(40):
        stage, options, works = draw_args(rng)
        if works:
            check(stage, options)
            continue
        with pytest.raises(UserError, match="Fix: "):
            check(stage, options)


def test_every_wrong_value_is_refused_by_itself():
    """Beside drawing them: each one, once."""
    accepted = []
    wrong = {**OWN, "dpo": WRONG | OWN["dpo"]}
    for stage, own in wrong.items():
        for name, values in own.items():
            for value in values:
                options = {**TRAININGS[stage], "args": {name: value}}
                try:
                    check(stage, options)
                    accepted.append((stage, name, value))
                except UserError:
                    pass
    for lora in LORA:
        with pytest.raises(UserError, match="lora"):
            check("sft", {"lora": lora})
    assert accepted == []


def test_all_faults_are_shown_at_once():
    args = {"learning_rate": -1, "lr_scheduler_type": "zigzag", "max_stepz": 3, "bf16": True}
    with pytest.raises(SeveralErrors, match="5 faults"):
        check("dpo", {"args": args | {"fp16": True}, "lora": {"r": 0}})


def test_choices_and_bounds_are_of_options_that_the_libraries_have():
    """A new version of TRL shows here what it renamed."""
    fields = set().union(*(known_fields(name) for name in SOURCES))
    assert {*BOUNDS, *CHOICES} <= fields
    trl = Path(importlib.util.find_spec("trl").origin).parent
    for name, file in {
        "SFTConfig": "trainer/sft_trainer.py",
        "DPOConfig": "trainer/dpo_trainer.py",
        "KTOConfig": "trainer/kto_trainer.py",
        "GRPOConfig": "trainer/grpo_trainer.py",
        "OnlineDPOConfig": "experimental/online_dpo/online_dpo_trainer.py",
    }.items():
        source = (trl / file).read_text()
        losses = set(LOSSES[name].split()) - {"chunked_nll"}
        assert [loss for loss in losses if f'"{loss}"' not in source] == [], name


@pytest.mark.parametrize("option", ["rewards", "costs"])
def test_a_term_that_names_a_missing_input_is_refused_by_the_plan(option):
    term = {"term": "reward_model", "model": "rm"}
    rewards = {"short": {"term": "length"}, option: term} if option == "rewards" else {}
    step = {
        "stage": "ppo",
        "inputs": {"model": "base", "prompts": "asked"},
        "rewards": rewards or {"short": {"term": "length"}},
        "costs": {"c": term} if option == "costs" else {},
    }
    base = {"stage": "model", "path": "x/y"}
    steps = {"base": base, "asked": {"stage": "prompts", "source": "x.jsonl"}, "policy": step}
    with pytest.raises(UserError, match=r"step 'policy': .*names an unknown input 'rm'"):
        read_steps(steps, STAGES)


@pytest.mark.parametrize(
    "stage, args",
    [
        ("grpo", {"scale_rewards": False}),
        ("grpo", {"scale_rewards": True}),
        ("sft", {"fsdp": True}),
        ("sft", {"fsdp": ["full_shard", "auto_wrap"]}),
        ("kto", {"loss_type": "apo_zero_unpaired", "per_device_train_batch_size": 1}),
        (
            "dpo",
            {"load_best_model_at_end": True, "save_strategy": "best", "eval_strategy": "steps"},
        ),
    ],
)
def test_what_trl_documents_is_not_refused(stage, args):
    check(stage, {**TRAININGS[stage], "args": TRAININGS[stage].get("args", {}) | args})
