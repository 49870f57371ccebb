"""Soft labels: q = P(chosen is better) in place of certainty, for TRL's DPO and reward trainers.

    loss = -[q log sigma(d) + (1 - q) log sigma(-d)] = -log sigma(d) + (1 - q) d

d is the difference in score between chosen and rejected: of the two rewards in a reward model
(Bradley-Terry), of beta times the log-ratios to the reference in DPO (Rafailov et al. 2023). The
second form is what the code computes: TRL's own loss, plus a term that is 0 where q is 1. It is
conservative DPO (Mitchell 2023) with a label a row, and what Constitutional AI trains its
preference model with (Bai et al. 2022, section 4.1). The loss is smallest at d = logit(q).

In: TRL's preference rows with a column `soft_label`. Out: TRL's trainers otherwise. Left out: soft
forms of TRL's other losses. Imported only when something is trained: torch comes with it.
"""

from collections.abc import Sequence
from typing import Any

import torch

from stages.training.held_out import EvaluatesHeldOut, HeldOut

COLUMN = "soft_label"


def soft_term(difference: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """What a soft label adds to -log sigma(d): the mean of (1 - q) d.

    Args:
        difference: d, shape (pairs,).
        label: q, shape (pairs,), in [0, 1].
    """
    return ((1 - label) * difference).mean()


class WithColumns:
    """A collator that keeps columns of numbers beside what another collator makes."""

    def __init__(self, inner: Any, columns: Sequence[str]):
        self.inner = inner
        self.columns = columns

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch = dict(self.inner(examples))
        for column in self.columns:
            batch[column] = torch.tensor([float(example[column]) for example in examples])
        return batch


class SoftLabelled(EvaluatesHeldOut):
    """A trainer of TRL's whose batches carry the labels of their rows."""

    data_collator: Any
    kept_columns: tuple[str, ...] = (COLUMN,)
    """Columns that TRL would remove from the dataset."""
    _signature_columns: list[str]

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.data_collator = WithColumns(self.data_collator, (COLUMN,))
        self.held_out = HeldOut()

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()  # type: ignore[misc]
        for column in self.kept_columns:
            if column not in self._signature_columns:
                self._signature_columns.append(column)
