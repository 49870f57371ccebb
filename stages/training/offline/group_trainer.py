"""A trainer whose batch counts groups of answers: the log-probabilities of a group's answers go
into one loss.

In: groups (`groups.py`), and a loss of (log pi(y_i), lengths, scores). Out: TRL's SFTTrainer
otherwise, with its mixed precision, LoRA and checkpoints. Left out: in several processes, the
evaluation counts each process's part alone. Imported only when something is trained: torch and TRL
come with it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from trl import SFTTrainer

from stages.runtime.context import Context
from stages.runtime.models import Model
from stages.training.arguments import build_arguments, refusals_as_user_errors
from stages.training.frame import Examples
from stages.training.held_out import EvaluatesHeldOut, HeldOut, split_held_out
from stages.training.model_files import load_policy
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
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
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


def build_group_trainer(
    config: Any,
    base: Model,
    groups: Examples,
    context: Context,
    loss: Loss,
    defaults: dict[str, Any],
) -> GroupTrainer:
    """The trainer over the base model; nothing is trained yet.

    Args:
        config: of the stage `ranking`.
        defaults: of SFTConfig, where `args` say nothing.
    """
    train, held = split_held_out(groups, config.eval_fraction, context)
    batch = {
        "per_device_train_batch_size": 1,
        "per_device_eval_batch_size": 1,
        "gradient_accumulation_steps": 8,
    }
    tokens_made = {"dataset_kwargs": {"skip_prepare_dataset": True}}
    arguments = build_arguments(
        "SFTConfig", config.args, context, **batch, **defaults, **tokens_made
    )
    policy = load_policy(config, base, context)
    tokenizer = policy["processing_class"]
    pad_id = tokenizer.pad_token_id
    if pad_id is None:
        pad_id = tokenizer.eos_token_id
    train_rows = [_tokens(group, tokenizer) for group in train]
    held_rows = [_tokens(group, tokenizer) for group in held]
    with refusals_as_user_errors("the trainer refuses the options", context):
        return GroupTrainer(
            **policy,
            args=arguments,
            data_collator=GroupCollator(pad_id or 0),
            train_dataset=Dataset.from_list(train_rows),
            eval_dataset=Dataset.from_list(held_rows) if held else None,
            loss=loss,
            length_penalty=config.length_penalty,
        )


def _tokens(group: dict[str, Any], tokenizer: Any) -> dict[str, Any]:
    variables = group.get("chat_template_kwargs")
    row: dict[str, Any] = {"input_ids": [], "labels": [], "scores": group["scores"]}
    for completion in group["completions"]:
        ids, labels = learnt_tokens(tokenizer, group["prompt"], completion, variables)
        row["input_ids"].append(ids)
        row["labels"].append(labels)
    return row
