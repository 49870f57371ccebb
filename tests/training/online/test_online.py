"""The online trainers on a tiny random model: they learn, resume, and report what is wrong."""

from dataclasses import replace
from pathlib import Path

import pytest

from stages.guards.errors import UserError
from stages.runtime.calls import Engines
from stages.runtime.rows import Prompt
from stages.training.online import ppo
from stages.training.online.trl_stages import GRPO, ONLINE_DPO, RLOO

ARGS = {
    "per_device_train_batch_size": 16,
    "max_completion_length": 8,
    "max_steps": 6,
    "learning_rate": 3e-3,
    "save_strategy": "no",
    "lr_scheduler_type": "constant",
}
LETTERS = {"letters": {"term": "python", "function": "tests.training.rewarding:early_letters"}}


def prompts(count=32):
    return [
        Prompt(id=f"p{i}", messages=[{"role": "user", "content": f"the cat asks {i}"}], kind="k")
        for i in range(count)
    ]


@pytest.fixture
def inputs(artifact):
    return {"model": artifact("base"), "prompts": artifact("prompts", prompts())}


def trained(stage, inputs, context, name="trained", rewards=None, costs=None, lora=None, **args):
    more = {"costs": costs} if costs else {}
    config = stage.config(rewards=rewards or LETTERS, args=ARGS | args, lora=lora, **more)
    here = context(name)
    return stage.run(config, inputs, here), here


@pytest.mark.parametrize(
    "stage, more",
    [
        (ppo.STAGE, {"steps_per_generation": 2, "num_iterations": 2}),
        (GRPO, {"num_generations": 4}),
        (RLOO, {"num_generations": 4}),
        (ONLINE_DPO, {}),
    ],
)
def test_each_trains_and_logs_its_terms_and_tripwires(inputs, context, stage, more):
    rewards = LETTERS | {
        "short": {"term": "length", "weight": -0.1, "per": 8},
        "ended": {"term": "unfinished", "weight": 0.5},
    }
    args = dict(more)
    if stage is ONLINE_DPO:
        args |= {"max_new_tokens": 8, "max_length": 64}
        base = {k: v for k, v in ARGS.items() if k != "max_completion_length"}
        config = stage.config(rewards=rewards, args=base | args)
        here = context()
        result = stage.run(config, inputs, here)
    else:
        result, here = trained(stage, inputs, context, rewards=rewards, **args)
    last = result.metrics["last"]
    assert {
        "term letters",
        "term short",
        "term ended",
        "reward",
        "length",
        "refusals",
        "repetition",
    } <= last.keys()
    expected = last["term letters"] - 0.1 * last["term short"] + 0.5 * last["term ended"]
    assert last["reward"] == pytest.approx(expected, abs=1e-4)
    assert (here.directory / "model" / "model.safetensors").exists()


def test_what_fills_a_completion_up_is_none_of_its_tokens():
    """Online DPO hands its completions over as wide as the longest; their length and end would be
    lost.
    """
    from stages.training.online.online_dpo_trainer import sampled_tokens

    assert [sampled_tokens(ids, {2, 3}) for ids in ([5, 6, 2, 0, 0], [3, 2, 2], [5, 6, 7], [])] == [
        [5, 6, 2],
        [3],
        [5, 6, 7],
        [],
    ]


def test_online_dpo_learns_nothing_from_a_pair_without_a_reward(inputs, context):
    """TRL takes a missing reward for 0, which may well be more than the other answer's."""
    from safetensors.torch import load_file

    from stages.training.online.online_dpo_trainer import rows_of_unscored_pairs

    silent = {"silent": {"term": "python", "function": "tests.training.rewarding:silent"}}
    base = {name: value for name, value in ARGS.items() if name != "max_completion_length"}
    args = base | {"max_new_tokens": 8, "max_length": 64, "max_steps": 2, "weight_decay": 0.0}
    here = context("silent")
    ONLINE_DPO.run(ONLINE_DPO.config(rewards=silent, args=args), inputs, here)
    start = load_file(str(Path(inputs["model"].model().path) / "model.safetensors"))
    end = load_file(str(here.directory / "model" / "model.safetensors"))
    assert all((start[name] == end[name]).all() for name in end)
    assert rows_of_unscored_pairs([True, False, True, True, True, False]) == [1, 2, 4, 5]


def test_online_dpo_says_that_it_cannot_hand_on_the_chat_templates_variables(inputs, context):
    here = replace(
        context("variables"),
        engines=Engines("none", {"template_arguments": {"enable_thinking": False}}),
    )
    args = {name: value for name, value in ARGS.items() if name != "max_completion_length"}
    with pytest.raises(UserError, match="given enable_thinking"):
        ONLINE_DPO.run(ONLINE_DPO.config(rewards=LETTERS, args=args), inputs, here)
