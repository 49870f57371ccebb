"""TRL's SFT trainer for Chain of Hindsight: forgetful causal masking, and whether the phrase steers
the model.

In: conversations whose completion holds two answers (`chain_of_hindsight.py`). Out: TRL's
SFTTrainer otherwise. A hidden token is hidden from all positions, its own included, and keeps its
place; the first token never is hidden, so that every position sees something. Which are hidden is
drawn from torch's own state, as dropout is, so a resumed training draws the same. Imported only
when something is trained: torch and TRL come with it.
"""

import math
from typing import Any

import torch
from datasets import Dataset
from trl import SFTTrainer

from stages.runtime.context import Context
from stages.runtime.errors import UserError
from stages.runtime.models import Model
from stages.training.arguments import build_arguments, refusals_as_user_errors
from stages.training.frame import Examples
from stages.training.held_out import HeldOut
from stages.training.model_files import load_policy
from stages.training.spans import collate_tokens, learnt_tokens


def hide(attention_mask: torch.Tensor, share: float) -> torch.Tensor:
    """The mask with each token but the first hidden with probability `share`."""
    visible = torch.rand(attention_mask.shape, device=attention_mask.device) >= share
    visible[:, 0] = True
    return attention_mask * visible


class HindsightTrainer(SFTTrainer):
    """SFTTrainer that hides past tokens in training, with held-out contrasts.

    Args:
        forget: probability with which a past token is hidden.
        contrasts: four rows a pair, see `build_hindsight_trainer`.
    """

    def __init__(self, *args: Any, forget: float, contrasts: Examples, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.forget = forget
        self.contrasts = contrasts
        # Not for the Trainer's own evaluation, which cannot use them.
        self.eval_dataset = contrasts

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        if self.forget and self.model.training:
            inputs = {**inputs, "attention_mask": hide(inputs["attention_mask"], self.forget)}
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

    @torch.no_grad()
    def evaluate_held_out(self) -> HeldOut:
        """How far the better-phrase moves log pi(chosen) - log pi(rejected) from where the
        worse-phrase has it.
        """
        sums = HeldOut()
        self.model.eval()
        size = 4 * max(1, self.args.per_device_eval_batch_size // 4)
        for start in range(0, len(self.contrasts), size):
            logps = self._logps(self.contrasts[start : start + size]).view(-1, 4)
            gains = (logps[:, 0] - logps[:, 1]) - (logps[:, 2] - logps[:, 3])
            for gain in gains.tolist():
                sums.add(1, float(gain > 0), gain)
        return sums

    def _logps(self, rows: Examples) -> torch.Tensor:
        """log pi(answer) of every row, shape (rows,)."""
        texts = [(row["input_ids"], row["labels"]) for row in rows]
        batch = self._prepare_inputs(collate_tokens(texts, self.data_collator.pad_token_id))
        with self.accelerator.autocast():
            return self.model(**batch, fused_lm_head=True).log_probs.float().sum(1)


def build_hindsight_trainer(
    config: Any, base: Model, chains: Examples, contrasts: Examples, context: Context
) -> HindsightTrainer:
    """The trainer over the base model; nothing is trained yet.

    Args:
        config: of the stage `chain_of_hindsight`.
        contrasts: held-out rows, for each pair the chosen and the rejected answer to the
            better-phrase, then to the worse.

    Raises:
        UserError: the model's attention cannot hide single tokens.
    """
    policy = load_policy(config, base, context)
    if config.forget and "flash" in str(policy["model"].config._attn_implementation):
        raise UserError(
            "flash attention cannot hide single tokens",
            where=f"step {context.step!r}",
            fix="set forget: 0, or args.model_init_kwargs: {attn_implementation: sdpa}",
        )
    variables = chains[0].get("chat_template_kwargs") if chains else None

    def tokens(row: dict[str, Any]) -> dict[str, list[int]]:
        ids, labels = learnt_tokens(
            policy["processing_class"], row["prompt"], row["completion"], variables
        )
        return {"input_ids": ids, "labels": labels}

    arguments = build_arguments("SFTConfig", config.args, context)
    held_rows = [tokens(row) for row in contrasts]
    with refusals_as_user_errors("the trainer refuses the options", context):
        return HindsightTrainer(
            **policy,
            args=arguments,
            train_dataset=Dataset.from_list([tokens(chain) for chain in chains]),
            forget=config.forget,
            contrasts=_fitting_pairs(held_rows, arguments.max_length),
        )


def _fitting_pairs(rows: Examples, max_length: int | None) -> Examples:
    """The rows of the pairs of which all four rows fit."""
    limit = max_length or math.inf
    fitting: Examples = []
    for start in range(0, len(rows), 4):
        pair = rows[start : start + 4]
        if all(len(row["input_ids"]) <= limit for row in pair):
            fitting += pair
    return fitting
