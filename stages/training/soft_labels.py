"""TRL's DPO and reward trainers, taught soft labels: q = P(chosen is better) instead of certainty.

    loss = -[q log sigma(d) + (1 - q) log sigma(-d)] = -log sigma(d) + (1 - q) d

d is the difference in score between chosen and rejected: of the two rewards in a reward model
(Bradley-Terry), of beta times the log-ratios to the reference in DPO (Rafailov et al. 2023). The
second form is what the code computes: TRL's own loss, plus a term that is 0 where q is 1. It is
conservative DPO (Mitchell 2023) with a label a row, and what Constitutional AI trains its
preference model with (Bai et al. 2022, section 4.1). The least loss is at d = logit(q).

In: TRL's preference rows with a column `soft_label`. Out: TRL's trainers otherwise. Left out: soft
forms of TRL's other losses. Imported only when something is trained: torch and TRL come with it.
"""

from dataclasses import dataclass
from typing import Any

import torch
from trl import DPOTrainer, RewardTrainer

from stages.runtime.errors import UserError
from stages.training.reference import Reference

COLUMN = "soft_label"


def soft_term(difference: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """What a soft label adds to -log sigma(d): the mean of (1 - q) d.

    Args:
        difference: d, shape (pairs,).
        label: q, shape (pairs,), in [0, 1].
    """
    return ((1 - label) * difference).mean()


class _WithLabels:
    """A collator that keeps the labels beside what TRL's own collator makes."""

    def __init__(self, inner: Any):
        self.inner = inner

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch = dict(self.inner(examples))
        batch[COLUMN] = torch.tensor([example[COLUMN] for example in examples], dtype=torch.float32)
        return batch


@dataclass
class HeldOut:
    """Sums over evaluation batches, each counted with its pairs on all processes (TRL averages
    batches of unequal size).
    """

    pairs: int = 0
    right: float = 0.0
    margin: float = 0.0

    def add(self, pairs: int, accuracy: float, margin: float) -> None:
        self.pairs += pairs
        self.right += pairs * accuracy
        self.margin += pairs * margin


class SoftDPOTrainer(DPOTrainer):
    """DPOTrainer with a label a row; equal to TRL's where all labels are 1, whatever the loss.

    Raises:
        UserError: some labels are soft, and the loss cannot take them.
    """

    data_collator: Any
    precompute_ref_logps: bool

    def __init__(self, *args: Any, reference: Reference | None = None, **kwargs: Any):
        self.reference = reference  # needed by what TRL's own constructor calls
        super().__init__(*args, **kwargs)
        self.data_collator = _WithLabels(self.data_collator)
        self.held_out = HeldOut()
        self.soft = any(label < 1 for label in self.train_dataset[COLUMN])
        options = self.args
        plain = (
            options.ld_alpha is None
            and options.f_divergence_type == "reverse_kl"
            and not options.use_weighting
        )
        plain = plain and options.loss_weights in (None, [1.0])
        if self.soft and not (self.loss_types == ["sigmoid"] and plain):
            raise UserError(
                f"soft labels need the sigmoid loss; given: loss_type {', '.join(self.loss_types)}"
                + (
                    ""
                    if plain
                    else " with ld_alpha, f_divergence_type, loss_weights or use_weighting"
                ),
                where="args.loss_type",
                fix="set args.loss_type: sigmoid, or make the pairs with `label: hard`",
            )

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if COLUMN not in self._signature_columns:
            self._signature_columns.append(COLUMN)

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
        inputs = dict(inputs)
        label = inputs.pop(COLUMN)
        if not self.soft:
            loss = super()._compute_loss(model, inputs, return_outputs)
            self._keep(label)
            return loss
        seen = []

        def watched(**kwargs: Any) -> Any:
            seen.append(model(**kwargs))
            return seen[-1]

        precomputed = self.precompute_ref_logps
        if not precomputed:  # the reference is needed here too, and is not run twice
            reference = self.compute_ref_log_probs(self.ref_model or model, inputs)
            inputs["ref_chosen_logps"], inputs["ref_rejected_logps"] = reference
            self.precompute_ref_logps = True
        try:
            loss = super()._compute_loss(watched, inputs, return_outputs)
        finally:
            self.precompute_ref_logps = precomputed
        tokens = inputs["completion_mask"].size(1) - 1
        chosen, rejected = seen[0].log_probs[:, -tokens:].sum(dim=1).chunk(2)
        difference = self.beta * (
            (chosen - inputs["ref_chosen_logps"]) - (rejected - inputs["ref_rejected_logps"])
        )
        added = soft_term(difference, label)
        self._keep(label)
        return (loss[0] + added, loss[1]) if return_outputs else loss + added

    def evaluate_held_out(self) -> HeldOut:
        """Evaluate on the evaluation dataset, counting every pair once."""
        self.held_out = HeldOut()
        self.evaluate()
        return self.held_out

    def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
        if not len(dataset):
            return dataset

        def compute(part: Any) -> Any:
            return super(SoftDPOTrainer, self)._precompute_ref_logps(part, name, batch_size)

        if self.reference is None:
            return compute(dataset)
        columns, main = ("ref_chosen_logps", "ref_rejected_logps"), self.is_world_process_zero()
        return self.reference.fill(dataset, columns, self.data_collator, compute, main)

    def _keep(self, label: torch.Tensor) -> None:
        if not self.model.training:
            pairs, metrics = len(self.accelerator.gather_for_metrics(label)), self._metrics["eval"]
            self.held_out.add(
                pairs, metrics["rewards/accuracies"][-1], metrics["rewards/margins"][-1]
            )


class SoftRewardTrainer(RewardTrainer):
    """RewardTrainer with a label a row; equal to TRL's where all labels are 1."""

    data_collator: Any

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.data_collator = _WithLabels(self.data_collator)
        self.held_out = HeldOut()

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if COLUMN not in self._signature_columns:
            self._signature_columns.append(COLUMN)

    def evaluate_held_out(self) -> HeldOut:
        """Evaluate on the evaluation dataset, counting every pair once."""
        self.held_out = HeldOut()
        self.evaluate()
        return self.held_out

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        inputs = dict(inputs)
        label = inputs.pop(COLUMN)
        loss, outputs = super().compute_loss(
            model, inputs, return_outputs=True, num_items_in_batch=num_items_in_batch
        )
        chosen, rejected = outputs.logits.squeeze(-1).chunk(2)
        loss = loss + soft_term(chosen - rejected, label)
        self._keep(chosen - rejected)
        return (loss, outputs) if return_outputs else loss

    @torch.no_grad()
    def _keep(self, differences: torch.Tensor) -> None:
        """Count pairs by how much better the chosen side is; those that fill up the last batch
        count once.
        """
        if not self.model.training:
            every = self.accelerator.gather_for_metrics(differences.float())
            self.held_out.add(len(every), (every > 0).float().mean().item(), every.mean().item())
