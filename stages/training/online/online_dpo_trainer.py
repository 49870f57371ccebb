"""TRL's online DPO with every term logged, and without a gradient from a pair that lacks a reward.

TRL's own logs the sum of the terms only, and treats a missing term as 0. Imported only when
something is trained.
"""

import math
from typing import Any

import torch
from trl.experimental.online_dpo import OnlineDPOTrainer

from stages.training.online.callbacks import is_whole, missing_shares

MEANS_OVER_PAIRS = (
    "rewards/chosen",
    "rewards/rejected",
    "rewards/margins",
    "rewards/accuracies",
    "logps/chosen",
    "logps/rejected",
    "objective/scores_margin",
)
"""What TRL logs of a batch's pairs; a pair without a reward is a 0 in each."""


class ScoredPairsTrainer(OnlineDPOTrainer):
    """A batch holds first answers to all prompts, then the second ones."""

    sampled_mask: torch.Tensor
    """1 on the sampled tokens, shape (completions, tokens)."""
    scored: float
    """The fraction of pairs with a reward on both sides, over all processes."""

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """Log the means over the pairs that have a reward."""
        loss = super().training_step(*args, **kwargs)
        for name in MEANS_OVER_PAIRS:
            self.stats[name][-1] *= 1 / self.scored if self.scored else math.nan
        return loss

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        rollout = super()._generate(*args, **kwargs)
        self.sampled_mask = rollout[3]
        return rollout

    def _generate_vllm(self, *args: Any, **kwargs: Any) -> Any:
        rollout = super()._generate_vllm(*args, **kwargs)
        self.sampled_mask = rollout[3]
        return rollout

    def _calculate_rewards_from_functions(
        self, prompts: Any, completions: Any, completion_ids_list: Any, **columns: Any
    ) -> torch.Tensor:
        """The weighted sum of the terms, shape (completions,).

        A pair without a reward on some side gets the mean of the others twice: no side is better,
        and what TRL logs is the mean of the pairs that it learns from.
        """
        end_tokens = set(self.eos_token_ids)
        tokens = [sampled_tokens(ids, end_tokens) for ids in completion_ids_list]
        table = torch.zeros(len(prompts), len(self.reward_funcs), device=self.accelerator.device)
        for column, function in enumerate(self.reward_funcs):
            scores = function(
                prompts=prompts,
                completions=completions,
                completion_ids=tokens,
                trainer_state=self.state,
                log_metric=self._log_value,
                **columns,
            )
            filled = [torch.nan if score is None else score for score in scores]
            table[:, column] = torch.tensor(filled)
            mean = table[:, column].nanmean()
            self._log_value(f"rewards/{function.__name__}/mean", mean.item())
        weights = self.reward_weights.to(table.device)
        terms = [function.__name__ for function in self.reward_funcs]
        counts = weights != 0
        for name, value in missing_shares(table, terms, counts):
            self._log_value(name, value)
        # Both sides' log-probabilities become 0: a pair without a gradient.
        unscored = rows_of_unscored_pairs(is_whole(table, counts).tolist())
        self.sampled_mask[unscored] = 0
        pairs = torch.tensor([len(unscored) / len(prompts)], device=table.device)
        self.scored = 1 - self.accelerator.gather(pairs).mean().item()
        rewards = (table * weights).nansum(dim=1)
        rewards[unscored] = torch.nan
        rewards[unscored] = rewards.nanmean()
        return rewards

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Leave steps without a value out of each mean that is logged."""
        for name, values in self.stats.items():
            self.stats[name] = [value for value in values if not math.isnan(value)] or values[:1]
        return super()._maybe_log_save_evaluate(*args, **kwargs)

    def log(self, logs: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        super().log(without_nan(logs), *args, **kwargs)

    def _log_value(self, name: str, value: float) -> None:
        self.stats.setdefault(name, []).append(value)


def without_nan(logs: dict[str, Any]) -> dict[str, Any]:
    """Logs with None where there is no value, as TRL's other trainers have it; a loss stays."""
    empty = {name for name, value in logs.items() if value != value and name != "loss"}
    return {name: None if name in empty else value for name, value in logs.items()}


def sampled_tokens(ids: list[int], end_tokens: set[int]) -> list[int]:
    """A completion's tokens up to its end of turn, without padding."""
    for place, token in enumerate(ids):
        if token in end_tokens:
            return ids[: place + 1]
    return ids


def rows_of_unscored_pairs(scored: list[bool]) -> list[int]:
    """Rows of the pairs that lack a reward on one side, first answers first."""
    half = len(scored) // 2
    rows = [row for row in range(half) if not (scored[row] and scored[row + half])]
    return rows + [row + half for row in rows]
