"""TRL's KTO trainer, with a memory for its reference and a measure of held-out answers.

In: TRL's unpaired preference rows with `id`. Out: TRL's KTOTrainer otherwise. Imported only when
something is trained: torch and TRL come with it.
"""

from collections.abc import Sequence
from itertools import product
from typing import Any

import torch
from trl import KTOTrainer

from stages.runtime.manifest import canonical
from stages.training.held_out import HeldOut
from stages.training.offline.reference import RemembersReference


class RememberingKTOTrainer(RemembersReference, KTOTrainer):
    """KTOTrainer with a memory for its frozen reference."""

    def reference_columns(self) -> Sequence[str]:
        return ("ref_logps", "ref_KL_logps") if self.calculate_KL else ("ref_logps",)

    @torch.no_grad()
    def evaluate_held_out(self) -> HeldOut:
        """Compare every desirable answer of the evaluation dataset with every undesirable one to
        the same prompt.
        """
        rewards = dict[str, tuple[list[float], list[float]]]()
        self.model.eval()
        size = self.args.per_device_eval_batch_size
        held = list(self.eval_dataset)
        for start in range(0, len(held), size):
            examples = held[start : start + size]
            for example, reward in zip(examples, self._rewards(examples), strict=True):
                bad_and_good = rewards.setdefault(canonical(example["prompt"]), ([], []))
                bad_and_good[bool(example["label"])].append(reward)
        sums = HeldOut()
        for bad, good in rewards.values():
            for worse, better in product(bad, good):
                sums.add(1, float(better > worse), better - worse)
        return sums

    def _rewards(self, examples: list[dict[str, Any]]) -> list[float]:
        """beta log(pi / pi0) of every example."""
        batch = self._prepare_inputs(self.data_collator(examples))
        labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
        with self.accelerator.autocast():
            outputs = self.model(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                labels=labels,
                fused_lm_head=True,
            )
        policy = outputs.log_probs[:, -(labels.size(1) - 1) :].sum(1)
        if "ref_logps" in batch:
            reference = batch["ref_logps"]
        else:
            reference, _ = self.compute_ref_log_probs(self.ref_model or self.model, batch)
        return (self.beta * (policy - reference)).tolist()
