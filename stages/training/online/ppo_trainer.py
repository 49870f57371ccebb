"""PPO as a thin subclass of TRL's GRPOTrainer: value models, KL in each token's reward, and GAE.

TRL's GRPOTrainer makes the rollouts (transformers or vLLM), the old and the reference
log-probabilities, clips the ratio and works in several processes; its loss takes advantages of
shape (completions, tokens). What PPO adds is here and in `value_trainer.py`: Schulman et al. 2017
(arXiv 1707.06347) in the form of Ziegler et al. 2019 (arXiv 1909.08593). With costs it is
PPO-Lagrangian as in Safe RLHF (Dai et al. 2023, arXiv 2310.12773): a value model of the costs, half
of the KL term on each side, and the mix of both advantages.

The mix is of raw advantages, A = (A_R - lambda A_C) / (1 + lambda), and A is whitened, once: if
each side were whitened before, the noise of a nearly constant cost would be blown up to the size of
the reward's signal. Lambda moves once a rollout, before the rollout's advantages are mixed. The
ratio is clipped as in PPO (`epsilon`), scores only with `score_clip` (the authors' code: 50, of
reward and cost alike), values by `value_clip` (theirs: 5). The authors add a loss on supervised
texts (PTX); there is none here. Imported only when something is trained.
"""

import json
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from stages.training.online.callbacks import is_whole
from stages.training.online.ppo_math import KLController, Lagrangian, gae, token_rewards, whiten
from stages.training.online.terms import Term
from stages.training.online.value_trainer import ValueTrainer

STATE = "ppo_state.json"


