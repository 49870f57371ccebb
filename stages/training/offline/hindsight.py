"""TRL's SFT trainer for Chain of Hindsight: forgetful causal masking, and whether the phrase steers
the model.

In: conversations whose completion holds two answers (`chain_of_hindsight.py`). Out: TRL's
SFTTrainer otherwise. A hidden token is hidden from all positions, its own included, and keeps its
place; the first token never is hidden, so that every position sees something. Which are hidden is
drawn from torch's own state, as dropout is, so a resumed training draws the same. Imported only
when something is trained: torch and TRL come with it.
"""

import math
from typing import Any

import torch
from trl import SFTTrainer
from trl.trainer.utils import pad

from stages.runtime.artifacts import Artifact
from stages.runtime.context import Context
from stages.runtime.errors import UserError
from stages.training.arguments import build_arguments, lora_config, told_as_mistake
from stages.training.frame import Examples
from stages.training.soft_labels import HeldOut
from stages.training.spans import IGNORED, learnt


def hide(attention_mask: torch.Tensor, share: float) -> torch.Tensor:
    """The mask with each token but the first hidden with probability `share`."""
    seen = torch.rand(attention_mask.shape, device=attention_mask.device) >= share
    seen[:, 0] = True
    return attention_mask * seen


class HindsightTrainer(SFTTrainer):
    """SFTTrainer that hides past tokens in training, with held-out contrasts: four rows a pair, see
    `contrasts`.
    """

    def __init__(self, *args: Any, forget: float, contrasts: Examples, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.forget, self.contrasts = forget, contrasts
        self.eval_dataset = (
            contrasts  # not for the Trainer's own evaluation, which has no use for them
        )

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        if self.forget and self.model.training:
            inputs = {**inputs, "attention_mask": hide(inputs["attention_mask"], self.forget)}
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

    @torch.no_grad()
    def evaluate_held_out(self) -> HeldOut:
        """How far the better-phrase moves log pi(chosen) - log pi(rejected) from where the
        worse-phrase has it.
        """
        found = HeldOut()
        self.model.eval()
        size = 4 * max(1, self.args.per_device_eval_batch_size // 4)
        for start in range(0, len(self.contrasts), size):
            part = self.contrasts[start : start + size]
            ids = [torch.tensor(row["input_ids"]) for row in part]
            batch = self._prepare_inputs(
                {
                    "input_ids": pad(
                        ids, padding_value=self.data_collator.pad_token_id, padding_side="right"
                    ),
                    "attention_mask": pad(
                        [torch.ones_like(row) for row in ids], padding_value=0, padding_side="right"
                    ),
                    "labels": pad(
                        [torch.tensor(row["labels"]) for row in part],
                        padding_value=IGNORED,
                        padding_side="right",
                    ),
                }
            )
            with self.accelerator.autocast():
                logp = self.model(**batch, fused_lm_head=True).log_probs.float().sum(1).view(-1, 4)
            gains = (logp[:, 0] - logp[:, 1]) - (logp[:, 2] - logp[:, 3])
            for gain in gains.tolist():
                found.add(1, float(gain > 0), gain)
        return found


def build_hindsight_trainer(
    config: Any,
    inputs: dict[str, Artifact],
    chains: Examples,
    contrasts: Examples,
    context: Context,
) -> HindsightTrainer:
    """The trainer over the input model; nothing is trained yet.

    Args:
        config: the stage's.
        contrasts: held-out rows, for each pair the chosen and the rejected answer to the
            better-phrase, then to the worse.

    Raises:
        UserError: the model's attention cannot hide single tokens.
    """
    from datasets import Dataset

    from stages.training.model_files import load_model, load_tokenizer

    base = inputs["model"].model()
    tokenizer = load_tokenizer(base, config.args)
    variables = chains[0].get("chat_template_kwargs") if chains else None
    model, lora = (
        load_model(base, config.dtype, config.args),
        lora_config(config.lora, "CAUSAL_LM", context),
    )
    if config.forget and "flash" in str(model.config._attn_implementation):
        raise UserError(
            "flash attention cannot hide single tokens",
            where=f"step {context.step!r}",
            fix="set forget: 0, or args.model_init_kwargs: {attn_implementation: sdpa}",
        )

    def tokens(row: dict[str, Any]) -> dict[str, list[int]]:
        ids, labels = learnt(tokenizer, row["prompt"], row["completion"], variables)
        return {"input_ids": ids, "labels": labels}

    arguments = build_arguments("SFTConfig", config.args, context)
    rows = [tokens(row) for row in contrasts]
    fours = [rows[start : start + 4] for start in range(0, len(rows), 4)]
    fitting = [
        four
        for four in fours
        if max(len(row["input_ids"]) for row in four) <= (arguments.max_length or math.inf)
    ]
    with told_as_mistake("the trainer refuses the options", context):
        return HindsightTrainer(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_list([tokens(chain) for chain in chains]),
            processing_class=tokenizer,
            peft_config=lora,
            forget=config.forget,
            contrasts=[row for four in fitting for row in four],
        )
