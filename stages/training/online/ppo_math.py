"""The arithmetic of PPO, on tensors of shape (completions, tokens) with a mask that is 1 on the
tokens that were sampled.

Sources: generalised advantage estimation, Schulman et al. 2016 (arXiv 1506.02438), equation 16;
clipped losses, Schulman et al. 2017 (arXiv 1707.06347); reward less KL token by token and the
adaptive coefficient, Ziegler et al. 2019 (arXiv 1909.08593), section 2.2; the multiplier of a
constraint, Dai et al. 2023 (Safe RLHF, arXiv 2310.12773), section 3.3.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import torch

LEAST_LOG = -700.0
"""Of the multiplier: exp of less is 0, which has no logarithm."""


def whiten(
    values: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor, shift: bool = True
) -> torch.Tensor:
    """Scale to unit variance and, with `shift`, to mean 0."""
    scaled = (values - mean) * torch.rsqrt(variance + 1e-8)
    return scaled if shift else scaled + mean


def token_rewards(
    score: torch.Tensor, kl: torch.Tensor, mask: torch.Tensor, coefficient: float
) -> torch.Tensor:
    """The reward of each token: less `coefficient` times its KL, and the score with the last one.

    Args:
        score: shape (completions,).
        kl: log pi - log pi_ref of each sampled token, shape (completions, tokens).
    """
    rewards = -coefficient * kl * mask
    last = (mask.sum(dim=1).long() - 1).clamp(min=0)
    earned = score * mask.any(dim=1)
    return rewards.scatter_add(1, last.unsqueeze(1), earned.unsqueeze(1))


def gae(
    rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, gamma: float, lam: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Advantages and the returns that the value model is to learn.

    What follows a completion's last token is worth 0.

    Returns:
        Two tensors of shape (completions, tokens), 0 where the mask is.
    """
    values = values * mask
    advantages = torch.zeros_like(values)
    running = torch.zeros_like(values[:, 0])
    following = torch.zeros_like(running)
    for t in reversed(range(values.size(1))):
        delta = rewards[:, t] + gamma * following - values[:, t]
        running = (delta + gamma * lam * running) * mask[:, t]
        following = values[:, t]
        advantages[:, t] = running
    return advantages, (advantages + values) * mask


def value_loss(
    values: torch.Tensor, old: torch.Tensor, returns: torch.Tensor, clip: float | None
) -> torch.Tensor:
    """Half the squared error of each token.

    Moving farther than `clip` from the value at rollout does not lower the loss.
    """
    error = (values - returns) ** 2
    if clip is not None:
        clipped = old + (values - old).clamp(-clip, clip)
        error = torch.maximum(error, (clipped - returns) ** 2)
    return 0.5 * error


@dataclass
class KLController:
    """The coefficient of the KL term: fixed, or steered towards a target."""

    coefficient: float
    """At the start."""
    target: float | None = None
    """In nats a completion; None keeps the coefficient fixed."""
    horizon: int = 10_000
    """Completions in which an error of 20 % or more changes the coefficient by 20 %."""

    def update(self, kl: float, completions: int) -> None:
        """Move by the measured KL: mean over completions of the sum over tokens."""
        if self.target is not None:
            error = min(max(kl / self.target - 1, -0.2), 0.2)
            self.coefficient *= 1 + error * completions / self.horizon

    def state(self) -> dict[str, Any]:
        return {"coefficient": self.coefficient}

    def load(self, state: dict[str, Any]) -> None:
        self.coefficient = float(state["coefficient"])


@dataclass
class Lagrangian:
    """The multiplier of the constraint E[cost] <= threshold.

    Its logarithm is learnt, so that it stays positive.
    """

    multiplier: float = 1.0
    """At the start."""
    rate: float = 0.1
    """Of the gradient ascent on log lambda."""
    ceiling: float = 5.0
    """The largest value of the multiplier."""
    threshold: float = 0.0
    """Of the mean cost."""
    window: int = 128
    """Completions in the mean."""
    delay: int = 0
    """Rollouts before it moves."""
    seen: int = 0
    """Rollouts so far."""
    costs: list[float] = field(default_factory=list)
    """Of the last completions, at most `window` of them."""

    def update(self, costs: list[float]) -> None:
        """Take a rollout's costs, and one step of ascent on lambda (mean cost - threshold)."""
        self.costs = [*self.costs, *costs][-self.window :]
        self.seen += 1
        if self.seen > self.delay and self.costs:
            excess = sum(self.costs) / len(self.costs) - self.threshold
            log_multiplier = math.log(self.multiplier) + self.rate * excess * self.multiplier
            log_multiplier = min(log_multiplier, math.log(self.ceiling))
            self.multiplier = math.exp(max(log_multiplier, LEAST_LOG))

    def mix(self, reward_advantage: torch.Tensor, cost_advantage: torch.Tensor) -> torch.Tensor:
        """(A_R - lambda A_C) / (1 + lambda): A_R for lambda 0, -A_C in the limit."""
        return (reward_advantage - self.multiplier * cost_advantage) / (1 + self.multiplier)

    def state(self) -> dict[str, Any]:
        return {"multiplier": self.multiplier, "seen": self.seen, "costs": self.costs}

    def load(self, state: dict[str, Any]) -> None:
        self.multiplier = float(state["multiplier"])
        self.seen = int(state["seen"])
        self.costs = list(state["costs"])
