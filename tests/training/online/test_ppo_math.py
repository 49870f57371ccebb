"""PPO's arithmetic against an independent float64 reference that follows the papers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.training.online.ppo_math import (
    KLController,
    Lagrangian,
    gae,
    token_rewards,
    value_loss,
    whiten,
)


def rollout(seed, rows=3, tokens=6):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, tokens + 1, rows)
    mask = (np.arange(tokens)[None] < lengths[:, None]).astype(float)
    return rng, mask, lengths


def double(array):
    return torch.tensor(array, dtype=torch.float64)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.floats(0, 1), st.floats(0, 1), st.floats(0, 2))
def test_advantages_are_the_papers_sum_of_discounted_errors(seed, gamma, lam, coefficient):
    """Equation 16 of the GAE paper: A_t = sum_l (gamma lambda)^l delta_{t+l}, summed out; and R_t =
    A_t + V_t.
    """
    rng, mask, lengths = rollout(seed)
    values, kl, score = (
        rng.normal(size=mask.shape),
        rng.normal(size=mask.shape),
        rng.normal(size=len(mask)),
    )
    rewards = token_rewards(double(score), double(kl), double(mask), coefficient)
    advantages, returns = gae(rewards, double(values), double(mask), gamma, lam)
    for row, length in enumerate(lengths):
        earned = [
            -coefficient * kl[row, t] + (score[row] if t == length - 1 else 0.0)
            for t in range(length)
        ]
        following = [values[row, t + 1] if t + 1 < length else 0.0 for t in range(length)]
        delta = [earned[t] + gamma * following[t] - values[row, t] for t in range(length)]
        for t in range(mask.shape[1]):
            expected = (
                sum((gamma * lam) ** k * delta[t + k] for k in range(length - t))
                if t < length
                else 0.0
            )
            assert advantages[row, t].item() == pytest.approx(expected, abs=1e-9)
            assert returns[row, t].item() == pytest.approx(
                expected + values[row, t] if t < length else 0.0, abs=1e-9
            )


def test_gae_at_its_ends_is_monte_carlo_and_one_step():
    rng, mask, _ = rollout(1)
    rewards, values = rng.normal(size=mask.shape) * mask, rng.normal(size=mask.shape) * mask
    to_go = np.flip(np.cumsum(np.flip(rewards, 1), 1), 1) * mask
    _, returns = gae(double(rewards), double(values), double(mask), 1.0, 1.0)
    np.testing.assert_allclose(returns.numpy(), to_go, atol=1e-12)
    following = np.concatenate([values[:, 1:], np.zeros((len(values), 1))], 1)
    advantages, _ = gae(double(rewards), double(values), double(mask), 0.9, 0.0)
    np.testing.assert_allclose(
        advantages.numpy(), (rewards + 0.9 * following - values) * mask, atol=1e-12
    )


@settings(max_examples=60)
@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-3, 3), st.floats(0.01, 1))
def test_the_value_loss_is_the_larger_of_both_errors(value, old, target, clip):
    held = min(max(value, old - clip), old + clip)
    expected = 0.5 * max((value - target) ** 2, (held - target) ** 2)
    found = value_loss(double([value]), double([old]), double([target]), clip)
    assert found.item() == pytest.approx(expected, abs=1e-12)
    assert value_loss(
        double([value]), double([old]), double([target]), None
    ).item() == pytest.approx(0.5 * (value - target) ** 2)


def test_whitening():
    values = torch.randn(50, dtype=torch.float64) * 3 + 5
    mean, variance = values.mean(), values.var(unbiased=False)
    white = whiten(values, mean, variance)
    assert white.mean().item() == pytest.approx(0, abs=1e-9) and white.std(
        unbiased=False
    ).item() == pytest.approx(1, abs=1e-6)
    assert whiten(values, mean, variance, shift=False).mean().item() == pytest.approx(mean.item())


def test_the_coefficient_of_the_kl_is_steered():
    fixed, steered = KLController(0.1), KLController(0.1, target=6.0, horizon=1000)
    fixed.update(100.0, 10)
    assert fixed.coefficient == 0.1
    steered.update(6.6, 100)  # 10 % too far
    assert steered.coefficient == pytest.approx(0.1 * (1 + 0.1 * 100 / 1000))
    steered.update(600.0, 100)  # no more than 20 % of an error count
    assert steered.coefficient == pytest.approx(0.1 * 1.01 * 1.02)
    again = KLController(9.0, target=6.0)
    again.load(steered.state())
    assert again.coefficient == steered.coefficient


@settings(max_examples=60)
@given(st.lists(st.floats(-60, 60), min_size=1, max_size=30), st.floats(-1, 1))
def test_the_multiplier_stays_in_bounds_and_rises_exactly_when_costs_are_too_high(costs, threshold):
    found = Lagrangian(threshold=threshold, window=4)
    for cost in costs:
        before = found.multiplier
        found.update([cost])
        over = sum(found.costs) / len(found.costs) - threshold
        assert 0 < found.multiplier <= found.ceiling + 1e-12
        if abs(over) > 1e-9 and before < found.ceiling - 1e-9 and before > 1e-12:
            assert (found.multiplier > before) == (over > 0)


def test_the_multiplier_follows_the_gradient_waits_and_survives():
    found = Lagrangian(1.0, rate=0.1, threshold=0.5, delay=1)
    found.update([1.5])
    assert found.multiplier == 1.0
    found.update([1.5])
    assert found.multiplier == pytest.approx(
        math.exp(0.1 * 1.0 * 1.0)
    )  # d/d(log lambda) of lambda (J_C - d)
    other = Lagrangian(3.0, rate=0.1, threshold=0.5, delay=1)
    other.load(found.state())
    for each in (found, other):
        each.update([0.1])
    assert other.multiplier == found.multiplier and other.costs == found.costs


def test_the_multiplier_stays_above_zero_however_low_the_costs_are():
    found = Lagrangian(5.0, rate=0.1)
    for _ in range(3):
        found.update([-1e6])
        assert 0 < found.multiplier < 1e-300
    other = Lagrangian(5.0)
    other.load(found.state())
    other.update([1.0])
    assert other.multiplier > 0


def test_the_mix_is_the_rewards_advantage_at_zero_and_the_costs_in_the_limit():
    reward, cost = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    torch.testing.assert_close(Lagrangian(1e-300).mix(reward, cost), reward)
    torch.testing.assert_close(Lagrangian(1e12).mix(reward, cost), -cost, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize(
    "option",
    [
        *(
            {"kl_horizon": 0},
            {"kl_target": 2.0, "beta": 0.0},
            {"beta": -0.1},
            {"value_coefficient": -1.0},
            {"value_clip": 0.0},
        ),
        *(
            {"value_learning_rate": 0.0},
            {"score_clip": -1.0},
            {"lambda_rate": -0.1},
            {"cost_window": 0},
            {"cost_delay": -1},
        ),
    ],
)
def test_options_that_would_turn_a_sign_divide_by_zero_or_say_nothing_are_refused(option, tmp_path):
    from stages.training.online.ppo_config import PPOConfig

    common = {"output_dir": str(tmp_path), "report_to": "none", "use_cpu": True, "bf16": False}
    with pytest.raises(ValueError, match=f"{list(option)[-1]} must be"):
        PPOConfig(**common, **option)
