"""What a training's result warns of: steps in the warm-up, weights that did not change."""

import pytest

from stages.training.offline import dpo, kto, sft
from stages.training.reward_models import reward_model
from tests.training.conftest import pair, response

ARGS = {"max_length": 64, "per_device_train_batch_size": 2, "learning_rate": 5e-3}
NO_CHANGE = "the training changed no weight: the model is the one that it began with"


def train(stage, artifact, context, name, **options):
    answers = [response(i, f"kind answer {i}") for i in range(4)]
    pairs = [pair(i, f"kind answer {i}", f"harm {i}") for i in range(4)]
    if stage is sft:
        rows = {"rows": artifact(f"rows {name}", answers)}
    else:
        rows = {"pairs": artifact(f"rows {name}", pairs)}
        options = {"eval_fraction": 0.0} | options
    config = stage.STAGE.config(**options)
    return stage.STAGE.run(config, {"model": artifact(f"base {name}"), **rows}, context(name))


@pytest.mark.parametrize("lora", [None, {"r": 2}], ids=["all weights", "LoRA"])
def test_a_single_step_in_the_warm_up_changes_nothing(artifact, context, lora):
    """Its learning rate is 0: three models were equal, byte by byte, and nothing said so."""
    args = ARGS | {"max_steps": 1, "warmup_steps": 5}
    result = train(sft, artifact, context, "idle", args=args, lora=lora)
    steps, weights = result.warnings
    assert "single optimiser step lies in the warm-up of 5" in steps and weights == NO_CHANGE


@pytest.mark.parametrize("lora", [None, {"r": 2}], ids=["all weights", "LoRA"])
def test_a_healthy_training_has_no_warnings(artifact, context, lora):
    args = ARGS | {"max_steps": 12, "warmup_steps": 2}
    assert train(sft, artifact, context, "healthy", args=args, lora=lora).warnings == []


def test_a_learning_rate_of_zero(artifact, context):
    args = ARGS | {"max_steps": 12, "learning_rate": 0.0}
    expected = ["the learning rate is 0, so nothing was learnt", NO_CHANGE]
    assert train(dpo, artifact, context, "zero", args=args).warnings == expected
    rewards = train(reward_model, artifact, context, "reward", args=args)
    assert rewards.warnings == expected, "the layers below its new output"


@pytest.mark.parametrize("stage", [dpo, kto, reward_model])
def test_preferences_that_were_not_learnt(artifact, context, stage):
    """Weights changed, by steps too small for the labels to be seen in the loss."""
    args = ARGS | {"max_steps": 12, "learning_rate": 1e-6}
    if stage is reward_model:
        args["learning_rate"] = 1e-5  # the new output is drawn, and the pairs are alike to it
    name = stage.STAGE.config.stage
    (warning,) = train(stage, artifact, context, f"idle {name}", args=args).warnings
    assert "it learnt next to nothing of the preferences" in warning


def test_a_constant_schedule_has_no_warm_up(artifact, context):
    args = ARGS | {"max_steps": 12, "warmup_steps": 50, "lr_scheduler_type": "constant"}
    assert train(sft, artifact, context, "constant", args=args).warnings == []
