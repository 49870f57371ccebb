"""Value models that are trained beside a policy, as a layer over TRL's GRPOTrainer.

Imported only when something is trained.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import is_peft_model
from safetensors.torch import load_file, save_file
from torch import nn
from trl import GRPOTrainer
from trl.trainer import utils as trl_heads

from stages.training.machine.like_lengths import (
    group_by_length,
    ignores_padding,
    read_by_length,
    sort_rollout,
)
from stages.training.online.callbacks import Resumable, WholeRewards
from stages.training.online.ppo_math import value_loss


@contextmanager
def prompts_unscored() -> Iterator[None]:
    """Have the output layer leave prompts out, inside only: as TRL does on a GPU, on a CPU too.

    Backward passes and other trainers of the process stay TRL's.
    """
    asks_device = trl_heads._use_triton
    trl_heads._use_triton = lambda device: device.type == "cpu" or asks_device(device)
    try:
        yield
    finally:
        trl_heads._use_triton = asks_device


class ValueModel(nn.Module):
    """The trunk of a scalar model, read at every token."""

    def __init__(self, scalar: Any):
        super().__init__()
        self.trunk = scalar.base_model
        self.head = nn.Linear(scalar.config.get_text_config().hidden_size, 1, dtype=scalar.dtype)
        nn.init.zeros_(self.head.bias)
        with torch.no_grad():
            self.head.weight.copy_(scalar.score.weight)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Values of shape (completions, tokens), in float32."""
        hidden = self.trunk(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return self.head(hidden).squeeze(-1).float()


class ValueTrainer(Resumable, WholeRewards, GRPOTrainer):
    """A GRPOTrainer whose optimiser and checkpoints hold value models too.

    Args:
        value_models: by what they predict, `reward` or `cost`; scalar models to start from.
    """

    _buffered_inputs: Any
    """The batches of the last rollout."""

    def __init__(self, *args: Any, value_models: dict[str, Any], **kwargs: Any):
        super().__init__(*args, **kwargs)
        # Prepared, and called through its wrapper: called through inner modules, the ranks' weights
        # drift apart.
        self.value_models = {}
        for name, scalar in value_models.items():
            self.value_models[name] = self.accelerator.prepare_model(ValueModel(scalar))
        policy = self.accelerator.unwrap_model(self.model)
        policy = policy.get_base_model() if is_peft_model(policy) else policy
        trunks = [model.base_model for model in (policy, *value_models.values())]
        self.trims = self.pad_to_multiple_of is None and all(map(ignores_padding, trunks))

    # -- rows of like length together

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        earlier = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        if self._buffered_inputs is earlier or not self.trims:
            return inputs
        batches = self.args.steps_per_generation
        # Those of one update, whose order says nothing.
        window = math.gcd(batches, self.args.gradient_accumulation_steps)
        window = 1 if self._needs_own_rows() else window
        self._buffered_inputs = sort_rollout(self._buffered_inputs, window)
        return self._buffered_inputs[self._step % batches]

    def _needs_own_rows(self) -> bool:
        """Whether a row's loss depends on the other rows of its batch: `bnpo` divides by their
        tokens, and quantiles of entropy and the balance of experts are those of a batch.
        """
        of_entropy = self._entropy_bonus_enabled or self.top_entropy_quantile < 1
        return self.loss_type == "bnpo" or of_entropy or self.aux_loss_enabled

    def _generate_single_turn(
        self, prompt_ids: list[list[int]], images: Any, *others: Any, **options: Any
    ) -> Any:
        """As TRL's; on a CPU, where most of a batch is padding, prompts of like length at a time.

        On a GPU a step costs about as much for a few rows as for all.
        """
        generate = super()._generate_single_turn
        if self.use_vllm or self.accelerator.device.type != "cpu" or images is not None:
            return generate(prompt_ids, images, *others, **options)
        completions: list[list[int]] = [[] for _ in prompt_ids]
        for rows in group_by_length([len(ids) for ids in prompt_ids]):
            some, _ = generate([prompt_ids[row] for row in rows], images, *others, **options)
            for row, completion in zip(rows, some, strict=True):
                completions[row] = completion
        return completions, None

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        **options: Any,
    ) -> Any:
        """As TRL's; of a rollout, which is read without gradients, by length."""
        read_all = super()._get_per_token_logps_and_entropies

        def read(ids: torch.Tensor, attention: torch.Tensor, width: int) -> torch.Tensor:
            logps: torch.Tensor = read_all(model, ids, attention, width)[0]
            return logps

        with prompts_unscored():
            if batch_size is None or not self.trims:
                return read_all(
                    model, input_ids, attention_mask, logits_to_keep, batch_size, **options
                )
            logps = read_by_length(read, input_ids, attention_mask, logits_to_keep, batch_size)
        return logps, None, None

    def values_before_tokens(
        self, name: str, batch: dict[str, Any], size: int | None = None
    ) -> torch.Tensor:
        """Values before each sampled token, shape (completions, tokens); `size` texts at a time."""
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
        attention = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)

        def read(ids: torch.Tensor, attention: torch.Tensor, width: int) -> torch.Tensor:
            values: torch.Tensor = self.value_models[name](ids, attention)
            return values[:, -width - 1 : -1]

        completion = batch["completion_ids"].size(1)
        size = size or len(ids)
        if self.trims:
            return read_by_length(read, ids, attention, completion, size)
        groups = zip(ids.split(size), attention.split(size), strict=True)
        return torch.cat([read(*group, completion) for group in groups])

    def value_losses(self, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        """Each value model's loss: its sum over the batch, divided by the mean tokens of a batch.

        The batch holds `<name>_values` at rollout and `<name>_returns`.
        """
        mask = batch["completion_mask"]
        items = batch["num_items_in_batch"].clamp(min=1)
        batches = self.accelerator.num_processes * self.args.steps_per_generation
        tokens = items / batches
        losses = {}
        for name in self.value_models:
            values = self.values_before_tokens(name, batch)
            old = batch[f"{name}_values"]
            errors = value_loss(values, old, batch[f"{name}_returns"], self.args.value_clip)
            losses[name] = (errors * mask).sum() / tokens
        return losses

    # -- optimiser

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        is_new = self.optimizer is None
        optimizer = super().create_optimizer(*args, **kwargs)
        if is_new:
            parameters = []
            for value_model in self.value_models.values():
                parameters += value_model.parameters()
            rate = self.args.value_learning_rate or self.args.learning_rate
            group = {
                "params": parameters,
                "lr": rate,
                "weight_decay": self.args.weight_decay,
            }
            optimizer.add_param_group(group)
            optimizer.register_step_post_hook(self._clear_gradients)
        return optimizer

    def _clear_gradients(self, *_: Any) -> None:
        """The Trainer clears the policy's gradients only; the value models' would add up."""
        for value_model in self.value_models.values():
            value_model.zero_grad()

    def _clip_grad_norm(self, model: Any) -> Any:
        bound = self.args.max_grad_norm
        for value_model in self.value_models.values():
            self.accelerator.clip_grad_norm_(value_model.parameters(), bound)
        return super()._clip_grad_norm(model)

    # -- checkpoints

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        if self.is_world_process_zero():
            run = Path(self._get_output_dir(trial=trial))
            self.save_state(run / f"checkpoint-{self.state.global_step}")

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        self.load_state(Path(resume_from_checkpoint))

    def save_state(self, checkpoint: Path) -> None:
        """Write what a checkpoint holds beside the policy."""
        for name, value_model in self.value_models.items():
            weights = self.accelerator.unwrap_model(value_model).state_dict()
            weights = {key: tensor.contiguous() for key, tensor in weights.items()}
            save_file(weights, checkpoint / f"value_{name}.safetensors")

    def load_state(self, checkpoint: Path) -> None:
        """Read what `save_state` wrote."""
        for name, value_model in self.value_models.items():
            weights = load_file(checkpoint / f"value_{name}.safetensors")
            self.accelerator.unwrap_model(value_model).load_state_dict(weights)
