"""PPO's trainer: its loss against an independent float64 reference, its value model, its
checkpoints.
"""

import json
import math
import shutil

import numpy as np
import pytest

from stages.guards.errors import UserError
from stages.runtime.models import find_model
from stages.runtime.stage import Expected
from stages.training.checkpoints import last_complete
from stages.training.online import ppo
from stages.training.online.online_training import last_tenth
from stages.training.online.rewards import read_terms
from tests.training.killed import count_steps, train_until_killed
from tests.training.online.test_online import (
    ARGS,
    LETTERS,
    inputs,  # noqa: F401  (a fixture)
    prompts,
    trained,
)


def nudge(model, scale, seed):
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += scale * torch.randn(parameter.shape, generator=generator)


def built(inputs, context, costs=None, **args):
    """The trainer that the stage would train, and the rows of one rollout."""
    config = ppo.Config(rewards=LETTERS, costs=costs or {}, args=ARGS | {"max_steps": 1} | args)
    kept = {}

    def keep(trainer, context, base):
        kept["trainer"] = trainer
        raise KeyboardInterrupt

    import stages.training.frame as frame

    before, frame.train = frame.train, keep
    try:
        ppo.run(config, inputs, context)
    except KeyboardInterrupt:
        pass
    finally:
        frame.train = before
    trainer = kept["trainer"]
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    return trainer, [trainer.train_dataset[i] for i in range(16)]


def whole(batch):
    import torch

    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    return ids, torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)


def logps(model, batch):
    """Log-probabilities of the sampled tokens, in float64, by the plain forward pass."""
    import torch

    ids, attention = whole(batch)
    with torch.no_grad():
        scores = model(input_ids=ids, attention_mask=attention).logits.double().log_softmax(-1)
    taken = scores[:, :-1].gather(2, ids[:, 1:, None])[..., 0]
    return taken[:, -batch["completion_ids"].size(1) :].numpy()


def values(model, batch):
    import torch

    with torch.no_grad():
        return model(*whole(batch)).double()[:, -batch["completion_ids"].size(1) - 1 : -1].numpy()


def whitened(x, mask):
    mean = (x * mask).sum() / mask.sum()
    spread = (((x - mean) ** 2) * mask).sum() / mask.sum()
    return (x - mean) / np.sqrt(spread + 1e-8) * mask


def discounted(rewards, value, mask, gamma, lam):
    out = np.zeros_like(value)
    for row in range(len(value)):
        length = int(mask[row].sum())
        delta = [
            rewards[row, t] + gamma * (value[row, t + 1] if t + 1 < length else 0) - value[row, t]
            for t in range(length)
        ]
        for t in range(length):
            out[row, t] = sum((gamma * lam) ** k * delta[t + k] for k in range(length - t))
    return out


