"""TRL's KTO trainer, which finds the reference's log-probabilities again and tells how held-out
answers fare.

In: TRL's unpaired preference rows with `id`. Out: TRL's KTOTrainer otherwise. Imported only when
something is trained: torch and TRL come with it.
"""

from itertools import product
from typing import Any

import torch
from trl import KTOTrainer

from stages.runtime.artifacts import canonical
from stages.training.reference import Reference
from stages.training.soft_labels import HeldOut


class RememberingKTOTrainer(KTOTrainer):
    """KTOTrainer with a memory for its frozen reference."""

    def __init__(self, *args: Any, reference: Reference | None, **kwargs: Any):
        self.reference = reference  # needed by what TRL's own constructor calls
        super().__init__(*args, **kwargs)

    def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
        def compute(part: Any) -> Any:
            return super(RememberingKTOTrainer, self)._precompute_ref_logps(part, name, batch_size)

        if self.reference is None or not len(dataset):
            return compute(dataset) if len(dataset) else dataset
        columns = ("ref_logps", "ref_KL_logps") if self.calculate_KL else ("ref_logps",)
        return self.reference.fill(
            dataset, columns, self.data_collator, compute, self.is_world_process_zero()
        )

    @torch.no_grad()
    def evaluate_held_out(self) -> HeldOut:
        """Compare every desirable answer of the evaluation dataset with every undesirable one to
        the same prompt.
        """
        found, rewards = HeldOut(), dict[str, tuple[list[float], list[float]]]()
        self.model.eval()
        size = self.args.per_device_eval_batch_size
        for start in range(0, len(self.eval_dataset), size):
            examples = [
                self.eval_dataset[i]
                for i in range(start, min(start + size, len(self.eval_dataset)))
            ]
            for example, reward in zip(examples, self._rewards(examples), strict=True):
                bad_and_good = rewards.setdefault(canonical(example["prompt"]), ([], []))
                bad_and_good[bool(example["label"])].append(reward)
        for bad, good in rewards.values():
            for worse, better in product(bad, good):
                found.add(1, float(better > worse), better - worse)
        return found

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
