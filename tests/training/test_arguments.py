import pytest

from stages.guards.errors import UserError
from stages.runtime.typed_config import identity_of
from stages.training.arguments import build_arguments, warmup_steps_of
from stages.training.config import (
    MACHINE_ARGS,
    OWNED_ARGS,
    identity_args,
)
from stages.training.offline import dpo, sft
from stages.training.options.fields import SOURCES, known_fields
from stages.training.reward_models import reward_model


def test_fields_read_from_source_are_those_of_the_classes():
    import dataclasses

    import peft
    import trl

    for name, cls in {
        n: getattr(trl, n) for n in ("SFTConfig", "DPOConfig", "RewardConfig", "KTOConfig")
    }.items():
        assert set(known_fields(name)) == {f.name for f in dataclasses.fields(cls) if f.init}, name
    assert set(known_fields("LoraConfig")) >= {
        f.name for f in dataclasses.fields(peft.LoraConfig) if f.init
    }


def test_every_name_in_the_tables_is_a_field_of_some_trainer():
    known = {name for config in SOURCES if config != "LoraConfig" for name in known_fields(config)}
    assert known >= MACHINE_ARGS
    assert known >= set(OWNED_ARGS)


def test_unknown_option_is_refused_when_the_plan_is_made_and_the_nearest_is_named():
    with pytest.raises(UserError, match="Did you mean 'learning_rate'"):
        sft.STAGE.check(sft.Config(args={"learning_rat": 1e-3}))
    with pytest.raises(UserError, match="Did you mean 'beta'"):
        dpo.STAGE.check(dpo.Config(args={"betta": 0.1}))
    with pytest.raises(UserError, match="Did you mean 'lora_alpha'"):
        reward_model.STAGE.check(reward_model.Config(lora={"lora_alfa": 8}))
    with pytest.raises(UserError, match="cannot be set here"):
        sft.STAGE.check(sft.Config(args={"output_dir": "x"}))


def test_identity_keeps_what_changes_the_result_and_nothing_else():
    meaning = {"learning_rate": 1e-4, "per_device_train_batch_size": 4}
    plain = sft.Config(args=meaning)
    machine = sft.Config(
        args=meaning | {"save_steps": 3, "bf16": False, "logging_steps": 5}, dtype="bfloat16"
    )

    def whole(config):
        return identity_of(config) | sft.STAGE.identity(config)

    assert whole(plain) == whole(machine)
    assert whole(plain) != whole(sft.Config(args=meaning | {"learning_rate": 2e-4}))
    assert whole(plain) != whole(sft.Config(args=meaning, lora={}))
    best = meaning | {"load_best_model_at_end": True, "save_steps": 3}
    assert sft.STAGE.identity(sft.Config(args=best))["args"] == best


def test_a_chat_template_is_known_by_its_content(tmp_path):
    one, two = tmp_path / "one.jinja", tmp_path / "two.jinja"
    one.write_text("{{ messages }}")
    two.write_text("{{ messages }}")
    before = identity_args({"chat_template_path": str(one)})
    assert before == identity_args({"chat_template_path": str(two)})
    one.write_text("{{ messages[0] }}")
    assert before != identity_args({"chat_template_path": str(one)})
    assert identity_args({"chat_template_path": "owner/name"}) == {
        "chat_template_path": "owner/name"
    }


@pytest.mark.parametrize("args", [{"learning_rate": "abc"}, {"max_steps": [3]}, {"packing": "yes"}])
def test_a_value_of_another_type_is_refused_when_the_plan_is_made(args):
    with pytest.raises(UserError, match=f"args: {next(iter(args))!r} must be "):
        sft.STAGE.check(sft.Config(args=args))
    args = {"learning_rate": 1, "max_steps": 3.0, "packing": None, "max_length": None}
    sft.STAGE.check(sft.Config(args=args))


@pytest.mark.parametrize(
    "asked, steps, expected",
    [(0.1, 1, 0), (0.1, 2, 1), (0.1, 7, 1), (0.03, 100, 3), (0.1, 37, 4), (0.9, 10, 5), (5, 3, 5)],
)
def test_a_warm_up_that_is_a_fraction_leaves_half_of_the_steps(asked, steps, expected):
    assert warmup_steps_of(asked, steps) == expected


def test_the_only_step_of_a_training_has_its_learning_rate(context):
    from torch.nn import Linear
    from torch.optim import SGD
    from transformers import get_scheduler

    args = {"warmup_steps": 0.1, "learning_rate": 1e-3}
    arguments = build_arguments("SFTConfig", args, context())
    warmup = arguments.get_warmup_steps(1)
    optimiser = SGD(Linear(1, 1).parameters(), lr=arguments.learning_rate)
    schedule = get_scheduler("linear", optimiser, warmup, 1)
    assert schedule.get_last_lr() == [1e-3]


def test_lora_leaves_the_other_weights_in_bfloat16():
    assert sft.Config(lora={}, args={"bf16": True}).policy_dtype == "bfloat16"
    assert sft.Config(lora={}).policy_dtype == sft.Config(args={"bf16": True}).policy_dtype
    assert sft.Config(lora={}, args={"bf16": True}, dtype="float32").policy_dtype == "float32"