@pytest.mark.parametrize("constrained", [False, True])
def test_the_loss_is_the_papers(inputs, context, constrained):
    import torch

    costs = {
        "long": {
            "term": "python",
            "function": "tests.training.rewarding:late_letters",
            "weight": 2.0,
        }
    }
    options = {
        "beta": 0.3,
        "gamma": 0.97,
        "lam": 0.9,
        "value_coefficient": 0.7,
        "value_clip": 0.05,
        "lambda_init": 0.8,
    }
    trainer, rows = built(inputs, context(), costs if constrained else None, **options)
    nudge(trainer.ref_model, 0.02, 1)
    for seed, model in enumerate(trainer.value_models.values()):
        nudge(model, 0.05, 7 + seed)
    batch = trainer._generate_and_score_completions(rows)
    mask = batch["completion_mask"].double().numpy()
    old, ref = logps(trainer.model, batch), logps(trainer.ref_model, batch)
    texts = trainer.processing_class.batch_decode(batch["completion_ids"], skip_special_tokens=True)
    kl = (old - ref) * mask
    assert abs(kl).max() > 1e-3
    sides = {"reward": (early, 0.3 if not constrained else 0.15)}
    if constrained:
        sides["cost"] = (lambda text: 2 * (1 - early(text)), -0.15)
    advantages, before, target = {}, {}, {}
    for name, (score, coefficient) in sides.items():
        earned = -coefficient * kl
        for row, text in enumerate(texts):
            earned[row, int(mask[row].sum()) - 1] += score(text)
        before[name] = values(trainer.value_models[name], batch) * mask
        raw = discounted(earned, before[name], mask, 0.97, 0.9)
        advantages[name], target[name] = raw * mask, (raw + before[name]) * mask
    mixed = advantages["reward"]
    if constrained:
        multiplier = trainer.lagrangian.multiplier
        assert multiplier != 0.8  # moved by this rollout's costs
        mixed = (advantages["reward"] - multiplier * advantages["cost"]) / (1 + multiplier)
    mixed = whitened(mixed, mask)
    np.testing.assert_allclose(batch["advantages"].numpy(), mixed, atol=2e-4)

    nudge(trainer.model, 0.01, 2)
    for seed, model in enumerate(trainer.value_models.values()):
        nudge(model, 0.02, 3 + seed)
    ratio = np.exp(logps(trainer.model, batch) - old)
    assert (abs(ratio - 1) * mask).max() > 0.01
    expected = (
        -(np.minimum(ratio * mixed, np.clip(ratio, 0.8, 1.2) * mixed) * mask).sum() / mask.sum()
    )
    for name in sides:
        now = values(trainer.value_models[name], batch)
        held = before[name] + np.clip(now - before[name], -0.05, 0.05)
        error = 0.5 * np.maximum((now - target[name]) ** 2, (held - target[name]) ** 2)
        expected += 0.7 * (error * mask).sum() / mask.sum()
    with torch.no_grad():
        found = trainer._compute_loss(trainer.model, batch).item()
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_a_nearly_constant_cost_adds_next_to_no_noise_to_the_mixture(inputs, context):
    """At lambda 5 a cost whose spread is 1/80 of the reward's has 25 / 80^2 = 0.4 % of the
    mixture's variance; of two sides that were whitened apart it would have 25 / 26 = 96 %.
    """
    import torch

    options = {"beta": 0.0, "gamma": 1.0, "lam": 1.0, "lambda_init": 5.0, "lambda_rate": 0.0}
    trainer, rows = built(inputs, context(), COSTS, **options)
    with torch.no_grad():
        for value_model in trainer.value_models.values():
            for weight in value_model.head.parameters():
                weight.zero_()  # all values are 0, so that an advantage is the score
    dice = np.random.default_rng(0)
    noise = dice.normal(size=(2, 16))
    noise = (noise - noise.mean(1, keepdims=True)) / noise.std(1, keepdims=True)
    reward, cost = noise[0], 3.0 + noise[1] / 80
    table = torch.tensor(np.stack([reward, cost], axis=1), dtype=torch.float32)
    trainer._calculate_rewards = lambda *_, **__: setattr(trainer, "rewards", table) or table
    batch = trainer._generate_and_score_completions(rows)
    assert trainer.lagrangian.multiplier == pytest.approx(5.0)
    advantage = batch["advantages"][:, 0].double().numpy()
    columns = np.stack([np.ones(16), reward, cost], axis=1)
    slopes, *_ = np.linalg.lstsq(columns, advantage, rcond=None)
    np.testing.assert_allclose(columns @ slopes, advantage, atol=1e-4)
    assert slopes[2] / slopes[1] == pytest.approx(-5.0, rel=1e-3)
    parts = (slopes[1:] * np.array([reward.std(), cost.std()])) ** 2
    assert parts[1] / parts.sum() == pytest.approx(0.0039, abs=2e-4)
    mask = batch["completion_mask"].double().numpy()
    everything = batch["advantages"].double().numpy()
    mean = (everything * mask).sum() / mask.sum()
    spread = ((everything - mean) ** 2 * mask).sum() / mask.sum()
    assert (mean, spread) == (pytest.approx(0, abs=1e-4), pytest.approx(1, abs=1e-3))


def test_lambda_moves_once_a_rollout_before_its_advantages_are_mixed(inputs, context):
    """log lambda rises by rate * lambda * (mean cost - threshold), once the delay is over."""
    import torch

    options = {"beta": 0.0, "lambda_init": 1.0, "lambda_rate": 0.5, "cost_threshold": 0.25}
    trainer, rows = built(inputs, context(), COSTS, cost_delay=1, cost_window=24, **options)
    table = torch.tensor([[0.5, 1.0 + i / 16] for i in range(16)])
    trainer._calculate_rewards = lambda *_, **__: setattr(trainer, "rewards", table) or table
    trainer._generate_and_score_completions(rows)
    assert trainer.lagrangian.multiplier == 1.0
    trainer._generate_and_score_completions(rows)
    costs = [1.0 + i / 16 for i in range(16)]
    window = (costs + costs)[-24:]
    first = math.exp(0.5 * (np.mean(window) - 0.25))
    assert trainer.lagrangian.multiplier == pytest.approx(first)
    assert trainer._metrics["train"]["lambda"] == [1.0, pytest.approx(first)]


