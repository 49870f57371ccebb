"""A completion that lacks a term of its reward has no reward, in every online trainer: against
plain arithmetic.
"""

import math
from pathlib import Path

import numpy as np
import pytest

from stages.guards.errors import UserError
from stages.training.online import ppo
from stages.training.online.hacking.tripwires import MISSING, read_curves
from stages.training.online.rewards import RewardFunction
from stages.training.online.trl_stages import GRPO, ONLINE_DPO, RLOO
from stages.training.progress import curve
from tests.training.online.test_online import ARGS, inputs  # noqa: F401  (a fixture)
from tests.training.rewarding import SCORES


def term(name, weight):
    function = f"tests.training.rewarding:{name}"
    return {"term": "python", "function": function, "weight": weight}


TERMS = {"rm": term("first", 2.0), "length": term("second", 0.5)}
# Of the first prompt's answers one is too long for the reward model, and its length is worth most;
# the second prompt has one answer with a reward, the third none, the last all.
FIRST = [
    *(None, -1.0, -2.0, -1.5),
    *(0.3, None, None, 9.0),
    *(None, None, None, None),
    *(1.0, 2.0, 2.0, 4.0),
]
SECOND = [
    *(8.0, 1.0, 0.0, 2.0),
    *(1.0, 1.0, 5.0, None),
    *(3.0, 1.0, None, 2.0),
    *(0.0, 0.0, 2.0, 8.0),
]


def sums(first_weight=2.0, second_weight=0.5):
    """The rewards by hand, NaN where one is missing."""
    rewards = []
    for one, other in zip(FIRST, SECOND, strict=True):
        missing = (one is None and first_weight) or (other is None and second_weight)
        total = first_weight * (one or 0) + second_weight * (other or 0)
        rewards.append(math.nan if missing else total)
    return np.array(rewards)


