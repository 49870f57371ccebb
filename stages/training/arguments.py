"""The trainers' configs: the user's options over Credo's own defaults.

In: a stage's `args` and `lora`. Out: TRL's config and peft's; in one of several processes with its
share of the batch (`runtime/pipeline/launch.py`).
"""

import importlib
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from stages.generators.transformers_loading import first_lines
from stages.guards.errors import UserError
from stages.runtime.context import Context

_HOMES = {
    "PPOConfig": "stages.training.online.ppo_config",
    "OnlineDPOConfig": "trl.experimental.online_dpo",
}
"""Modules of the config classes that `trl` itself does not export."""
_OF_THE_DEVICE = {"bf16", "fp16", "tf32", "torch_compile", "torch_compile_mode"}
_OF_THE_DEVICE |= {"torch_compile_backend", "deepspeed", "fsdp", "fsdp_config"}
_OF_THE_DEVICE |= {"accelerator_config", "parallelism_config"}
"""Options that a config acts on while it is built."""
PROJECT = "credo"
"""What trackers call the project, unless `args.project` says otherwise."""
WHEN_TO_SAVE = {"save_strategy", "save_steps"}
"""Options with which a user decides when checkpoints are saved."""


def build_arguments(
    config_class: str, args: Mapping[str, Any], context: Context, **defaults: Any
) -> Any:
    """Build TRL's config: the user's `args` over `defaults` over Credo's over TRL's.

    Credo's: the run's seed, no reporting, names for trackers, every step logged, checkpoints by
    time of which two are kept (`checkpoint_minutes` of the result; 0 where `args` say when to
    save), and what the machine can do: bfloat16 and gradient checkpointing where there is a GPU for
    them.

    Raises:
        UserError: TRL refuses a value.
    """
    import torch

    # Credo loads the model itself, with `model_init_kwargs`.
    user = {name: value for name, value in args.items() if name != "model_init_kwargs"}
    gpu = not args.get("use_cpu") and torch.cuda.is_available()
    # The best of several checkpoints can only be chosen where they come at the evaluations.
    is_timed = not (user.keys() & WHEN_TO_SAVE or user.get("load_best_model_at_end"))
    credo_defaults = {
        "seed": context.seed % 2**32,
        "report_to": "none",
        "run_name": context.directory.name,
        "project": PROJECT,
        "trackio_static_space_id": False,  # nothing is uploaded
        "disable_tqdm": True,
        "logging_steps": 1,
        # A loss that is not a number must be seen.
        "logging_nan_inf_filter": False,
        "save_strategy": "no" if is_timed else "steps",
        "save_steps": 0.1,
        "save_total_limit": 2,
        "use_cpu": not gpu,
        "bf16": gpu and torch.cuda.is_bf16_supported() and not args.get("fp16"),
        "gradient_checkpointing": gpu,
        "dataloader_pin_memory": gpu,
    }
    values = {**credo_defaults, **defaults, **user}
    values["output_dir"] = str(context.directory / "checkpoints")
    values |= _batch_share(values, context)
    module = importlib.import_module(_HOMES.get(config_class, "trl"))
    with refusals_as_user_errors(f"{config_class} refuses the args", context):
        arguments = getattr(module, config_class)(**values)
    arguments.checkpoint_minutes = context.checkpoint_minutes if is_timed else 0.0
    arguments.get_warmup_steps = partial(warmup_steps_of, arguments.warmup_steps)
    if arguments.n_gpu > 1:
        # torch's DataParallel, which TRL refuses: one process trains on one GPU.
        arguments._n_gpu = 1
    return arguments


def warmup_steps_of(asked: float, steps: int) -> int:
    """Return how many steps the learning rate rises for: of a fraction, never more than half.

    At the first of them it is 0, so that a training of one step would learn nothing.
    """
    if asked >= 1:
        return int(asked)
    return min(math.ceil(asked * steps), steps // 2)


def try_arguments(config: Any, context: Context) -> None:
    """Build the trainer's config as the training will, to see whether it refuses the options.

    Nothing of it touches a device or the environment, because engines may start after it.

    Raises:
        UserError: TRL or peft refuses a value.
    """
    args = {name: value for name, value in config.args.items() if name not in _OF_THE_DEVICE}
    build_arguments(config.trainer_options, args | {"use_cpu": True}, context)
    lora_config(config.lora, "CAUSAL_LM", context)


def _batch_share(args: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Each of several processes takes its part of a batch, so the batch's size stays the same.

    Raises:
        UserError: the batch cannot be divided evenly.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    batch = args.get("per_device_train_batch_size", 8)
    if processes == 1:
        return {}
    if batch % processes:
        raise UserError(
            f"a batch of {batch} cannot be divided evenly among {processes} processes",
            where=f"step {context.step!r}, args.per_device_train_batch_size",
            fix=f"make it a multiple of {processes}",
        )
    return {"per_device_train_batch_size": batch // processes}


def lora_config(
    lora: Mapping[str, Any] | None, task: str, context: Context, **defaults: Any
) -> Any:
    """peft's LoraConfig of the options under `lora`, or None."""
    if lora is None:
        return None
    import peft

    with refusals_as_user_errors("LoraConfig refuses the options under `lora`", context):
        return peft.LoraConfig(**{"task_type": task, **defaults, **lora})


@contextmanager
def refusals_as_user_errors(what: str, context: Context) -> Iterator[None]:
    """Report a library's refusal of its options as a UserError; its own error is the cause."""
    try:
        yield
    except (ValueError, TypeError, ImportError, NotImplementedError) as error:
        raise UserError(
            f"{what}: {first_lines(error)}",
            where=f"step {context.step!r}",
            fix="fix the values under `args` and `lora`",
        ) from error