def test_the_reward_is_not_whitened_apart_from_the_cost():
    config = ppo.Config(rewards=LETTERS, costs=COSTS, args=ARGS | {"whiten_rewards": True})
    with pytest.raises(UserError, match=r"(?s)'whiten_rewards' would scale the reward.*Fix:"):
        ppo.check(config)
    ppo.check(ppo.Config(rewards=LETTERS, args=ARGS | {"whiten_rewards": True}))


def expected(folder):
    model = find_model(str(folder)) if folder else None
    return Expected(lambda: None, lambda: model)


def test_a_plan_compares_vocabularies(tiny, tmp_path):
    """Of the models that the sums' value models start from, as far as they are there."""
    from tokenizers import Tokenizer

    other = shutil.copytree(tiny, tmp_path / "other")
    tokenizer = Tokenizer.from_file(str(other / "tokenizer.json"))
    tokenizer.add_tokens(["<new>"])
    tokenizer.save(str(other / "tokenizer.json"))
    copied = shutil.copytree(tiny, tmp_path / "copy")
    reward = {"scores": {"term": "reward_model", "model": "reward_model"}}
    cost = {"harm": {"term": "reward_model", "model": "cost_model"}}
    config = ppo.Config(rewards=reward, costs=cost, args=ARGS)
    models = {"model": tiny, "reward_model": copied, "cost_model": tiny}
    for changed, place in [
        ({}, None),
        ({"reward_model": None, "cost_model": None}, None),  # of nobody knows which base
        ({"reward_model": other}, "inputs.reward_model"),
        ({"cost_model": other}, "inputs.cost_model"),
        ({"reward_model": other, "cost_model": other, "value": tiny}, None),
        ({"value": other}, "inputs.value"),
        ({"model": other, "reward_model": other, "cost_model": other}, None),
    ]:
        inputs = {name: expected(folder) for name, folder in (models | changed).items()}
        if place is None:
            assert ppo.STAGE.foresee(config, inputs) == []
            continue
        with pytest.raises(UserError, match="another vocabulary than the policy's") as caught:
            ppo.STAGE.foresee(config, inputs)
        assert caught.value.where == place


def early(text):
    from tests.training.rewarding import early_letters

    return early_letters(None, text, None)


def test_the_value_model_starts_from_the_scalar_model_and_is_trained_with_the_policy(
    inputs, context
):
    import torch

    trainer, _ = built(inputs, context())
    start = [p.detach().clone() for p in trainer.value_models["reward"].parameters()]
    trunk = trainer.value_models["reward"].trunk.state_dict()
    policy = trainer.model.model.state_dict()
    assert all(torch.equal(trunk[name], policy[name]) for name in trunk)
    trainer.train()
    moved = [
        not torch.equal(a, b)
        for a, b in zip(start, trainer.value_models["reward"].parameters(), strict=True)
    ]
    assert all(moved)


@pytest.mark.long
def test_a_dense_reward_is_learnt_and_the_value_model_explains_it(inputs, context):
    more = {
        "max_steps": 60,
        "learning_rate": 2e-3,
        "num_iterations": 2,
        "per_device_train_batch_size": 32,
    }
    result, _ = trained(ppo.STAGE, inputs, context, beta=0.01, **more)
    rewards = [point["reward"] for point in result.metrics["history"] if "reward" in point]
    # One batch is noise, and processors round differently.
    assert np.mean(rewards[-10:]) > np.mean(rewards[:3]) + 0.03, rewards
    assert result.metrics["last"]["value_loss"] < result.metrics["history"][0]["value_loss"]


