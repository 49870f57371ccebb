"""The options that every training stage has, and how they are checked and identified.

In: a stage's Config, which extends `TrainingConfig` and names the trainer's class of options:

    @dataclass(frozen=True, kw_only=True)
    class Config(TrainingConfig):
        stage = "dpo"
        trainer_options = "DPOConfig"

Out: `training_stage`, for the stage's `STAGE`. When a plan is made it reports options that the
trainer does not have, or with which it cannot work (`options/`), and gives the part of the options
that identifies a result. Before a run's first step the trainer's own class of options is built.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from stages.guards.errors import Faults, UserError, did_you_mean
from stages.guards.files import read_bytes
from stages.runtime.stage import Stage
from stages.runtime.typed_config import Amount, machine
from stages.training.arguments import try_arguments
from stages.training.options.fields import describe, fits, known_fields
from stages.training.options.values import value_faults

_SAVING = {"save_steps", "save_strategy", "save_total_limit"}
_MACHINE = """
    logging_steps logging_strategy logging_first_step logging_nan_inf_filter
    log_level log_level_replica log_on_each_node report_to run_name project disable_tqdm
    include_num_input_tokens_seen skip_memory_metrics
    save_steps save_strategy save_total_limit save_only_model save_on_each_node
    restore_callback_states_from_checkpoint
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

NO_UPLOAD = "Credo uploads nothing"
OWNED_ARGS = {
    "output_dir": "checkpoints lie in the artifact's folder",
    "resume_from_checkpoint": "an interrupted run resumes automatically",
    "trust_remote_code": "Credo runs no code that comes with a model",
    "push_to_hub": "publish the artifact's `model` folder yourself, once you have looked at it",
    "hub_token": "keys come from the environment alone",
    "hub_model_id": NO_UPLOAD,
    "hub_revision": NO_UPLOAD,
    "hub_strategy": NO_UPLOAD,
    "hub_private_repo": NO_UPLOAD,
    "hub_always_push": NO_UPLOAD,
    "trackio_space_id": NO_UPLOAD,
    "trackio_bucket_id": NO_UPLOAD,
    "trackio_static_space_id": NO_UPLOAD,
    "reward_model_path": "the reward is what `rewards` say",
    "enable_jit_checkpoint": "a SIGTERM saves a checkpoint at the end of the step anyway",
    "ignore_data_skip": "an interrupted run goes on where it was",
    "do_train": "the stage decides what is done",
    "do_eval": "the stage decides what is done",
    "do_predict": "the stage decides what is done",
    "reward_weights": "each term under `rewards` has its own `weight`",
    "log_completions_hub_repo": NO_UPLOAD,
    "remove_unused_columns": "the trainers need the columns that Credo gives them",
}
"""Options that Credo sets, and why a user cannot."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """What all training stages share; a stage adds its own in its Config."""

    stage: ClassVar[str]
    trainer_options: ClassVar[str]
    args: dict[str, Any] = field(default_factory=dict)
    """Fields of the trainer's class of options in TRL (see the stage)."""
    lora: dict[str, Any] | None = None
    """Fields of peft's LoraConfig, {} for its defaults; None trains all weights."""
    dtype: Literal["float32", "bfloat16", "float16"] | None = machine(None)
    """Type of the weights in training; None: float32, but bfloat16 for weights that LoRA leaves as
    they are where `args.bf16` is set. The model is saved in the type the base model came in.
    """
    snapshots: Amount = machine(0)  # `training_identity` adds it, if set
    """How many models to keep besides the last one, at evenly spaced steps between the start and
    the end: stage `snapshot` gives them. Each takes as much of the disk as the last one, and while
    it is written the weights are in memory twice.
    """

    @property
    def policy_dtype(self) -> str:
        """The type of a language model's weights in training."""
        half = self.lora is not None and self.args.get("bf16")
        return self.dtype or ("bfloat16" if half else "float32")


@dataclass(frozen=True, kw_only=True)
class HeldOutConfig(TrainingConfig):
    """What the stages share that hold out a part of the prompts (`held_out.py`)."""

    eval_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Fraction of the prompts to hold out, in [0, 1)."""


def check_training(config: TrainingConfig) -> None:
    """Refuse unknown `args` and `lora`, values that cannot work, and options that Credo sets.

    Raises:
        UserError: all faults at once, with the nearest known name.
    """
    where = f"stage {config.stage!r}"
    faults = Faults()
    for option, values, config_class in (
        ("args", config.args, config.trainer_options),
        ("lora", config.lora or {}, "LoraConfig"),
    ):
        for what, fix in _option_faults(values, config_class):
            faults.add(UserError(f"{option}: {what}", where=where, fix=fix))
    if config.lora is not None and config.args.get("sync_ref_model"):
        what = (
            "args: 'sync_ref_model' does not go with lora, whose reference is the model without it"
        )
        faults.add(UserError(what, where=where, fix="remove one of them"))
    fraction = getattr(config, "eval_fraction", 0)
    if not fraction and config.args.get("eval_strategy", "no") != "no":
        what = "args: 'eval_strategy' needs examples that are held out, and there are none"
        faults.add(UserError(what, where=where, fix="remove it, or set eval_fraction"))
    faults.raise_any()


def training_identity(config: TrainingConfig) -> dict[str, Any]:
    """The part of the trainer's options that identifies a result."""
    kept = {"snapshots": config.snapshots} if config.snapshots else {}
    return {"args": identity_args(config.args), **kept}


def _option_faults(values: Mapping[str, Any], config_class: str) -> Iterator[tuple[str, str]]:
    types = known_fields(config_class)
    fitting = {}
    for name, value in values.items():
        if name not in types:
            hint = did_you_mean(str(name), list(types))
            if name == "warmup_ratio":
                hint = ". Did you mean 'warmup_steps', which also takes a fraction?"
            fix = f"write the fields of {config_class} as its documentation names them"
            yield f"{config_class} has no field {name!r}{hint}", fix
        elif name in OWNED_ARGS:
            yield f"{name!r} cannot be set here: {OWNED_ARGS[name]}", "remove it"
        elif not fits(types[name], value):
            what = f"{name!r} must be {describe(types[name])}, not {value!r:.80}"
            yield what, "fix the value in the pipeline file or on the command line"
        else:
            fitting[name] = value
    yield from value_faults(config_class, fitting)


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
    content = b"\0".join(map(read_bytes, files))
    return hashlib.sha256(content).hexdigest()[:16]


training_stage = partial(
    Stage,
    trains=True,
    check=check_training,
    prepare=try_arguments,
    identity=training_identity,
)
"""A stage that trains a model, checked and identified by its trainer's options."""
