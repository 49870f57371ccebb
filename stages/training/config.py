"""The options that every training stage has, and how they are checked and identified.

In: a stage's Config, which extends `TrainingConfig` and names the trainer's class of options:

    @dataclass(frozen=True, kw_only=True)
    class Config(TrainingConfig):
        stage = "dpo"
        trainer_options = "DPOConfig"

Out: `training_stage`, for the stage's `STAGE`. When a plan is made it reports an option that the
trainer does not have, with the nearest one that it has, and gives the part of the options that
identifies a result. The libraries' sources are read as text, so that a plan need not import torch.
"""

import ast
import hashlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from stages.guards.errors import UserError, did_you_mean
from stages.runtime.stage import Stage
from stages.runtime.typed_config import machine

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
"""Where a config's fields are written down: package, file, class."""

_SAVING = {"save_steps", "save_strategy", "save_total_limit"}
_MACHINE = """
    logging_steps logging_strategy logging_first_step logging_nan_inf_filter
    log_level log_level_replica log_on_each_node report_to run_name project disable_tqdm
    include_num_input_tokens_seen skip_memory_metrics
    save_steps save_strategy save_total_limit save_only_model save_on_each_node
    enable_jit_checkpoint restore_callback_states_from_checkpoint
    dataloader_num_workers dataloader_pin_memory dataloader_persistent_workers
    dataloader_prefetch_factor
    dataset_num_proc per_device_eval_batch_size eval_accumulation_steps batch_eval_metrics
    bf16 fp16 tf32 bf16_full_eval fp16_full_eval use_cpu
    torch_compile torch_compile_backend torch_compile_mode torch_empty_cache_steps
    use_liger_kernel liger_kernel_config use_cache
    gradient_checkpointing gradient_checkpointing_kwargs activation_offloading
    precompute_ref_log_probs precompute_ref_batch_size
    ddp_timeout ddp_backend ddp_bucket_cap_mb ddp_find_unused_parameters ddp_broadcast_buffers
    local_rank debug pad_to_multiple_of
    fsdp fsdp_config deepspeed accelerator_config parallelism_config ds3_gather_for_generation
    vllm_mode vllm_gpu_memory_utilization vllm_tensor_parallel_size vllm_enable_sleep_mode
    vllm_server_base_url vllm_server_host vllm_server_port vllm_server_timeout vllm_group_port
    log_completions num_completions_to_print log_unique_prompts log_multimodal
    """
MACHINE_ARGS = frozenset(_MACHINE.split())
"""Options that say how to run, not what to compute: the weights are the same up to rounding."""

OWNED_ARGS = {
    "output_dir": "checkpoints lie in the artifact's folder",
    "resume_from_checkpoint": "an interrupted run resumes automatically",
    "trust_remote_code": "Credo runs no code that comes with a model",
    "push_to_hub": "publish the artifact's `model` folder yourself, once you have looked at it",
    "reward_weights": "each term under `rewards` has its own `weight`",
    "log_completions_hub_repo": "Credo uploads nothing",
    "remove_unused_columns": "the trainers need the columns that Credo gives them",
}
"""Options that Credo sets, and why a user cannot."""

_KINDS = {"int": "a number", "float": "a number", "bool": "a yes or no (true, false)"}


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """What all training stages share; a stage adds its own in its Config."""

    stage: ClassVar[str]
    trainer_options: ClassVar[str]
    args: dict[str, Any] = field(default_factory=dict)
    """Fields of the trainer's class of options in TRL (see the stage)."""
    lora: dict[str, Any] | None = None
    """Fields of peft's LoraConfig, {} for its defaults; None trains all weights."""
    dtype: Literal["float32", "bfloat16", "float16"] = machine("float32")
    """Type of the weights in training. The model is saved in the type the base model came in."""


@dataclass(frozen=True, kw_only=True)
class HeldOutConfig(TrainingConfig):
    """What the stages share that hold out a part of the prompts (`held_out.py`)."""

    eval_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Fraction of the prompts to hold out, in [0, 1)."""


def check_training(config: TrainingConfig) -> None:
    """Refuse unknown `args` and `lora`, values of another type, and options that Credo sets itself.

    Raises:
        UserError: naming the option and the nearest known one.
    """
    where = f"stage {config.stage!r}"
    _check_fields("args", config.args, config.trainer_options, where)
    _check_fields("lora", config.lora or {}, "LoraConfig", where)
    for name in config.args:
        if name in OWNED_ARGS:
            raise UserError(
                f"args: {name!r} cannot be set here: {OWNED_ARGS[name]}",
                where=where,
                fix="remove it",
            )


def training_identity(config: TrainingConfig) -> dict[str, Any]:
    """The part of the trainer's options that identifies a result."""
    return {"args": identity_args(config.args)}


@cache
def known_fields(config_class: str) -> dict[str, str]:
    """Fields of a config in `_SOURCES` and their types as written, without importing it.

    Raises:
        UserError: the package is not installed.
    """
    types: dict[str, str] = {}
    for package, file, class_name in _SOURCES[config_class]:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise UserError(
                f"{package} is not installed",
                where="the training stages",
                fix="install the requirements",
            )
        tree = ast.parse((Path(spec.origin).parent / file).read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and node.name == class_name:
                types = _annotated_fields(node) | types
    return types


def _annotated_fields(node: ast.ClassDef) -> dict[str, str]:
    types = {}
    for line in node.body:
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
            types[line.target.id] = ast.unparse(line.annotation)
    return types


def _check_fields(option: str, values: Mapping[str, Any], config_class: str, where: str) -> None:
    field_types = known_fields(config_class)
    for name, value in values.items():
        if name not in field_types:
            hint = did_you_mean(str(name), list(field_types))
            if name == "warmup_ratio":
                hint = ". Did you mean 'warmup_steps', which also takes a fraction?"
            raise UserError(
                f"{option}: {config_class} has no field {name!r}{hint}",
                where=where,
                fix=f"`{option}` takes the fields of {config_class} as its documentation "
                "names them",
            )
        kind = field_types[name].removesuffix(" | None")
        if value is not None and kind in _KINDS and not _fits(kind, value):
            raise UserError(
                f"{option}: {name!r} must be {_KINDS[kind]}, not {value!r}",
                where=where,
                fix="fix the value in the pipeline file or on the command line",
            )


def _fits(kind: str, value: Any) -> bool:
    if isinstance(value, bool):
        return kind == "bool"
    return kind != "bool" and isinstance(value, (int, float))


def identity_args(args: Mapping[str, Any]) -> dict[str, Any]:
    """The part of `args` that identifies a result.

    Choosing the best checkpoint makes the options of saving identify it too. A chat template on
    disk is identified by its content: a template file, or a model's folder that holds one.
    """
    machine = MACHINE_ARGS
    if args.get("load_best_model_at_end"):
        machine = MACHINE_ARGS - _SAVING
    meaning = {name: value for name, value in args.items() if name not in machine}
    template = meaning.get("chat_template_path")
    if template:
        meaning["chat_template_path"] = _template_content(str(template)) or template
    return meaning


def _template_content(path: str) -> str:
    """The hash of a chat template on disk, or an empty string for a model of the Hub."""
    place = Path(path)
    files = sorted({*place.glob("tokenizer*"), *place.glob("*.jinja")})
    if place.is_file():
        files = [place]
    if not files:
        return ""
    content = b"\0".join(file.read_bytes() for file in files)
    return hashlib.sha256(content).hexdigest()[:16]


training_stage = partial(Stage, trains=True, check=check_training, identity=training_identity)
"""A stage that trains a model, checked and identified by its trainer's options."""
