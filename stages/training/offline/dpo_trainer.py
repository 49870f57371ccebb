"""TRL's DPO trainer with soft labels (`soft_labels.py`) and a memory for its reference.

In: TRL's preference rows with a column `soft_label`. Out: TRL's DPOTrainer otherwise. Imported only
when something is trained: torch and TRL come with it.
"""

from collections.abc import Sequence
from typing import Any

import torch
from trl import DPOTrainer

from stages.guards.errors import UserError
from stages.training.offline.reference import RemembersReference
from stages.training.soft_labels import COLUMN, SoftLabelled, soft_term


class SoftDPOTrainer(RemembersReference, SoftLabelled, DPOTrainer):
    """DPOTrainer with a label a row; equal to TRL's where all labels are 1, with any loss.

    Raises:
        UserError: some labels are soft, and the loss cannot take them.
    """

    precompute_ref_logps: bool

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.soft = any(label < 1 for label in self.train_dataset[COLUMN])
        if self.soft:
            self._refuse_other_losses()

    def reference_columns(self) -> Sequence[str]:
        return ("ref_chosen_logps", "ref_rejected_logps")

    def _refuse_other_losses(self) -> None:
        options = self.args
        plain = (
            options.ld_alpha is None
            and options.f_divergence_type == "reverse_kl"
            and not options.use_weighting
            and options.loss_weights in (None, [1.0])
        )
        if self.loss_types == ["sigmoid"] and plain:
            return
        others = "" if plain else " with ld_alpha, f_divergence_type, loss_weights or use_weighting"
        raise UserError(
            "soft labels need the sigmoid loss; given: "
            f"loss_type {', '.join(self.loss_types)}{others}",
            where="args.loss_type",
            fix="set args.loss_type: sigmoid, or make the pairs with `label: hard`",
        )

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
        inputs = dict(inputs)
        label = inputs.pop(COLUMN)
        if self.soft:
            loss = self._soft_loss(model, inputs, label, return_outputs)
        else:
            loss = super()._compute_loss(model, inputs, return_outputs)
        self._count_held_out(label)
        return loss

    def _soft_loss(
        self, model: Any, inputs: dict[str, Any], label: torch.Tensor, return_outputs: bool
    ) -> Any:
        outputs = []

        def recorded(**kwargs: Any) -> Any:
            outputs.append(model(**kwargs))
            return outputs[-1]

        precomputed = self.precompute_ref_logps
        if not precomputed:
            # The reference is needed here too, and is not run twice.
            reference = self.compute_ref_log_probs(self.ref_model or model, inputs)
            inputs["ref_chosen_logps"], inputs["ref_rejected_logps"] = reference
            self.precompute_ref_logps = True
        try:
            loss = super()._compute_loss(recorded, inputs, return_outputs)
        finally:
            self.precompute_ref_logps = precomputed
        tokens = inputs["completion_mask"].size(1) - 1
        chosen, rejected = outputs[0].log_probs[:, -tokens:].sum(dim=1).chunk(2)
        chosen_ratio = chosen - inputs["ref_chosen_logps"]
        rejected_ratio = rejected - inputs["ref_rejected_logps"]
        term = soft_term(self.beta * (chosen_ratio - rejected_ratio), label)
        return (loss[0] + term, loss[1]) if return_outputs else loss + term

    def _count_held_out(self, label: torch.Tensor) -> None:
        """Add the batch's pairs to the held-out sums, by the metrics that TRL has just computed."""
        if self.model.training:
            return
        pairs = len(self.accelerator.gather_for_metrics(label))
        metrics = self._metrics["eval"]
        accuracy = metrics["rewards/accuracies"][-1]
        self.held_out.add(pairs, accuracy, metrics["rewards/margins"][-1])
