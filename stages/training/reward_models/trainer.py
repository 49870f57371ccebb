"""TRL's reward trainer with soft labels, a count of the padding, the cost objective of Safe RLHF,
and that of a classifier.

    cost loss = -log sigma(C_l - C_w) - log sigma(s_w C_w) - log sigma(s_l C_l)

C is the scalar, w the safer side (a Pair's `chosen`), l the other, s = +1 for an unsafe response
and -1 for a safe one: so C is below 0 exactly where a response is safe (Dai et al. 2023, arXiv
2310.12773, section 3.2; some write-ups and data sets store +1 for a safe response, we store whether
it is unsafe). With a soft label q the first term becomes its cross entropy, as in `soft_labels.py`.

    compliance loss = cross entropy of sigma(s) with P(the principle is kept)

s is the scalar of a classifier that reads a principle; a row's sides are two texts that have
nothing to do with each other, and their labels P(unsafe), maybe soft.

    value loss = (tanh s - y)^2        value classes' loss = cross entropy of softmax(s) with y

y from -1 to 1 says whether a text is opposed to a value, or for it (Value FULCRA, Yao et al. 2024,
arXiv 2311.10766); 1 - y stands where P(unsafe) does. Of y = 0.7 the class 1 has 0.7, and
the class 0 the rest.
Imported only when something is trained: torch and TRL come with it.
"""

from math import log
from typing import Any

import torch
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    logsigmoid,
    mse_loss,
)
from trl import RewardTrainer

from stages.guards.errors import UserError
from stages.training.reward_models.format import VALUES
from stages.training.soft_labels import COLUMN, SoftLabelled, WithColumns, soft_term

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
    chosen_sign = -logsigmoid((2 * chosen_unsafe - 1) * chosen)
    rejected_sign = -logsigmoid((2 * rejected_unsafe - 1) * rejected)
    return (order + chosen_sign + rejected_sign).mean()


def compliance_loss(scores: torch.Tensor, broken: torch.Tensor) -> torch.Tensor:
    """The mean cross entropy of a classifier.

    Args:
        scores: log-odds that the principle is kept, of any shape.
        broken: P(it is broken), of the same shape.
    """
    return binary_cross_entropy_with_logits(scores, 1 - broken)


