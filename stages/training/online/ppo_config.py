"""The options of PPO: TRL's GRPOConfig, whose rollouts, clipping and batches PPO shares, and what
PPO adds to it.
"""

from dataclasses import dataclass

from trl import GRPOConfig

AT_LEAST = {
    "beta": 0,
    "kl_horizon": 1,
    "value_coefficient": 0,
    "lambda_rate": 0,
    "cost_window": 1,
    "cost_delay": 0,
}
ABOVE_ZERO = ("kl_target", "value_clip", "value_learning_rate", "score_clip", "lambda_init")
FRACTIONS = ("gamma", "lam")


@dataclass
class PPOConfig(GRPOConfig):
    """Options of the trainer.

    A rollout is `steps_per_generation` batches, learnt from `num_iterations` times. Fields of
    GRPOConfig that mean here what they mean in PPO: `epsilon` clips the policy's ratio,
    `num_iterations` is the number of epochs a rollout, `temperature` and `max_completion_length`
    are those of the rollouts.
    """

    num_generations: int | None = 1
    """Completions of each prompt; PPO needs no groups."""
    loss_type: str = "dapo"
    beta: float = 0.05
    """Coefficient of the KL term in each token's reward; 0 keeps no reference."""
    kl_estimator: str = "k1"
    """Of each token's KL: `k1` is log pi - log pi_ref; `clamped` is never below 0 (SALMON)."""
    kl_target: float | None = None
    """In nats a completion; the coefficient is steered towards it (Ziegler et al. 2019)."""
    kl_horizon: int = 10_000
    """Completions over which the coefficient is steered."""
    gamma: float = 1.0
    """Discount of later tokens."""
    lam: float = 0.95
    """Lambda of generalised advantage estimation."""
    value_coefficient: float = 0.1
    """Coefficient of the value loss."""
    value_clip: float | None = 0.2
    """How far a value can move from its value at rollout; None for no bound."""
    value_learning_rate: float | None = None
    """None: the policy's learning rate."""
    whiten_rewards: bool = False
    """Scale the tokens' rewards to unit variance; their mean stays."""
    score_clip: float | None = None
    """A completion's score is clipped to [-score_clip, score_clip]; None for no bounds."""
    lambda_init: float = 1.0
    """The multiplier of the constraint at the start, where there are costs."""
    lambda_rate: float = 0.1
    """Rate of the gradient ascent on the multiplier's logarithm."""
    lambda_max: float = 5.0
    """The largest value of the multiplier."""
    cost_threshold: float = 0.0
    """Of the constraint: mean cost <= threshold."""
    cost_window: int = 128
    """Completions in the mean cost."""
    cost_delay: int = 0
    """Rollouts before the multiplier moves."""

    def __post_init__(self) -> None:
        self._check_values()
        # GRPO needs groups, PPO does not: use a number that passes GRPO's checks, and restore 1.
        single = self.num_generations == 1
        if single:
            pair = max(2, self.per_device_train_batch_size)
            self.num_generations = self.generation_batch_size or pair
        super().__post_init__()
        if single:
            self.num_generations = 1

    def _check_values(self) -> None:
        """Refuse what would flip a sign, divide by zero or have no effect.

        Raises:
            ValueError: naming the option.
        """
        for name, least in AT_LEAST.items():
            self._require(name, getattr(self, name) >= least, f"at least {least}")
        for name in ABOVE_ZERO:
            value = getattr(self, name)
            self._require(name, value is None or value > 0, "above 0")
        for name in FRACTIONS:
            self._require(name, 0 <= getattr(self, name) <= 1, "in [0, 1]")
        self._require("num_generations", (self.num_generations or 0) >= 1, "at least 1")
        is_valid = self.kl_estimator in ("k1", "clamped")
        self._require("kl_estimator", is_valid, "k1 or clamped")
        self._require("lambda_max", self.lambda_max >= self.lambda_init, "at least lambda_init")
        if self.kl_target is not None:
            self._require("beta", self.beta > 0, "above 0 with a kl_target")

    def _require(self, name: str, fulfilled: bool, requirement: str) -> None:
        if not fulfilled:
            raise ValueError(f"{name} must be {requirement}, not {getattr(self, name)!r}")
