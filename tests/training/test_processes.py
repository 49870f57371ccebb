"""Two processes (gloo, CPU) train what one does: same metrics, and equal weights on every rank."""

import json

import pytest

from stages import STAGES
from stages.guards.errors import UserError
from stages.runtime.pipeline.launch import Launcher, launch
from stages.training.offline import dpo, sft
from stages.training.online import ppo
from stages.training.online.trl_stages import GRPO
from stages.training.reward_models import reward_model
from tests.embedded import calls_in
from tests.training.conftest import pair, response
from tests.training.online.test_online import LETTERS, prompts

TWO = Launcher(processes=2)
OFFLINE = {
    "per_device_train_batch_size": 4,
    "max_steps": 4,
    "learning_rate": 1e-3,
    "max_length": 96,
    "save_strategy": "no",
}
# Greedy rollouts: sampled ones would differ between one process and two, whose random numbers do.
ONLINE = {
    "per_device_train_batch_size": 8,
    "max_steps": 4,
    "learning_rate": 1e-3,
    "max_completion_length": 8,
    "save_strategy": "no",
    "generation_kwargs": {"do_sample": False},
    "lr_scheduler_type": "constant",
}


def cases():
    answers = [response(i, f"{'kind ' * (i % 4 + 1)}answer {i}") for i in range(16)]
    pairs = [pair(i, f"kind answer {i}", f"harm the dog {i}", 0.9) for i in range(24)]
    costs = {"late": {"term": "python", "function": "tests.training.rewarding:late_letters"}}
    yield "sft", sft, sft.Config(args=OFFLINE), {"answers": answers}
    yield "dpo", dpo, dpo.Config(args=OFFLINE, eval_fraction=0.3), {"pairs": pairs}
    yield (
        "reward_model",
        reward_model,
        reward_model.Config(args=OFFLINE, eval_fraction=0.3),
        {"pairs": pairs},
    )
    yield "ppo", ppo, ppo.Config(rewards=LETTERS, args=ONLINE), {"prompts": prompts()}
    yield (
        "ppo-costs",
        ppo,
        ppo.Config(rewards=LETTERS, costs=costs, args=ONLINE),
        {"prompts": prompts()},
    )


@pytest.mark.slow
@pytest.mark.parametrize("name, stage, config, rows", cases(), ids=[case[0] for case in cases()])
def test_two_processes_train_what_one_does(
    artifact, context, monkeypatch, tmp_path, name, stage, config, rows
):
    from safetensors.torch import load_file

    inputs = {"model": artifact("base")} | {
        key: artifact(key, value) for key, value in rows.items()
    }
    alone = context("alone")
    one = stage.run(config, inputs, alone).metrics
    monkeypatch.setenv("CREDO_TEST_STAGE", stage.__name__)
    monkeypatch.setenv("CREDO_TEST_WEIGHTS", str(tmp_path))
    both = context("both")
    two = launch("tests.training.weighed", config, inputs, both, TWO).metrics
    assert two["steps"] == one["steps"] and two["n"] == one["n"]
    for left, right in zip(one["history"], two["history"], strict=True):
        assert right["loss"] == pytest.approx(left["loss"], abs=2e-3), (left, right)
        for key in {
            "value_loss",
            "reward",
            "kl_per_completion",
            "lambda",
            "accuracy",
        } & left.keys():
            assert right[key] == pytest.approx(left[key], abs=5e-3), (key, left, right)
    if "held_out" in one:
        assert (
            two["held_out"]["n"] == one["held_out"]["n"]
        )  # counted over both, the last batch's fillers left out
        assert two["held_out"]["accuracy"] == pytest.approx(one["held_out"]["accuracy"], abs=0.2)
    left, right = (
        load_file(each.directory / "model" / "model.safetensors") for each in (alone, both)
    )
    assert max((left[key] - right[key]).abs().max().item() for key in left) < 2e-3
    ranks = [json.loads((tmp_path / f"weights-{rank}.json").read_text()) for rank in (0, 1)]
    assert ranks[0] == ranks[1] and len(set(ranks[0])) == (
        1 if not name.startswith("ppo") else 3 if "costs" in name else 2
    )


@pytest.mark.slow
def test_an_error_of_a_rank_reaches_the_user_as_one_message(artifact, context):
    inputs = {"model": artifact("base"), "prompts": artifact("prompts", prompts())}
    wrong = {"nan": {"term": "python", "function": "tests.training.rewarding:nan"}}
    with pytest.raises(UserError, match=r"(?s)the reward term 'nan' gave nan.*Fix:"):
        launch(
            STAGES["grpo"],
            GRPO.config(rewards=wrong, args=ONLINE | {"num_generations": 4}),
            inputs,
            context(),
            TWO,
        )
    with pytest.raises(UserError, match="cannot be divided evenly among 3 processes"):
        launch(
            STAGES["grpo"],
            GRPO.config(rewards=LETTERS, args=ONLINE),
            inputs,
            context("three"),
            Launcher(processes=3),
        )


@pytest.mark.slow
def test_calls_made_in_the_ranks_come_back_to_the_runs_store(artifact, context):
    pairs = [pair(i, f"kind answer {i}", f"harm the dog {i}", 0.9) for i in range(24)]
    inputs = {"model": artifact("base"), "pairs": artifact("pairs", pairs)}
    here = context("both")
    found = launch(dpo.__name__, dpo.Config(args=OFFLINE), inputs, here, TWO).metrics
    assert calls_in(here.store.path) == 48 and found["reference"] == {"stored": 0, "computed": 48}
    assert not list((here.directory / "launch").glob("calls-*"))