def value_loss(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The mean loss of a value model.

    Args:
        scores: of the label, shape (..., 1); or of the labels -1, 0 and 1, shape (..., 3).
        labels: from -1 to 1, shape (...).
    """
    if scores.shape[-1] == 1:
        return mse_loss(scores[..., 0].tanh(), labels)
    shares = torch.stack([(-labels).clamp(0), 1 - labels.abs(), labels.clamp(0)], dim=-1)
    return cross_entropy(scores.flatten(0, -2), shares.flatten(0, -2))


def expected_label(scores: torch.Tensor) -> torch.Tensor:
    """What a value model says: a number in [-1, 1].

    Args:
        scores: as in `value_loss`.
    """
    if scores.shape[-1] == 1:
        return scores[..., 0].tanh()
    shares = scores.softmax(dim=-1)
    return shares[..., 2] - shares[..., 0]


class CredoRewardTrainer(SoftLabelled, RewardTrainer):
    """Preference or cost model, or a classifier; the first equal to TRL's where all labels are 1.

    Args:
        objective: `preference`, `cost`, `compliance`, `value` or `value_classes`.

    Raises:
        UserError: an option that the cost objective cannot have.
    """

    # The lengths are for args.train_sampling_strategy: group_by_length.
    kept_columns = (COLUMN, *UNSAFE, "length")

    def __init__(self, *args: Any, objective: str = "preference", **kwargs: Any):
        # TRL takes models with one output; the loss of a classifier reads as many as it has.
        network = kwargs["model"].config
        outputs = network.num_labels
        network.num_labels = 1
        super().__init__(*args, **kwargs)
        network.num_labels = outputs
        self.objective = objective
        self.indifferent_loss = None
        if objective not in VALUES:
            self.indifferent_loss = (3 if objective == "cost" else 1) * log(2)
        self.places = 0
        self.tokens = 0
        # Held-out responses on the right side of 0, and all of them.
        self.signs = [0, 0]
        # Of held-out texts, by a classifier: the score, and whether the label is below one half.
        self.readings: list[tuple[float, bool]] = []
        if objective != "preference":
            self.data_collator = WithColumns(self.data_collator, UNSAFE)
            if self.args.center_rewards_coefficient is not None:
                raise UserError(
                    f"the 0 of a {objective} model has a meaning, so its scores cannot be centred",
                    where="args.center_rewards_coefficient",
                    fix="remove it",
                )

    def padding(self) -> float | None:
        """Fraction of padding in the training batches; None before the first step."""
        return round(1 - self.tokens / self.places, 4) if self.places else None

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        mask = inputs["attention_mask"]
        if self.model.training:
            self.tokens += int(mask.sum())
            self.places += mask.numel()
        inputs = dict(inputs)
        label = inputs.pop(COLUMN)
        unsafe = [inputs.pop(name) for name in UNSAFE if name in inputs]
        loss, outputs = super().compute_loss(
            model, inputs, return_outputs=True, num_items_in_batch=num_items_in_batch
        )
        if self.objective in VALUES:
            scores = torch.stack(outputs.logits.float().chunk(2), dim=1)
            labels = 1 - torch.stack(unsafe, dim=1)
            loss = value_loss(scores, labels)
            said = expected_label(scores)
            # Above 0 where the label is the nearest one.
            self._log_as_classes(said, labels < 0.5, 0.5 - (said - labels).abs())
            return (loss, outputs) if return_outputs else loss
        chosen, rejected = outputs.logits.squeeze(-1).chunk(2)
        if self.objective == "cost":
            loss = cost_loss(chosen, rejected, unsafe[0], unsafe[1], label)
            self._count_held_out(rejected - chosen)
            self._log_as_costs(chosen, rejected, unsafe)
        elif self.objective == "compliance":
            scores = torch.stack([chosen, rejected], dim=1)
            broken = torch.stack(unsafe, dim=1)
            loss = compliance_loss(scores, broken)
            is_broken = broken > 0.5
            self._log_as_classes(scores, is_broken, torch.where(is_broken, -scores, scores))
        else:
            loss = loss + soft_term(chosen - rejected, label)
            self._count_held_out(chosen - rejected)
        return (loss, outputs) if return_outputs else loss

    @torch.no_grad()
    def _count_held_out(self, differences: torch.Tensor) -> None:
        """Count pairs by how much better the chosen side is; those that fill up the last batch
        count once.
        """
        if not self.model.training:
            gathered = self.accelerator.gather_for_metrics(differences.float())
            accuracy = (gathered > 0).float().mean().item()
            self.held_out.add(len(gathered), accuracy, gathered.mean().item())

    @torch.no_grad()
    def _log_as_costs(
        self, chosen: torch.Tensor, rejected: torch.Tensor, unsafe: list[torch.Tensor]
    ) -> None:
        """TRL's metrics count a higher score as better; of costs the lower one is."""
        metrics = self._metrics["train" if self.model.training else "eval"]
        chosen_right = ((chosen > 0) == (unsafe[0] > 0)).float()
        right = chosen_right + ((rejected > 0) == (unsafe[1] > 0)).float()
        metrics["accuracy"][-1] = self._gathered_mean((chosen < rejected).float().mean())
        metrics["margin"][-1] = self._gathered_mean((rejected - chosen).mean())
        metrics["sign_accuracy"].append(self._gathered_mean(right.mean() / 2))
        if not self.model.training:
            gathered = self.accelerator.gather_for_metrics(right)
            self.signs[0] += round(float(gathered.sum()))
            self.signs[1] += 2 * len(gathered)

    @torch.no_grad()
    def _log_as_classes(
        self, scores: torch.Tensor, is_broken: torch.Tensor, inside: torch.Tensor
    ) -> None:
        """Accuracy is the share of texts on the right side of 0, margin how far they lie on it.

        Args:
            scores, is_broken: of both texts of each row, shape (rows, 2).
            inside: how far a score lies on the right side, of the same shape.
        """
        is_training = self.model.training
        metrics = self._metrics["train" if is_training else "eval"]
        inside = inside.float()
        metrics["accuracy"][-1] = self._gathered_mean((inside > 0).float().mean())
        metrics["margin"][-1] = self._gathered_mean(inside.mean())
        if not is_training:
            # By row, as that is what fills up the last batch.
            gathered = self.accelerator.gather_for_metrics(inside).flatten()
            labels = self.accelerator.gather_for_metrics(is_broken).flatten()
            accuracy = (gathered > 0).float().mean().item()
            self.held_out.add(len(gathered), accuracy, gathered.mean().item())
            odds = self.accelerator.gather_for_metrics(scores.float()).flatten()
            self.readings += zip(odds.tolist(), labels.tolist(), strict=True)

    def _gathered_mean(self, value: torch.Tensor) -> float:
        """The mean of a value over all processes."""
        mean: float = self.accelerator.gather_for_metrics(value).mean().item()
        return mean
