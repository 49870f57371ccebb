"""TRL's SFT trainer for Chain of Hindsight: forgetful causal masking, and whether the phrase steers
the model.

In: conversations whose completion holds two answers (`chain_of_hindsight.py`). Out: TRL's
SFTTrainer otherwise. A hidden token is hidden from all positions, its own included, and keeps its
place; the first token is never hidden, so that every position sees something. Which are hidden is
drawn from torch's own state, as dropout is, so a resumed training draws the same. Imported only
when something is trained: torch and TRL come with it.
"""

from typing import Any

import torch
from trl import SFTTrainer

from stages.training.frame import Examples
from stages.training.held_out import HeldOut


def hide(attention_mask: torch.Tensor, share: float) -> torch.Tensor:
    """The mask with each token but the first hidden with probability `share`."""
    visible = torch.rand(attention_mask.shape, device=attention_mask.device) >= share
    visible[:, 0] = True
    return attention_mask * visible


class HindsightTrainer(SFTTrainer):
    """SFTTrainer that hides past tokens in training, with held-out contrasts.

    Args:
        forget: probability with which a past token is hidden.
        contrasts: held-out rows, for each pair the chosen and the rejected answer to the
            better-phrase, then to the worse.
    """

    def __init__(self, *args: Any, forget: float, contrasts: Examples, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.forget = forget
        self.contrasts = contrasts
        # Not for the Trainer's own evaluation, which cannot use them.
        self.eval_dataset = contrasts

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if self.forget and self.model.training:
            inputs = {**inputs, "attention_mask": hide(inputs["attention_mask"], self.forget)}
        return super().compute_loss(model, inputs, *args, **kwargs)

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
        batch = self._prepare_inputs(self.data_collator(rows))
        with self.accelerator.autocast():
            return self.model(**batch, fused_lm_head=True).log_probs.float().sum(1)
