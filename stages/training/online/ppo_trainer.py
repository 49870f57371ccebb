"""PPO as a thin subclass of TRL's GRPOTrainer: a value model, the KL in each token's reward, and
GAE.

TRL's GRPOTrainer makes the rollouts (transformers or vLLM), the old and the reference
log-probabilities, clips the ratio and works in several processes; its loss takes advantages of
shape (completions, tokens). What PPO adds is here: Schulman et al. 2017 (arXiv 1707.06347) in the
form of Ziegler et al. 2019 (arXiv 1909.08593). With costs it is PPO-Lagrangian as in Safe RLHF (Dai
et al. 2023, arXiv 2310.12773): a value model of the costs, half of the KL term on each side, and
the mix of both advantages. Imported only when something is trained.
"""

import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from trl import GRPOTrainer

from stages.training.online.ppo_math import (
    KLController,
    Lagrangian,
    gae,
    token_rewards,
    value_loss,
    whiten,
)
from stages.training.online.watching import Resumable

STATE = "ppo_state.json"


class ValueModel(nn.Module):
    """The trunk of a scalar model, read at every token."""

    def __init__(self, scalar: Any):
        super().__init__()
        self.trunk = scalar.base_model
        self.head = nn.Linear(scalar.config.get_text_config().hidden_size, 1, dtype=scalar.dtype)
        nn.init.zeros_(self.head.bias)
        with torch.no_grad():
            self.head.weight.copy_(scalar.score.weight)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Values of shape (completions, tokens), in float32."""
        hidden = self.trunk(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return self.head(hidden).squeeze(-1).float()


class PPOTrainer(Resumable, GRPOTrainer):
    """Args:
    value_models: `reward`, and `cost` where there are costs; scalar models to start from.
    costs: names of those reward functions that are costs, and their weights.
    """

    beta: float

    def __init__(
        self,
        *args: Any,
        value_models: dict[str, Any],
        costs: dict[str, float] | None = None,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        options = self.args
        self.kl = KLController(options.beta, options.kl_target, options.kl_horizon)
        self.cost_weights = torch.tensor(
            [(costs or {}).get(name, 0.0) for name in self.reward_func_names]
        )
        self.is_cost = torch.tensor([name in (costs or {}) for name in self.reward_func_names])
        self.lagrangian = Lagrangian(
            options.lambda_init, options.lambda_rate, options.lambda_max, options.cost_threshold, options.cost_window,
            options.cost_delay,
        ) if costs else None  # fmt: skip
        # Prepared, and called through its wrapper: called through inner modules, the ranks' weights
        # drift apart.
        self.value_models = {
            name: self.accelerator.prepare_model(ValueModel(m)) for name, m in value_models.items()
        }

    # -- rollouts

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        rewards = super()._calculate_rewards(*args, **kwargs)
        self._rewards = rewards.view(self.accelerator.num_processes, -1, rewards.size(1))[
            self.accelerator.process_index
        ]
        return rewards

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        batch = super()._generate_and_score_completions(inputs)
        with torch.no_grad():
            self._credit(batch)
        return batch

    def _credit(self, batch: dict[str, Any]) -> None:
        """Replace the sequence's advantage by one a token, and add what the value loss needs."""
        mask = batch["completion_mask"].float()
        if (
            batch.get("old_per_token_logps") is None
        ):  # GRPO leaves it out where a batch is learnt from only once
            batch["old_per_token_logps"] = self._logps_at_rollout(batch)
        kl = torch.zeros_like(mask)
        if self.beta:
            kl = (batch["old_per_token_logps"] - batch["ref_per_token_logps"]) * mask
        per_completion = self._mean(kl.sum(dim=1))
        self._note("kl_per_completion", per_completion)
        if self.args.kl_estimator == "clamped":
            kl = kl.clamp(min=0)
        scored = self._scored()
        scores = {"reward": (self._rewards * self.reward_weights.to(mask.device)).nansum(dim=1)}
        if self.lagrangian:
            costs = (self._rewards * self.cost_weights.to(mask.device)).nansum(dim=1)
            scores["cost"] = costs
            every = self.accelerator.gather(
                costs.masked_fill(~scored, torch.nan)
            )  # as many from every process
            known = every[~torch.isnan(every)]
            self.lagrangian.update(known.tolist())
            self._note("lambda", self.lagrangian.multiplier)
            self._note("cost", float(known.mean()) if len(known) else math.nan)
        advantages = {}
        for name, score in scores.items():
            if self.args.score_clip is not None:
                score = score.clamp(-self.args.score_clip, self.args.score_clip)
            values = self._values_at_rollout(name, batch) * mask
            advantages[name], returns = self._advantages(
                name, score, kl, values, mask * scored.unsqueeze(1)
            )
            batch[f"{name}_values"] = values
            batch[f"{name}_returns"] = torch.where(scored.unsqueeze(1), returns, values)
        mixed = (
            self.lagrangian.mix(advantages["reward"], advantages["cost"])
            if self.lagrangian
            else advantages["reward"]
        )
        batch["advantages"] = mixed
        self._note("kl_coefficient", self.kl.coefficient)
        self.kl.update(per_completion, len(kl) * self.accelerator.num_processes)

    def _scored(self) -> torch.Tensor:
        """Which completions some reward could tell about and, where there are costs, some cost too."""
        known, costs = ~torch.isnan(self._rewards), self.is_cost.to(self._rewards.device)
        return known[:, ~costs].any(dim=1) & (known[:, costs].any(dim=1) | ~costs.any())

    def _advantages(
        self,
        name: str,
        score: torch.Tensor,
        kl: torch.Tensor,
        values: torch.Tensor,
        mask: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Whitened advantages and the returns of one value model."""
        share = (
            0.5 if self.lagrangian else 1.0
        )  # half of the KL term is taken from the reward, half is added to the cost
        coefficient = self.kl.coefficient * share * (1 if name == "reward" else -1)
        rewards = token_rewards(score, kl, mask, coefficient)
        if self.args.whiten_rewards and name == "reward":
            rewards = whiten(rewards, *self._moments(rewards, mask), shift=False) * mask
        advantages, returns = gae(rewards, values * mask, mask, self.args.gamma, self.args.lam)
        return whiten(advantages, *self._moments(advantages, mask)) * mask, returns

    def _logps_at_rollout(self, batch: dict[str, Any]) -> torch.Tensor:
        ids, attention = _whole(batch)
        size = self.args.per_device_train_batch_size
        kept = batch["completion_ids"].size(1)
        return self._get_per_token_logps_and_entropies(
            self.model, ids, attention, kept, batch_size=size
        )[0]

    def _values_at_rollout(self, name: str, batch: dict[str, Any]) -> torch.Tensor:
        ids, attention = _whole(batch)
        kept, size = batch["completion_ids"].size(1), self.args.per_device_train_batch_size
        model = self.value_models[name]
        parts = [model(i, a) for i, a in zip(ids.split(size), attention.split(size), strict=True)]
        return torch.cat(parts)[:, -kept - 1 : -1]

    # -- learning

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        beta, self.beta = self.args.beta, 0.0  # the KL is in the rewards
        try:
            loss = super()._compute_loss(model, inputs)
        finally:
            self.beta = beta
        mask = inputs["completion_mask"]
        accumulated = self.current_gradient_accumulation_steps if self.model.training else 1
        tokens = (
            inputs["num_items_in_batch"].clamp(min=1)
            / self.accelerator.num_processes
            / self.args.steps_per_generation
        )
        for name, value_model in self.value_models.items():
            values = value_model(*_whole(inputs))[:, -mask.size(1) - 1 : -1]
            old, returns = inputs[f"{name}_values"], inputs[f"{name}_returns"]
            error = (value_loss(values, old, returns, self.args.value_clip) * mask).sum() / tokens
            self._note(
                "value_loss" if name == "reward" else f"{name}_value_loss",
                self._mean(error.detach()),
            )
            loss = loss + self.args.value_coefficient * error / accumulated
        return loss

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        new = self.optimizer is None
        optimizer = super().create_optimizer(*args, **kwargs)
        if new:
            rate = self.args.value_learning_rate or self.args.learning_rate
            parameters = [
                p
                for model in self.value_models.values()
                for p in model.parameters()
                if p.requires_grad
            ]
            optimizer.add_param_group(
                {"params": parameters, "lr": rate, "weight_decay": self.args.weight_decay}
            )
            optimizer.register_step_post_hook(self._forget_gradients)
        return optimizer

    def _forget_gradients(self, *_: Any) -> None:
        """The Trainer clears the policy's gradients only; left alone, the value models' would add
        up for ever.
        """
        for value_model in self.value_models.values():
            value_model.zero_grad()

    def _clip_grad_norm(self, model: Any) -> Any:
        for value_model in self.value_models.values():
            self.accelerator.clip_grad_norm_(value_model.parameters(), self.args.max_grad_norm)
        return super()._clip_grad_norm(model)

    # -- checkpoints

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        if self.is_world_process_zero():
            folder = (
                Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
            )
            for name, value_model in self.value_models.items():
                weights = self.accelerator.unwrap_model(value_model).state_dict()
                save_file(
                    {key: tensor.contiguous() for key, tensor in weights.items()},
                    folder / f"value_{name}.safetensors",
                )
            state = {
                "kl": self.kl.state(),
                "lagrangian": self.lagrangian.state() if self.lagrangian else None,
            }
            (folder / STATE).write_text(json.dumps(state), encoding="utf-8")

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        folder = Path(resume_from_checkpoint)
        for name, value_model in self.value_models.items():
            self.accelerator.unwrap_model(value_model).load_state_dict(
                load_file(folder / f"value_{name}.safetensors")
            )
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        self.kl.load(state["kl"])
        if self.lagrangian:
            self.lagrangian.load(state["lagrangian"])

    # -- sums over all processes

    def _mean(self, values: torch.Tensor) -> float:
        return float(self.accelerator.gather(values.float().mean()).mean())

    def _moments(
        self, values: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        count = self.accelerator.reduce(mask.sum(), reduction="sum").clamp(min=1)
        mean = self.accelerator.reduce((values * mask).sum(), reduction="sum") / count
        spread = (
            self.accelerator.reduce((((values - mean) ** 2) * mask).sum(), reduction="sum") / count
        )
        return mean, spread

    def _note(self, name: str, value: float) -> None:
        self._metrics["train" if self.model.training else "eval"][name].append(float(value))


def _whole(batch: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Prompt and completion together: ids and attention mask."""
    return (
        torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1),
        torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1),
    )
