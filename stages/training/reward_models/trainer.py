"""TRL's reward trainer with soft labels, a count of the padding, and the cost objective of Safe
RLHF.

    cost loss = -log sigma(C_l - C_w) - log sigma(s_w C_w) - log sigma(s_l C_l)

C is the scalar, w the safer side (a Pair's `chosen`), l the other, s = +1 for an unsafe response
and -1 for a safe one: so C is below 0 exactly where a response is safe (Dai et al. 2023, arXiv
2310.12773, section 3.2; some write-ups and data sets store +1 for a safe response, we store whether
it is unsafe). With a soft label q the first term becomes its cross entropy, as in `soft_labels.py`.
Imported only when something is trained: torch and TRL come with it.
"""

from typing import Any

import torch
from torch.nn.functional import logsigmoid

from stages.runtime.errors import UserError
from stages.training.soft_labels import COLUMN, SoftRewardTrainer

UNSAFE = ("chosen_unsafe", "rejected_unsafe")


def cost_loss(
    chosen: torch.Tensor,
    rejected: torch.Tensor,
    chosen_unsafe: torch.Tensor,
    rejected_unsafe: torch.Tensor,
    label: torch.Tensor,
) -> torch.Tensor:
    """The mean loss of a batch.

    Args:
        chosen, rejected: costs of the safer and of the other side, shape (pairs,).
        chosen_unsafe, rejected_unsafe: 1 where a side is unsafe, 0 where it is safe.
        label: P(the chosen side is the safer one).
    """
    difference = rejected - chosen
    order = -logsigmoid(difference) + (1 - label) * difference
    signs = -logsigmoid((2 * chosen_unsafe - 1) * chosen) - logsigmoid(
        (2 * rejected_unsafe - 1) * rejected
    )
    return (order + signs).mean()


class _Keep:
    """A collator that keeps the safety labels beside what the inner one makes."""

    def __init__(self, inner: Any):
        self.inner = inner

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch = dict(self.inner(examples))
        for name in UNSAFE:
            batch[name] = torch.tensor([float(example[name]) for example in examples])
        return batch


class CredoRewardTrainer(SoftRewardTrainer):
    """Preference or cost model. `padding()` tells what share of the training batches was padding.

    Raises:
        UserError: an option that the cost objective cannot have.
    """

    def __init__(self, *args: Any, objective: str = "preference", **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.objective = objective
        self.places = self.tokens = 0
        self.signs = [0, 0]  # responses of the evaluation on the right side of 0, and all of them
        if objective == "cost":
            self.data_collator = _Keep(self.data_collator)
            if self.args.center_rewards_coefficient is not None:
                raise UserError(
                    "a cost model's 0 has a meaning, so its scores cannot be centred",
                    where="args.center_rewards_coefficient",
                    fix="remove it",
                )

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        for name in (
            *UNSAFE,
            "length",
        ):  # the lengths are for args.train_sampling_strategy: group_by_length
            if name not in self._signature_columns:
                self._signature_columns.append(name)

    def padding(self) -> float | None:
        """Share of the training batches' places that held padding; None before the first step."""
        return round(1 - self.tokens / self.places, 4) if self.places else None

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        mask = inputs["attention_mask"]
        if self.model.training:
            self.tokens += int(mask.sum())
            self.places += mask.numel()
        if self.objective == "preference":
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        inputs = dict(inputs)
        unsafe = [inputs.pop(name) for name in UNSAFE]
        label = inputs[COLUMN]
        _, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        chosen, rejected = outputs.logits.squeeze(-1).chunk(2)
        loss = cost_loss(chosen, rejected, unsafe[0], unsafe[1], label)
        self._as_costs(chosen, rejected, unsafe)
        return (loss, outputs) if return_outputs else loss

    def _keep(self, differences: torch.Tensor) -> None:
        super()._keep(-differences if self.objective == "cost" else differences)

    @torch.no_grad()
    def _as_costs(
        self, chosen: torch.Tensor, rejected: torch.Tensor, unsafe: list[torch.Tensor]
    ) -> None:
        """TRL's metrics count a higher score as better; of costs the lower one is."""
        metrics = self._metrics["train" if self.model.training else "eval"]
        accuracy = (
            self.accelerator.gather_for_metrics((chosen < rejected).float().mean()).mean().item()
        )
        margin = self.accelerator.gather_for_metrics((rejected - chosen).mean()).mean().item()
        metrics["accuracy"][-1], metrics["margin"][-1] = accuracy, margin
        right = ((chosen > 0) == (unsafe[0] > 0)).float() + (
            (rejected > 0) == (unsafe[1] > 0)
        ).float()
        metrics["sign_accuracy"].append(
            self.accelerator.gather_for_metrics(right.mean() / 2).mean().item()
        )
        if not self.model.training:
            every = self.accelerator.gather_for_metrics(right)
            self.signs[0] += round(float(every.sum()))
            self.signs[1] += 2 * len(every)