class PPOTrainer(ValueTrainer):
    """Learns from two sides where there are costs, `reward` and `cost`, else from `reward` alone.

    Args:
        value_models: a scalar model to start from, by side.
        costs: those terms among the reward functions that are costs.
    """

    beta: float

    def __init__(self, *args: Any, costs: Mapping[str, Term], **kwargs: Any):
        super().__init__(*args, **kwargs)
        options = self.args
        self.kl = KLController(options.beta, options.kl_target, options.kl_horizon)
        self.term_weights = {"reward": self.reward_weights}
        self.kl_shares = {"reward": 1.0}
        self.lagrangian: Lagrangian | None = None
        if costs:
            names = self.reward_func_names
            weights = [costs[name].weight if name in costs else 0.0 for name in names]
            self.term_weights["cost"] = torch.tensor(weights)
            # Half of the KL term is taken from the reward, half is added to the cost.
            self.kl_shares = {"reward": 0.5, "cost": -0.5}
            self.lagrangian = Lagrangian(
                multiplier=options.lambda_init,
                rate=options.lambda_rate,
                ceiling=options.lambda_max,
                threshold=options.cost_threshold,
                window=options.cost_window,
                delay=options.cost_delay,
            )

    # -- rollouts

    def counted_terms(self) -> torch.Tensor:
        weights = torch.stack(list(self.term_weights.values()))
        return (weights != 0).any(dim=0)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Replace a completion's advantage by one a token, and add what the value losses need."""
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)
        with torch.no_grad():
            mask = batch["completion_mask"].float()
            # A completion needs every term of its reward and, where there are costs, of its cost.
            scored = is_whole(self.rewards, self.counted_terms())
            kl = self._kl_to_reference(batch, mask)
            per_completion = self._mean_of_scored(kl.sum(dim=1), scored)
            if self.args.kl_estimator == "clamped":
                kl = kl.clamp(min=0)
            advantages = {}
            for side, weights in self.term_weights.items():
                score = (self.rewards * weights.to(mask.device)).nansum(dim=1)
                if side == "cost":
                    self._update_multiplier(score, scored)
                advantages[side] = self._advantages(side, score, kl, scored, batch)
            mixed = advantages["reward"]
            if self.lagrangian:
                mixed = self.lagrangian.mix(mixed, advantages["cost"])
            learnt = mask * scored.unsqueeze(1)
            batch["advantages"] = whiten(mixed, *self._moments(mixed, learnt)) * learnt
            self._log_value("kl_per_completion", per_completion)
            self._log_value("kl_coefficient", self.kl.coefficient)
            if not math.isnan(per_completion):
                self.kl.update(per_completion, len(kl) * self.accelerator.num_processes)
        return batch

    def _kl_to_reference(self, batch: dict[str, Any], mask: torch.Tensor) -> torch.Tensor:
        """log pi - log pi_ref of each sampled token."""
        if batch.get("old_per_token_logps") is None:
            # GRPO leaves it out where a batch is learnt from only once.
            logps, *_ = self._get_per_token_logps_and_entropies(
                self.model,
                torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1),
                torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1),
                batch["completion_ids"].size(1),
                batch_size=self.args.per_device_train_batch_size,
            )
            batch["old_per_token_logps"] = logps
        if not self.beta:
            return torch.zeros_like(mask)
        kl: torch.Tensor = batch["old_per_token_logps"] - batch["ref_per_token_logps"]
        return kl * mask

    def _update_multiplier(self, costs: torch.Tensor, scored: torch.Tensor) -> None:
        assert self.lagrangian is not None
        # With the missing ones, so that every process sends equally many.
        gathered = self.accelerator.gather(costs.masked_fill(~scored, torch.nan))
        valid_costs = gathered[~torch.isnan(gathered)]
        self.lagrangian.update(valid_costs.tolist())
        self._log_value("lambda", self.lagrangian.multiplier)
        self._log_value("cost", float(valid_costs.mean()) if len(valid_costs) else math.nan)

    def _advantages(
        self,
        side: str,
        score: torch.Tensor,
        kl: torch.Tensor,
        scored: torch.Tensor,
        batch: dict[str, Any],
    ) -> torch.Tensor:
        """Advantages of one side, not whitened yet; its values and returns go into the batch.

        Args:
            score: the weighted sum of the side's terms, shape (completions,).
        """
        if self.args.score_clip is not None:
            score = score.clamp(-self.args.score_clip, self.args.score_clip)
        sampled = batch["completion_mask"].float()
        size = self.args.per_device_train_batch_size
        values = self.values_before_tokens(side, batch, size) * sampled
        mask = sampled * scored.unsqueeze(1)
        rewards = token_rewards(score, kl, mask, self.kl.coefficient * self.kl_shares[side])
        if self.args.whiten_rewards and side == "reward":
            rewards = whiten(rewards, *self._moments(rewards, mask), shift=False) * mask
        advantages, returns = gae(rewards, values * mask, mask, self.args.gamma, self.args.lam)
        batch[f"{side}_values"] = values
        batch[f"{side}_returns"] = torch.where(scored.unsqueeze(1), returns, values)
        return advantages

    # -- learning

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        self.beta = 0.0  # the KL is in the rewards
        try:
            loss: torch.Tensor = super()._compute_loss(model, inputs)
        finally:
            self.beta = self.args.beta
        accumulated = self.current_gradient_accumulation_steps if self.model.training else 1
        for side, error in self.value_losses(inputs).items():
            name = "value_loss" if side == "reward" else f"{side}_value_loss"
            self._log_value(name, self.accelerator.gather(error.detach()).mean())
            loss = loss + self.args.value_coefficient * error / accumulated
        return loss

    # -- checkpoints

    def save_state(self, checkpoint: Path) -> None:
        super().save_state(checkpoint)
        lagrangian = self.lagrangian.state() if self.lagrangian else None
        state = {"kl": self.kl.state(), "lagrangian": lagrangian}
        (checkpoint / STATE).write_text(json.dumps(state), encoding="utf-8")

    def load_state(self, checkpoint: Path) -> None:
        super().load_state(checkpoint)
        state = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
        self.kl.load(state["kl"])
        if self.lagrangian:
            self.lagrangian.load(state["lagrangian"])

    # -- over all processes

    def _moments(
        self, values: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and variance over the tokens of all processes."""
        total = partial(self.accelerator.reduce, reduction="sum")
        count = total(mask.sum()).clamp(min=1)
        mean = total((values * mask).sum()) / count
        return mean, total(((values - mean) ** 2 * mask).sum()) / count

    def _mean_of_scored(self, values: torch.Tensor, scored: torch.Tensor) -> float:
        """The mean over the completions of all processes that have a reward; NaN without any."""
        sums = torch.stack([(values * scored).sum(), scored.float().sum()])
        total, count = self.accelerator.reduce(sums, reduction="sum").tolist()
        return float(total / count) if count else math.nan

    def _log_value(self, name: str, value: float) -> None:
        self._metrics["train" if self.model.training else "eval"][name].append(float(value))