COSTS = {"late": {"term": "python", "function": "tests.training.rewarding:late_letters"}}
# Two batches a rollout, each learnt from twice: a rollout lasts four steps. Steps 3, 6 and 9 are no
# place to save.
RESUMED = ARGS | {
    "per_device_train_batch_size": 8,
    "max_steps": 14,
    "save_strategy": "steps",
    "save_steps": 3,
    "steps_per_generation": 2,
    "num_iterations": 2,
    "kl_target": 0.5,
    "kl_horizon": 100,
    "lr_scheduler_type": "linear",
}


@pytest.mark.long
def test_killed_and_resumed_gives_the_weights_of_an_unbroken_run(
    artifact, context, tmp_path, monkeypatch, capsys
):
    from safetensors.torch import load_file

    inputs = {"model": artifact("base"), "prompts": artifact("prompts", prompts())}
    config = ppo.Config(rewards=LETTERS, costs=COSTS, args=RESUMED)
    whole = context("whole")
    unbroken = ppo.run(config, inputs, whole)
    (tmp_path / "cut").mkdir()
    options = {"rewards": LETTERS, "costs": COSTS, "args": RESUMED}
    folders = {"model": "base", "prompts": "prompts"}
    train_until_killed(tmp_path, ppo.__name__, folders, options, step=11)
    checkpoints = tmp_path / "cut" / "checkpoints"
    mark = json.loads((checkpoints / "checkpoint-8" / "complete").read_text())
    assert last_complete(checkpoints, mark["training"]) == checkpoints / "checkpoint-8"
    held = {path.name for path in (checkpoints / "checkpoint-8").iterdir()}
    assert {
        "value_reward.safetensors",
        "value_cost.safetensors",
        "ppo_state.json",
        "optimizer.pt",
    } <= held
    steps = count_steps(monkeypatch)
    resumed = ppo.run(config, inputs, context("cut"))
    assert "going on from checkpoint-8" in capsys.readouterr().err
    assert steps == [*range(9, 15)]
    left, right = (
        load_file(folder / "model" / "model.safetensors")
        for folder in (whole.directory, tmp_path / "cut")
    )
    assert max((left[name] - right[name]).abs().max().item() for name in left) < 1e-5
    for key in ("lambda", "value_loss", "kl_coefficient", "reward"):
        assert resumed.metrics["last"].get(key) == pytest.approx(
            unbroken.metrics["last"].get(key), abs=1e-5
        )


def test_what_a_reward_or_a_cost_cannot_tell_about_is_not_learnt_from(inputs, context):
    """Of four completions the second has no reward, the third no cost, the last neither."""
    import torch

    nan = float("nan")
    costs = {"late": {"term": "python", "function": "tests.training.rewarding:late_letters"}}
    trainer, rows = built(inputs, context(), costs, per_device_train_batch_size=4)
    table = torch.tensor([[1.0, 3.0], [nan, 5.0], [2.0, nan], [nan, nan]])
    trainer._calculate_rewards = lambda *_, **__: setattr(trainer, "rewards", table) or table
    batch = trainer._generate_and_score_completions(rows[:4])
    learnt = batch["advantages"].abs().sum(1) > 0
    assert learnt.tolist() == [True, False, False, False]
    for name in ("reward", "cost"):
        assert torch.equal(batch[f"{name}_returns"][1:], batch[f"{name}_values"][1:])
    assert list(trainer.lagrangian.costs) == [3.0] and trainer._metrics["train"]["cost"] == [3.0]


def test_terms_of_the_stage_are_in_its_identity():
    one = ppo.identity(ppo.Config(rewards=LETTERS, args=ARGS))
    two = ppo.identity(
        ppo.Config(rewards={"letters": LETTERS["letters"] | {"weight": 2.0}}, args=ARGS)
    )
    assert one != two
    late, letters = (
        {"late": COSTS["late"]},
        {"other": LETTERS["letters"]},
    )  # the first cost model starts the value model
    costs = [
        ppo.identity(ppo.Config(rewards=LETTERS, costs=order, args=ARGS))
        for order in (late | letters, letters | late)
    ]
    assert costs[0] != costs[1]
    assert read_terms(LETTERS, "ppo")["letters"].weight == 1.0
    with pytest.raises(UserError, match="'scale_rewards' has no effect in PPO"):
        ppo.check(ppo.Config(rewards=LETTERS, args=ARGS | {"scale_rewards": "batch"}))
    assert last_tenth([{"step": 1, "a": 1.0}, {"step": 2, "b": 3.0}]) == {"a": 1.0, "b": 3.0}
