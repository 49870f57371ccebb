"""The options of PPO: TRL's GRPOConfig, whose rollouts, clipping and batches PPO shares, and what
PPO adds to it.
"""

from dataclasses import dataclass, field
from typing import Any

from trl import GRPOConfig


@dataclass
class PPOConfig(GRPOConfig):
    """Options of the trainer; a rollout is `steps_per_generation` batches, learnt from
    `num_iterations` times.

    Fields of GRPOConfig that mean here what they mean in PPO: `epsilon` clips the policy's ratio,
    `num_iterations` is the number of epochs a rollout, `temperature` and `max_completion_length`
    are those of the rollouts. Fields that Credo sets: `beta` is the coefficient of the KL term in
    each token's reward, `num_generations` may be 1.

    Args:
        beta: coefficient of the KL term; 0 keeps no reference.
        kl_estimator: of each token's KL: `k1` is log pi - log pi_ref; `clamped` is the same, but
            never below 0 (SALMON).
        kl_target: in nats a completion; given, the coefficient is steered towards it (Ziegler et
            al. 2019).
        kl_horizon: completions over which it is steered.
        gamma: discount of later tokens.
        lam: lambda of generalised advantage estimation.
        value_coefficient: of the value loss.
        value_clip: how far a value may move from that at rollout; None for no bound.
        value_learning_rate: None for that of the policy.
        whiten_rewards: scale the tokens' rewards to unit variance; their mean stays.
        score_clip: a completion's score is held within [-score_clip, score_clip]; None for no
            bounds.
        lambda_init, lambda_rate, lambda_max, cost_threshold, cost_window, cost_delay: of the
            constraint, where there are costs (see `ppo_math.Lagrangian`).
    """

    num_generations: int | None = field(default=1)
    beta: float = field(default=0.05)
    loss_type: str = field(default="dapo")
    kl_estimator: str = field(default="k1", metadata={"choices": ["k1", "clamped"]})
    kl_target: float | None = field(default=None)
    kl_horizon: int = field(default=10_000)
    gamma: float = field(default=1.0)
    lam: float = field(default=0.95)
    value_coefficient: float = field(default=0.1)
    value_clip: float | None = field(default=0.2)
    value_learning_rate: float | None = field(default=None)
    whiten_rewards: bool = field(default=False)
    score_clip: float | None = field(default=None)
    lambda_init: float = field(default=1.0)
    lambda_rate: float = field(default=0.1)
    lambda_max: float = field(default=5.0)
    cost_threshold: float = field(default=0.0)
    cost_window: int = field(default=128)
    cost_delay: int = field(default=0)

    def __post_init__(self) -> None:
        bounds: dict[str, tuple[Any, bool]] = {
            "kl_estimator": ("k1 or clamped", self.kl_estimator in ("k1", "clamped")),
            "gamma": ("in [0, 1]", 0 <= self.gamma <= 1),
            "lam": ("in [0, 1]", 0 <= self.lam <= 1),
            "lambda_init": ("above 0", self.lambda_init > 0),
            "lambda_max": ("at least lambda_init", self.lambda_max >= self.lambda_init),
            "beta": (
                "at least 0, and above it with a kl_target",
                self.beta > 0 or (self.beta == 0 and self.kl_target is None),
            ),
            "kl_target": ("above 0", self.kl_target is None or self.kl_target > 0),
            "kl_horizon": ("at least 1", self.kl_horizon >= 1),
            "value_coefficient": ("at least 0", self.value_coefficient >= 0),
            "value_clip": ("above 0", self.value_clip is None or self.value_clip > 0),
            "value_learning_rate": (
                "above 0",
                self.value_learning_rate is None or self.value_learning_rate > 0,
            ),
            "score_clip": ("above 0", self.score_clip is None or self.score_clip > 0),
            "lambda_rate": ("at least 0", self.lambda_rate >= 0),
            "cost_window": ("at least 1", self.cost_window >= 1),
            "cost_delay": ("at least 0", self.cost_delay >= 0),
            "num_generations": ("at least 1", (self.num_generations or 0) >= 1),
        }
        for name, (wanted, kept) in bounds.items():
            if not kept:
                raise ValueError(f"{name} must be {wanted}, not {getattr(self, name)!r}")
        single = self.num_generations == 1
        # GRPO needs groups, PPO does not: a number that GRPO's checks let pass, until they are over
        if single:
            self.num_generations = self.generation_batch_size or max(
                2, self.per_device_train_batch_size
            )
        super().__post_init__()
        if single:
            self.num_generations = 1
