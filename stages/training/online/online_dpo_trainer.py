"""TRL's online DPO with every term logged, and without a gradient from a pair that lacks a reward.

TRL's own logs the sum of the terms only, and treats a missing reward as 0. Imported only when
something is trained.
"""

from typing import Any

import torch
from trl.experimental.online_dpo import OnlineDPOTrainer


class ScoredPairsTrainer(OnlineDPOTrainer):
    """A batch holds first answers to all prompts, then the second ones."""

    sampled_mask: torch.Tensor
    """1 on the sampled tokens, shape (completions, tokens)."""

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
        """The weighted sum of the terms, shape (completions,)."""
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
            valid = [score for score in scores if score is not None]
            self._log_value(f"rewards/{function.__name__}/mean", sum(valid) / max(len(valid), 1))
            filled = [torch.nan if score is None else score for score in scores]
            table[:, column] = torch.tensor(filled)
        scored = ~table.isnan().all(dim=1)
        # Both sides' log-probabilities become 0: a pair without a gradient.
        self.sampled_mask[rows_of_unscored_pairs(scored.tolist())] = 0
        return (table * self.reward_weights.to(table.device)).nansum(dim=1)

    def _log_value(self, name: str, value: float) -> None:
        self.stats.setdefault(name, []).append(value)


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
