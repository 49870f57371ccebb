"""The trainers' own options: which there are, which identify a result, and what Credo sets where
the user says nothing.

In: a stage's `args`, any fields of TRL's SFTConfig, DPOConfig, RewardConfig and so on. Out: that
config, built; in one of several processes with its share of the batch (`runtime/launch.py`).
"""

import ast
import hashlib
import importlib
import importlib.util
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from stages.runtime.context import Context
from stages.runtime.errors import UserError, did_you_mean

# Where a config's fields are written down: package, file, class. Read as text, so that a plan need
# not import torch.
_TRAINING = [
    ("trl", "trainer/base_config.py", "_BaseConfig"),
    ("transformers", "training_args.py", "TrainingArguments"),
]
_SOURCES = {
    "SFTConfig": [("trl", "trainer/sft_config.py", "SFTConfig"), *_TRAINING],
    "DPOConfig": [("trl", "trainer/dpo_config.py", "DPOConfig"), *_TRAINING],
    "RewardConfig": [("trl", "trainer/reward_config.py", "RewardConfig"), *_TRAINING],
    "KTOConfig": [("trl", "trainer/kto_config.py", "KTOConfig"), *_TRAINING],
    "GRPOConfig": [("trl", "trainer/grpo_config.py", "GRPOConfig"), *_TRAINING],
    "RLOOConfig": [("trl", "trainer/rloo_config.py", "RLOOConfig"), *_TRAINING],
    "OnlineDPOConfig": [
        ("trl", "experimental/online_dpo/online_dpo_config.py", "OnlineDPOConfig"),
        *_TRAINING,
    ],
    "PPOConfig": [
        ("stages", "training/online/ppo_config.py", "PPOConfig"),
        ("trl", "trainer/grpo_config.py", "GRPOConfig"),
        *_TRAINING,
    ],
    "LoraConfig": [
        ("peft", "tuners/lora/config.py", "LoraConfig"),
        ("peft", "config.py", "PeftConfig"),
        ("peft", "config.py", "PeftConfigMixin"),
    ],
}

# Where the classes are that are not trl's own.
_HOMES = {
    "PPOConfig": "stages.training.online.ppo_config",
    "OnlineDPOConfig": "trl.experimental.online_dpo",
}

# How to run, not what to compute: same weights up to rounding, whatever they say.
MACHINE_ARGS = frozenset(
    {
        *("logging_steps", "logging_strategy", "logging_first_step", "logging_nan_inf_filter"),
        *(
            "log_level",
            "log_level_replica",
            "log_on_each_node",
            "report_to",
            "run_name",
            "project",
            "disable_tqdm",
        ),
        *("include_num_input_tokens_seen", "skip_memory_metrics"),
        *(
            "save_steps",
            "save_strategy",
            "save_total_limit",
            "save_only_model",
            "save_on_each_node",
        ),
        *("enable_jit_checkpoint", "restore_callback_states_from_checkpoint"),
        *(
            "dataloader_num_workers",
            "dataloader_pin_memory",
            "dataloader_persistent_workers",
            "dataloader_prefetch_factor",
        ),
        *(
            "dataset_num_proc",
            "per_device_eval_batch_size",
            "eval_accumulation_steps",
            "batch_eval_metrics",
        ),
        *(
            "bf16",
            "fp16",
            "tf32",
            "bf16_full_eval",
            "fp16_full_eval",
            "use_cpu",
            "torch_compile",
            "torch_compile_backend",
        ),
        *(
            "torch_compile_mode",
            "torch_empty_cache_steps",
            "use_liger_kernel",
            "liger_kernel_config",
            "use_cache",
        ),
        *("gradient_checkpointing", "gradient_checkpointing_kwargs", "activation_offloading"),
        *(
            "precompute_ref_log_probs",
            "precompute_ref_batch_size",
            "ddp_timeout",
            "ddp_backend",
            "ddp_bucket_cap_mb",
        ),
        *(
            "ddp_find_unused_parameters",
            "ddp_broadcast_buffers",
            "local_rank",
            "debug",
            "pad_to_multiple_of",
        ),
        *(
            "fsdp",
            "fsdp_config",
            "deepspeed",
            "accelerator_config",
            "parallelism_config",
            "ds3_gather_for_generation",
        ),
        *(
            "vllm_mode",
            "vllm_gpu_memory_utilization",
            "vllm_tensor_parallel_size",
            "vllm_enable_sleep_mode",
        ),
        *(
            "vllm_server_base_url",
            "vllm_server_host",
            "vllm_server_port",
            "vllm_server_timeout",
            "vllm_group_port",
        ),
        *("log_completions", "num_completions_to_print", "log_unique_prompts", "log_multimodal"),
    }
)
OWNED_ARGS = {
    "output_dir": "checkpoints lie in the artifact's folder",
    "resume_from_checkpoint": "a run that was cut short is resumed by itself",
    "trust_remote_code": "Credo runs no code that comes with a model",
    "push_to_hub": "publish the artifact's `model` folder yourself, once you have looked at it",
    "reward_weights": "each term under `rewards` has its own `weight`",
    "log_completions_hub_repo": "Credo sends nothing home",
    "remove_unused_columns": "the trainers need the columns that Credo gives them",
}
_KINDS = {"int": "a number", "float": "a number", "bool": "a yes or no (true, false)"}


