"""A trainer whose batch counts groups of answers: the log-probabilities of a group's answers go
into one loss.

In: groups (`groups.py`), and a loss of (log pi(y_i), lengths, scores). Out: TRL's SFTTrainer
otherwise, with its mixed precision, LoRA and checkpoints. Left out: evaluation over several
processes counts each process's share by itself.
Imported only when something is trained: torch and TRL come with it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from trl import SFTTrainer
from trl.trainer.utils import pad

from stages.runtime.artifacts import Artifact
from stages.runtime.context import Context
from stages.training.arguments import build_arguments, lora_config, told_as_mistake
from stages.training.frame import Examples
from stages.training.pair_data import split_held_out
from stages.training.soft_labels import HeldOut
from stages.training.spans import IGNORED, learnt

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass
class GroupCollator:
    """Flattens groups into one batch of answers; `sizes` and `scores` remember which belong
    together.
    """

    pad_id: int

    def __call__(self, groups: list[dict[str, Any]]) -> dict[str, Any]:
        ids = [torch.tensor(answer) for group in groups for answer in group["input_ids"]]
        labels = [torch.tensor(answer) for group in groups for answer in group["labels"]]
        return {
            "input_ids": pad(ids, padding_value=self.pad_id, padding_side="right"),
            "attention_mask": pad(
                [torch.ones_like(answer) for answer in ids], padding_value=0, padding_side="right"
            ),
            "labels": pad(labels, padding_value=IGNORED, padding_side="right"),
            "scores": torch.tensor(
                [score for group in groups for score in group["scores"]], dtype=torch.float32
            ),
            "sizes": torch.tensor([len(group["scores"]) for group in groups]),
        }


class GroupTrainer(SFTTrainer):
    """SFTTrainer with a loss a group, averaged over the groups of a batch."""

    loss_is_scaled_for_ga = False

    def __init__(self, *args: Any, loss: Loss, length_penalty: float, **kwargs: Any):
        self.group_loss, self.length_penalty = loss, length_penalty
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
        scores, sizes = inputs.pop("scores"), inputs.pop("sizes").tolist()
        routed = {"output_router_logits": True} if self.aux_loss_enabled else {}
        outputs = model(**inputs, **routed, use_cache=False, fused_lm_head=True)
        answered = inputs["labels"][:, 1:] != IGNORED
        sums = (
            outputs.log_probs[:, -answered.size(1) :].float().sum(1)
        )  # prompt-learning puts virtual tokens in front
        lengths = answered.sum(1)
        groups = list(
            zip(sums.split(sizes), lengths.split(sizes), scores.split(sizes), strict=True)
        )
        loss = torch.stack([self.group_loss(*group) for group in groups]).mean()
        self._note(groups)
        if self.aux_loss_enabled:
            loss = loss + self.router_aux_loss_coef * outputs.aux_loss
        return (loss, outputs) if return_outputs else loss

    @torch.no_grad()
    def _note(self, groups: list[tuple[torch.Tensor, ...]]) -> None:
        """How often the best-rated answer is the likeliest, and how far it lies above the mean of
        the others.
        """
        right, margins = [], []
        for sums, lengths, scores in groups:
            s = sums / lengths**self.length_penalty
            best = int(scores.argmax())
            right.append(float(scores[s.argmax()] == scores[best]))
            margins.append(float(s[best] - (s.sum() - s[best]) / (len(s) - 1)))
        accuracy, margin = sum(right) / len(right), sum(margins) / len(margins)
        if self.model.training:
            self._metrics["train"]["accuracy"].append(accuracy)
            self._metrics["train"]["margin"].append(margin)
        else:
            self.held_out.add(len(groups), accuracy, margin)

    def evaluate_held_out(self) -> HeldOut:
        """Evaluate on the evaluation dataset, counting every group once."""
        self.held_out = HeldOut()
        self.evaluate()
        return self.held_out


def build_group_trainer(
    config: Any,
    inputs: dict[str, Artifact],
    groups: Examples,
    context: Context,
    loss: Loss,
    length_penalty: float,
    defaults: dict[str, Any],
) -> GroupTrainer:
    """The trainer over the input model; nothing is trained yet.

    Args:
        config: a stage's, with `eval_fraction`, `args`, `lora` and `dtype`.
        defaults: of SFTConfig, where `args` say nothing.
    """
    from datasets import Dataset

    from stages.training.model_files import load_model, load_tokenizer

    base = inputs["model"].model()
    tokenizer = load_tokenizer(base, config.args)
    train, held = split_held_out(groups, config.eval_fraction, context)
    arguments = build_arguments(
        "SFTConfig",
        config.args,
        context,
        **{
            "per_device_train_batch_size": 1,
            "per_device_eval_batch_size": 1,
            "gradient_accumulation_steps": 8,
            **defaults,
        },
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    model, lora = (
        load_model(base, config.dtype, config.args),
        lora_config(config.lora, "CAUSAL_LM", context),
    )
    pad_id = (
        tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    )
    with told_as_mistake("the trainer refuses the options", context):
        return GroupTrainer(
            model=model,
            args=arguments,
            data_collator=GroupCollator(pad_id or 0),
            train_dataset=Dataset.from_list([_tokens(group, tokenizer) for group in train]),
            eval_dataset=Dataset.from_list([_tokens(group, tokenizer) for group in held])
            if held
            else None,
            processing_class=tokenizer,
            peft_config=lora,
            loss=loss,
            length_penalty=length_penalty,
        )


def _tokens(group: dict[str, Any], tokenizer: Any) -> dict[str, Any]:
    variables = group.get("chat_template_kwargs")
    made = [
        learnt(tokenizer, group["prompt"], completion, variables)
        for completion in group["completions"]
    ]
    return {
        "input_ids": [ids for ids, _ in made],
        "labels": [labels for _, labels in made],
        "scores": group["scores"],
    }
