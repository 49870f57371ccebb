"""Settings of models from the Hub follow from the machine, and a batch is as large on every one."""

import math
from pathlib import Path

import pytest

from stages import STAGES
from stages.guards.errors import UserError
from stages.pretrained import hardware
from stages.runtime.pipeline.settings import check_settings
from stages.runtime.pipeline.steps import join_sections, read_steps
from tests.test_configs import composed

HUB = ("model=hub", "model.path=owner/name")
TRAINERS = ("sft", "dpo", "reward_model", "groups", "ppo", "grpo", "rloo")


@pytest.mark.parametrize(
    "files, chosen, expected",
    [
        ([], None, 0),
        (["nvidiactl", "nvidia-uvm"], None, 0),
        (["nvidia0"], None, 1),
        (["nvidia0", "nvidia1", "nvidia10"], None, 3),
        (["nvidia0", "nvidia1"], "1", 1),
        (["nvidia0", "nvidia1"], "", 0),
        (["nvidia0"], "-1", 0),
        ([], "0,1", 0),
    ],
)
def test_gpus_are_counted_from_files(files, chosen, expected, tmp_path, monkeypatch):
    for name in files:
        (tmp_path / name).touch()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if chosen is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert hardware.count_gpus(Path(tmp_path)) == expected


def batches(*overrides: str) -> dict[str, tuple[int, int]]:
    model = composed(*HUB, *overrides)["model"]
    names = ("per_device_train_batch_size", "gradient_accumulation_steps")
    return {trainer: tuple(model[trainer][name] for name in names) for trainer in TRAINERS}


def test_a_batch_is_as_large_on_every_machine():
    """Credo divides `per_device_train_batch_size` among processes, so it must be a multiple."""
    one = batches("machine=one_gpu")
    assert one["sft"] == (8, 4) and one["dpo"] == (2, 8) and one["ppo"] == (8, 8)
    whole = {trainer: math.prod(batch) for trainer, batch in one.items()}
    for count in (2, 4, 8):
        several = batches("machine=several", f"launcher.processes={count}")
        assert {trainer: math.prod(batch) for trainer, batch in several.items()} == whole
        assert all(batch[0] % count == 0 for batch in several.values())
    cpu = batches("machine=cpu")
    assert {trainer: math.prod(batch) for trainer, batch in cpu.items()} == whole
    assert batches("model.sft.per_device_train_batch_size=4")["sft"] == (4, 8)


def test_several_gpus_bring_their_launcher_and_the_command_line_wins():
    assert composed(*HUB, "machine=several")["launcher"]["processes"] >= 2
    assert composed(*HUB, "machine=several", "launcher=one")["launcher"]["processes"] == 1
    assert composed(*HUB, "machine=cpu")["launcher"]["processes"] == 1
    assert composed()["launcher"]["processes"] == 1


def test_lora_comes_first_and_reaches_every_training():
    for pipeline in ("cai_ppo", "safe_rlhf", "optimisers", "raft"):
        config = composed(*HUB, f"pipeline={pipeline}")
        steps = read_steps(join_sections(config["pipeline"]), STAGES)
        trained = [step.config for step in steps if hasattr(step.config, "lora")]
        assert trained and all(step.lora["r"] == 16 for step in trained), pipeline
    full = composed(*HUB, "tuning=full")["model"]
    assert full["lora"] is None and full["dpo"]["learning_rate"] == 5e-7
    assert composed()["model"]["lora"] is None


def test_rollouts_come_from_vllm_only_beside_a_gpu(monkeypatch):
    monkeypatch.setattr(hardware, "count_gpus", lambda: 0)
    assert not hardware.can_roll_out_with_vllm()
    assert composed(*HUB, "machine=cpu")["model"]["grpo"]["use_vllm"] is False
    asked = composed(*HUB, "machine=cpu", "model.rloo.use_vllm=true", "pipeline=rlaif")
    with pytest.raises(UserError, match=r"(?s)'use_vllm' needs a GPU.*set use_vllm: false"):
        steps = read_steps(join_sections(asked["pipeline"]), STAGES)
        policy = next(step for step in steps if step.name == "policy")
        policy.contract.check(policy.config)


def test_the_settings_take_machine_and_tuning():
    settings = check_settings(composed(*HUB, "machine=cpu"))
    assert settings.machine["texts"]["dpo"] == 1 and settings.tuning["lora"]