@cache
def known_fields(config_class: str) -> dict[str, str]:
    """Fields of a config in `_SOURCES` and their types as written, without importing it.

    Raises:
        UserError: the package is not installed.
    """
    types: dict[str, str] = {}
    for package, file, wanted in _SOURCES[config_class]:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise UserError(
                f"{package} is not installed",
                where="the training stages",
                fix="install the requirements",
            )
        tree = ast.parse((Path(spec.origin).parent / file).read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and node.name == wanted:
                for line in node.body:
                    if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                        types.setdefault(line.target.id, ast.unparse(line.annotation))
    return types


def check_options(
    config_class: str, args: Mapping[str, Any], lora: Mapping[str, Any] | None, stage: str
) -> None:
    """Refuse unknown options, and those that are Credo's own business.

    Raises:
        UserError: naming the option and the nearest known one.
    """
    for option, given, owner in (("args", args, config_class), ("lora", lora or {}, "LoraConfig")):
        known = known_fields(owner)
        for name, value in given.items():
            if name not in known:
                hint = (
                    " Did you mean 'warmup_steps', which takes a share too?"
                    if name == "warmup_ratio"
                    else ""
                )
                raise UserError(
                    f"{option}: {owner} has no field {name!r}.{hint or did_you_mean(str(name), list(known))}",
                    where=f"stage {stage!r}",
                    fix=f"`{option}` takes the fields of {owner} as its documentation names them",
                )
            if option == "args" and name in OWNED_ARGS:
                where, why = f"stage {stage!r}", OWNED_ARGS[name]
                raise UserError(
                    f"args: {name!r} is not yours to set: {why}", where=where, fix="remove it"
                )
            kind = known[name].removesuffix(" | None")
            if value is not None and kind in _KINDS and not _is(kind, value):
                what = f"{option}: {name!r} must be {_KINDS[kind]}, not {value!r}"
                raise UserError(
                    what,
                    where=f"stage {stage!r}",
                    fix="fix the value in the pipeline file or on the command line",
                )


def _is(kind: str, value: Any) -> bool:
    return (
        isinstance(value, bool)
        if kind == "bool"
        else isinstance(value, (int, float)) and not isinstance(value, bool)
    )


def identity_args(args: Mapping[str, Any]) -> dict[str, Any]:
    """The part of `args` that bears meaning. Choosing the best checkpoint makes saving and
    evaluating bear it too.

    A chat template on disk is known by its content: a template file, or a model's folder that holds
    one.
    """
    kept_for_best = (
        {"save_steps", "save_strategy", "save_total_limit"}
        if args.get("load_best_model_at_end")
        else set()
    )
    kept = {
        name: value
        for name, value in args.items()
        if name not in MACHINE_ARGS or name in kept_for_best
    }
    given = Path(str(kept.get("chat_template_path") or ""))
    files = (
        [given]
        if given.is_file()
        else sorted({f for glob in ("tokenizer*", "*.jinja") for f in given.glob(glob)})
    )
    if kept.get("chat_template_path") and files:
        kept["chat_template_path"] = hashlib.sha256(
            b"\0".join(f.read_bytes() for f in files)
        ).hexdigest()[:16]
    return kept


def build_arguments(
    config_class: str, args: Mapping[str, Any], context: Context, **defaults: Any
) -> Any:
    """Build TRL's config: the user's `args` over `defaults` over Credo's over TRL's.

    Credo's: the run's seed, no reporting, every step logged, ten checkpoints a run of which two are
    kept, and what
    the machine can do: bfloat16 and gradient checkpointing where there is a GPU for them.

    Raises:
        UserError: TRL refuses a value.
    """
    import torch

    gpu = torch.cuda.is_available()
    ours: dict[str, Any] = {
        "seed": context.seed % 2**32,
        "report_to": "none",
        "disable_tqdm": True,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # a loss that is not a number must be seen
        "save_strategy": "steps",
        "save_steps": 0.1,
        "save_total_limit": 2,
        "use_cpu": not gpu,
        "bf16": gpu and torch.cuda.is_bf16_supported() and not args.get("fp16"),
        "gradient_checkpointing": gpu,
        "dataloader_pin_memory": gpu,
    }
    given = {
        name: value for name, value in args.items() if name != "model_init_kwargs"
    }  # ours to apply: we load the model
    given["output_dir"] = str(context.directory / "checkpoints")
    given |= _share({**defaults, **given}, context)
    with told_as_mistake(f"{config_class} refuses the args", context):
        built = getattr(importlib.import_module(_HOMES.get(config_class, "trl")), config_class)(
            **{**ours, **defaults, **given}
        )
    if built.n_gpu > 1:  # torch's DataParallel, which TRL refuses; one process trains on one GPU
        built._n_gpu = 1
    return built


def _share(args: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Each of several processes takes its part of a batch, so that their number does not change how
    large a batch is.

    Raises:
        UserError: the batch cannot be shared out evenly.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    batch = args.get("per_device_train_batch_size", 8)
    if processes == 1:
        return {}
    if batch % processes:
        raise UserError(
            f"a batch of {batch} cannot be shared out among {processes} processes",
            where=f"step {context.step!r}, args.per_device_train_batch_size",
            fix=f"make it a multiple of {processes}",
        )
    return {"per_device_train_batch_size": batch // processes}


def lora_config(
    lora: Mapping[str, Any] | None, task: str, context: Context, **defaults: Any
) -> Any:
    """peft's LoraConfig of the given fields, or None."""
    if lora is None:
        return None
    import peft

    with told_as_mistake("LoraConfig refuses the options under `lora`", context):
        return peft.LoraConfig(**{"task_type": task, **defaults, **lora})


@contextmanager
def told_as_mistake(what: str, context: Context) -> Iterator[None]:
    """What a library says against the options it was given, as a UserError; its own error stays the
    cause.
    """
    try:
        yield
    except (ValueError, TypeError, ImportError, NotImplementedError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        fix = "fix the values under `args` and `lora`"
        raise UserError(f"{what}: {said}", where=f"step {context.step!r}", fix=fix) from error