def built(stage, inputs, context, rewards, costs=None, **args):
    """The trainer that the stage would train, and the rows of one rollout: four of each prompt."""
    import stages.training.frame as frame

    trainers = []

    def keep(trainer, *_):
        trainers.append(trainer)
        raise KeyboardInterrupt

    more = {"costs": costs} if costs else {}
    options = ARGS | {"max_steps": 1} | args
    if stage is ONLINE_DPO:
        options |= {"max_new_tokens": options.pop("max_completion_length"), "max_length": 64}
    config = stage.config(rewards=rewards, args=options, **more)
    before, frame.train = frame.train, keep
    try:
        stage.run(config, inputs, context)
    except KeyboardInterrupt:
        pass
    finally:
        frame.train = before
    trainer = trainers[0]
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    return trainer, [trainer.train_dataset[i // 4] for i in range(16)]


def rollout(trainer, rows, first=FIRST, second=SECOND):
    SCORES["first"], SCORES["second"] = list(first), list(second)
    return trainer._generate_and_score_completions(rows)


def gradient(trainer, batch):
    """The largest gradient that a batch gives to any weight of the policy."""
    trainer.model.zero_grad()
    trainer._compute_loss(trainer.model, batch).backward()
    grads = [weight.grad for weight in trainer.model.parameters() if weight.grad is not None]
    return max(grad.abs().max().item() for grad in grads)


@pytest.mark.parametrize("stage", [GRPO, RLOO])
def test_a_groups_baseline_is_that_of_its_whole_rewards(inputs, context, stage):
    trainer, rows = built(stage, inputs, context(), TERMS, num_generations=4, beta=0.0)
    batch = rollout(trainer, rows)
    expected = np.zeros(16)
    for start in range(0, 16, 4):
        group = sums()[start : start + 4]
        valid = [place for place in range(4) if not math.isnan(group[place])]
        for place in valid:
            others = [group[other] for other in valid if other != place]
            if not others:
                continue
            if stage is RLOO:
                expected[start + place] = group[place] - np.mean(others)
            else:
                spread = np.std(group[valid], ddof=1) + 1e-4
                expected[start + place] = (group[place] - np.mean(group[valid])) / spread
    np.testing.assert_allclose(batch["advantages"].numpy(), expected, atol=1e-5)
    assert expected[0] == 0 and (expected[4:12] == 0).all() and expected[3] > 0
    metrics = trainer._metrics["train"]
    assert metrics["tripwire/missing"] == [pytest.approx(8 / 16)]
    assert metrics["missing/rm"] == [pytest.approx(7 / 16)]
    assert metrics["missing/length"] == [pytest.approx(2 / 16)]
    assert metrics["reward"] == [pytest.approx(np.nanmean(sums()))]
    assert metrics["frac_reward_zero_std"] == [0.5], "nothing to compare in two of four groups"


def test_what_is_only_watched_is_not_missed(inputs, context):
    terms = {"rm": term("first", 0.0), "length": term("second", 0.5)}
    trainer, rows = built(GRPO, inputs, context(), terms, num_generations=4, beta=0.0)
    rollout(trainer, rows)
    metrics = trainer._metrics["train"]
    assert metrics["tripwire/missing"] == [pytest.approx(2 / 16)]
    assert metrics["missing/rm"] == [pytest.approx(7 / 16)]
    assert metrics["reward"] == [pytest.approx(np.nanmean(sums(0.0, 0.5)))]


@pytest.mark.parametrize("stage", [GRPO, RLOO, ppo.STAGE])
def test_a_completion_without_a_reward_has_no_gradient_not_even_of_the_kl(inputs, context, stage):
    import torch

    more = {} if stage is ppo.STAGE else {"num_generations": 4}
    trainer, rows = built(stage, inputs, context(), TERMS, beta=0.5, **more)
    with torch.no_grad():  # so that there is a KL
        for weight in trainer.ref_model.parameters():
            weight += 0.02 * torch.randn_like(weight)
    batch = rollout(trainer, rows, first=[None] * 16)
    assert gradient(trainer, batch) == 0.0
    assert gradient(trainer, rollout(trainer, rows)) > 0.0


def test_the_loss_of_grpo_is_that_of_the_completions_with_a_reward(inputs, context):
    """Their tokens alone count in the mean over tokens."""
    trainer, rows = built(GRPO, inputs, context(), TERMS, num_generations=4, beta=0.0)
    batch = rollout(trainer, rows)
    whole = ~np.isnan(sums())
    lengths = batch["completion_mask"].sum(1).numpy()
    assert (lengths > 0).tolist() == whole.tolist()
    assert batch["num_items_in_batch"].item() == lengths.sum()
    advantages = batch["advantages"].numpy()
    # the ratio is 1, so the loss is the mean of the advantages over tokens
    by_hand = -(advantages * lengths).sum() / lengths.sum()
    assert trainer._compute_loss(trainer.model, batch).item() == pytest.approx(by_hand, abs=1e-5)


def test_ppo_whitens_and_learns_values_without_what_is_missing(inputs, context):
    import torch

    trainer, rows = built(ppo.STAGE, inputs, context(), TERMS, beta=0.0, lam=1.0)
    with torch.no_grad():
        for weight in trainer.value_models["reward"].head.parameters():
            weight.zero_()  # all values are 0, so that an advantage is its reward
    batch = rollout(trainer, rows)
    rewards = sums()
    whole = ~np.isnan(rewards)
    lengths = batch["completion_mask"].sum(1).numpy()
    assert (lengths > 0).tolist() == whole.tolist()
    mean = (rewards[whole] * lengths[whole]).sum() / lengths.sum()
    variance = ((rewards[whole] - mean) ** 2 * lengths[whole]).sum() / lengths.sum()
    whitened = np.where(whole, (rewards - mean) / math.sqrt(variance), 0.0)
    mask = batch["completion_mask"].numpy()
    np.testing.assert_allclose(batch["advantages"].numpy(), whitened[:, None] * mask, atol=1e-4)
    nothing = rollout(trainer, rows, second=[None] * 16)
    with torch.no_grad():
        trainer.value_models["reward"].head.bias += 3.0
    assert trainer.value_losses(nothing)["reward"].item() == 0.0
    assert math.isnan(trainer._metrics["train"]["kl_per_completion"][-1])


def test_online_dpo_learns_nothing_from_the_sum_of_what_is_left(inputs, context):
    """TRL adds up the terms that there are: the letters alone would decide."""
    from safetensors.torch import load_file

    rewards = {
        "silent": {"term": "python", "function": "tests.training.rewarding:silent"},
        "letters": {"term": "python", "function": "tests.training.rewarding:early_letters"},
    }
    args = {name: value for name, value in ARGS.items() if name != "max_completion_length"}
    args |= {"max_new_tokens": 8, "max_length": 64, "max_steps": 2, "weight_decay": 0.0}
    start = load_file(str(Path(inputs["model"].model().path) / "model.safetensors"))
    ends = {}
    for name, weight in (("counted", 1.0), ("watched", 0.0)):
        here = context(name)
        terms = rewards | {"silent": rewards["silent"] | {"weight": weight}}
        result = ONLINE_DPO.run(ONLINE_DPO.config(rewards=terms, args=args), inputs, here)
        ends[name] = load_file(str(here.directory / "model" / "model.safetensors"))
        last = result.metrics["last"]
        assert last["missing"] == weight and last["missing silent"] == 1.0
        assert ("reward" in last) == (not weight), "there is no mean of no rewards"
    assert all((start[name] == ends["counted"][name]).all() for name in start)
    assert any((start[name] != ends["watched"][name]).any() for name in start)


@pytest.mark.parametrize("missing", [0, 5, 16])
def test_online_dpo_logs_the_means_of_the_pairs_with_a_reward(
    inputs, context, monkeypatch, missing
):
    import torch

    terms = {"rm": term("first", 2.0), "length": term("second", 0.5)}
    trainer, _ = built(ONLINE_DPO, inputs, context(), terms)
    with torch.no_grad():  # so that the policy is not its reference
        for weight in trainer.model.parameters():
            weight += 0.02 * torch.randn_like(weight)
    draws = np.random.default_rng(3)
    one, other = draws.normal(size=(2, 32))
    rewards = 2.0 * one + 0.5 * other
    SCORES["second"] = list(other)
    SCORES["first"] = [None if i < missing else score for i, score in enumerate(one)]
    forward, logps = trainer._forward, []

    def keep(*args, **kwargs):
        out = forward(*args, **kwargs)
        logps.append((out.detach() * trainer.sampled_mask).sum(1).numpy())  # before it is masked
        return out

    monkeypatch.setattr(trainer, "_forward", keep)
    trainer.training_step(trainer.model, next(iter(trainer.get_train_dataloader())))
    policy, reference = logps
    better = np.where(rewards[:16] >= rewards[16:], np.arange(16), np.arange(16, 32))[missing:]
    worse = (better + 16) % 32
    gains = trainer.beta * (policy - reference)
    margins = gains[better] - gains[worse]
    by_hand = {
        "rewards/chosen": gains[better],
        "rewards/rejected": gains[worse],
        "rewards/margins": margins,
        "rewards/accuracies": margins > 0,
        "logps/chosen": policy[better],
        "logps/rejected": policy[worse],
        "objective/scores_margin": rewards[better] - rewards[worse],
    }
    for name, values in by_hand.items():
        expected = values.mean() if len(values) else math.nan
        assert trainer.stats[name] == [pytest.approx(expected, abs=1e-5, nan_ok=True)], name


@pytest.mark.parametrize("stage", [GRPO, RLOO, ppo.STAGE, ONLINE_DPO])
def test_a_training_counts_what_is_missing_and_goes_on(inputs, context, stage):
    rewards = {"some": term("of_even_prompts", 1.0), "short": {"term": "length", "weight": -0.1}}
    args = dict(ARGS) | {"max_steps": 3}
    if stage is ONLINE_DPO:
        del args["max_completion_length"]
        args |= {"max_new_tokens": 8, "max_length": 64}
    elif stage is not ppo.STAGE:
        args |= {"num_generations": 4}
    result = stage.run(stage.config(rewards=rewards, args=args), inputs, context())
    points = result.metrics["history"]
    assert len(points) == 3 and 0 < sum(point["missing"] for point in points) < 3
    assert all(point["missing some"] == point["missing"] for point in points)
    assert all("missing short" not in point for point in points)


def test_a_training_without_any_whole_reward_is_stopped(inputs, context):
    rewards = {
        "silent": {"term": "python", "function": "tests.training.rewarding:silent"},
        "short": {"term": "length", "weight": -0.1},
    }
    args = ARGS | {"num_generations": 4, "max_steps": 20, "max_completion_length": 2}
    with pytest.raises(UserError, match=r"(?s)in none of 10 batches did the reward differ.*Fix:"):
        GRPO.run(GRPO.config(rewards=rewards, args=args), inputs, context())


@pytest.mark.parametrize("scores", [[1.0], [1.0, 2.0, 3.0], []])
def test_a_term_gives_one_reward_for_each_completion(scores):
    function = RewardFunction("mine", lambda completions: scores, "step 'it'", False)

    class State:
        global_step = 0

    many = {"prompts": [[], []], "completions": ["a", "b"], "completion_ids": [[1], [1]]}
    message = rf"(?s)step 'it': .*'mine' gave {len(scores)} rewards for 2 completions.*Fix:"
    with pytest.raises(UserError, match=message):
        function(**many, prompt_id=["p", "q"], kind=["k", "k"], trainer_state=State())


def test_many_missing_rewards_trip_a_wire_whatever_the_reward_does():
    def history(missing, rise=0.0):
        return [{"step": i, "reward": 1 + rise * i, "missing": missing} for i in range(40)]

    assert read_curves(history(2 * MISSING)).tripped == ("missing",)
    assert read_curves(history(2 * MISSING, rise=-0.1)).tripped == ("missing",)
    assert read_curves(history(MISSING / 2)).tripped == ()
    assert read_curves(history(1.0, rise=0.1)).tripped == ("missing",)


def test_the_curve_names_the_terms_that_were_ever_missing():
    logs = [
        {"step": i, "loss": 1.0, "missing/rm": 0.1 * i, "missing/length": 0.0} for i in range(3)
    ]
    points = curve(logs)
    assert [point["missing rm"] for point in points] == [0.0, 0.1, 0.2]
    assert all("missing length" not in point for point in points)
