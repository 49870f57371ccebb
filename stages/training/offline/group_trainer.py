"""A trainer whose batch counts groups of answers: the log-probabilities of a group's answers go
into one loss.

In: groups (`groups.py`), and a loss of (log pi(y_i), lengths, scores). Out: TRL's SFTTrainer
otherwise, with its mixed precision, LoRA and checkpoints. Left out: in several processes, the
evaluation counts each process's part alone. Imported only when something is trained: torch and TRL
come with it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from trl import SFTTrainer

from stages.training.held_out import EvaluatesHeldOut, HeldOut
from stages.training.spans import IGNORED, collate_tokens, learnt_tokens

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass
class GroupCollator:
    """Flattens groups into one batch of answers; `sizes` states which belong together."""

    pad_id: int

    def __call__(self, groups: list[dict[str, Any]]) -> dict[str, Any]:
        texts: list[tuple[list[int], list[int]]] = []
        scores: list[float] = []
        for group in groups:
            texts += zip(group["input_ids"], group["labels"], strict=True)
            scores += group["scores"]
        return {
            **collate_tokens(texts, self.pad_id),
            "scores": torch.tensor(scores, dtype=torch.float32),
            "sizes": torch.tensor([len(group["scores"]) for group in groups]),
        }


class GroupTrainer(EvaluatesHeldOut, SFTTrainer):
    """SFTTrainer with a loss a group, averaged over the groups of a batch."""

    loss_is_scaled_for_ga = False

    def __init__(self, *args: Any, loss: Loss, length_penalty: float, **kwargs: Any):
        self.group_loss = loss
        self.length_penalty = length_penalty
        super().__init__(*args, **kwargs)
        self.held_out = HeldOut()

    def _set_signature_columns_if_needed(self) -> None:
        self._signature_columns = ["input_ids", "labels", "scores"]

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        inputs = dict(inputs)
        scores = inputs.pop("scores")
        sizes = inputs.pop("sizes").tolist()
        routed = {"output_router_logits": True} if self.aux_loss_enabled else {}
        outputs = model(**inputs, **routed, use_cache=False, fused_lm_head=True)
        answered = inputs["labels"][:, 1:] != IGNORED
        # Prompt-learning puts virtual tokens in front.
        sums = outputs.log_probs[:, -answered.size(1) :].float().sum(1)
        columns = [column.split(sizes) for column in (sums, answered.sum(1), scores)]
        groups = list(zip(*columns, strict=True))
        loss = torch.stack([self.group_loss(*group) for group in groups]).mean()
        self._note(groups)
        if self.aux_loss_enabled:
            loss = loss + self.router_aux_loss_coef * outputs.aux_loss
        return (loss, outputs) if return_outputs else loss

    @torch.no_grad()
    def _note(self, groups: list[tuple[torch.Tensor, ...]]) -> None:
        """Log how often the best-rated answer is the likeliest, and how far it lies above the mean
        of the others.
        """
        right, margins = [], []
        for sums, lengths, scores in groups:
            s = sums / lengths**self.length_penalty
            best = int(scores.argmax())
            others = (s.sum() - s[best]) / (len(s) - 1)
            right.append(float(scores[s.argmax()] == scores[best]))
            margins.append(float(s[best] - others))
        accuracy = sum(right) / len(right)
        margin = sum(margins) / len(margins)
        if self.model.training:
            self._metrics["train"]["accuracy"].append(accuracy)
            self._metrics["train"]["margin"].append(margin)
        else:
            self.held_out.add(len(groups), accuracy, margin)


def group_row(
    group: dict[str, Any], tokenizer: Any, variables: Mapping[str, Any]
) -> dict[str, Any]:
    """A group as the trainer reads it: tokens and labels of each answer, and the scores."""
    row: dict[str, Any] = {"input_ids": [], "labels": [], "scores": group["scores"]}
    for completion in group["completions"]:
        ids, labels = learnt_tokens(tokenizer, group["prompt"], completion, variables)
        row["input_ids"].append(ids)
        row["labels"].append(labels)
    return row
