"""Values of the trainers' options with which no training can work: a plan refuses them.

The libraries check some of them when a trainer is built, some in the middle of the first step, and
some never. Names, types and choices come from their sources (`fields.py`); here is what they do not
write down.
"""

import importlib.util
import os
from collections.abc import Iterator, Mapping
from typing import Any

from stages.generators.transformers_loading import OWNED_ARGUMENTS
from stages.pretrained.hardware import count_gpus

_BOUNDS = """
    learning_rate 0 10
    value_learning_rate 0 10
    warmup_steps 0 -
    weight_decay 0 10
    adam_beta1 0 0.999999
    adam_beta2 0 0.9999999
    adam_epsilon 0 1
    max_grad_norm 0 1e+06
    label_smoothing 0 0.5
    label_smoothing_factor 0 0.999
    num_train_epochs 0 1e+06
    max_steps -1 -
    per_device_train_batch_size 1 -
    per_device_eval_batch_size 1 -
    precompute_ref_batch_size 1 -
    gradient_accumulation_steps 1 -
    generation_batch_size 1 -
    steps_per_generation 1 -
    num_generations 1 -
    num_generations_eval 1 -
    num_iterations 1 -
    max_length 2 -
    max_completion_length 1 -
    max_new_tokens 1 -
    vllm_max_model_length 1 -
    temperature 0.0001 100
    top_p 1e-09 1
    top_k -1 -
    min_p 0 1
    repetition_penalty 0.001 100
    beta 0 10000
    epsilon 0 1000
    epsilon_high 0 1000
    delta 0 1000
    top_entropy_quantile 0 1
    ref_model_mixup_alpha 0 1
    ref_model_sync_steps 1 -
    ld_alpha 0 1
    discopop_tau 1e-06 1e+06
    desirable_weight 0 1e+06
    undesirable_weight 0 1e+06
    center_rewards_coefficient 0 1e+06
    router_aux_loss_coef 0 1e+06
    neftune_noise_alpha 0 1e+06
    seed 0 4294967295
    data_seed 0 4294967295
    logging_steps 1e-09 -
    save_steps 1e-09 -
    eval_steps 1e-09 -
    eval_delay 0 -
    save_total_limit 1 -
    eval_accumulation_steps 1 -
    torch_empty_cache_steps 1 -
    pad_to_multiple_of 1 -
    dataset_num_proc 1 1024
    dataloader_num_workers 0 1024
    dataloader_prefetch_factor 1 1024
    ddp_timeout 1 -
    ddp_bucket_cap_mb 1 -
    vllm_gpu_memory_utilization 0.01 1
    vllm_tensor_parallel_size 1 1024
    vllm_server_port 1 65535
    vllm_group_port 1 65535
    vllm_server_timeout 1 -
    kl_target 1e-09 -
    kl_horizon 1 -
    gamma 0 1
    lam 0 1
    value_coefficient 0 1e+06
    value_clip 1e-09 -
    score_clip 1e-09 -
    lambda_init 1e-09 1e+06
    lambda_rate 0 1e+06
    lambda_max 0 1e+06
    cost_threshold -1e+06 1e+06
    cost_window 1 -
    cost_delay 0 -
    r 1 65536
    lora_alpha 1e-6 1000000
    lora_dropout 0 0.999
"""
"""An option, in `args` or `lora`, its smallest and its largest value."""
FAR = 1e12
BOUNDS: dict[str, tuple[float, float]] = {}
for _line in _BOUNDS.split("\n"):
    if _line.strip():
        _name, _least, _most = _line.split()
        BOUNDS[_name] = (float(_least), FAR if _most == "-" else float(_most))
ABOVE_ZERO = {"DPOConfig": ("beta",), "KTOConfig": ("beta",), "OnlineDPOConfig": ("beta",)}
WHOLE_ABOVE_ONE = ("warmup_steps", "logging_steps", "save_steps", "eval_steps")
"""Below 1 they are fractions of all steps."""
_GRPO_LOSSES = "grpo bnpo dr_grpo dapo luspo cispo sapo vespo"
LOSSES = {
    "SFTConfig": "nll dft chunked_nll",
    "DPOConfig": "sigmoid hinge ipo exo_pair nca_pair robust bco_pair sppo_hard aot aot_unpaired "
    "apo_zero apo_down discopop sft sigmoid_norm",
    "KTOConfig": "kto apo_zero_unpaired",
    "GRPOConfig": _GRPO_LOSSES,
    "PPOConfig": _GRPO_LOSSES,
    "OnlineDPOConfig": "sigmoid ipo",
}
CHOICES = {
    "f_divergence_type": "reverse_kl forward_kl js_divergence alpha_divergence",
    "packing_strategy": "bfd bfd_split bfd-requeue wrapped",
    "truncation_mode": "keep_start keep_end",
    "train_sampling_strategy": "random sequential group_by_length",
    "importance_sampling_level": "token sequence",
    "scale_rewards": "group batch none True False",
    "multi_objective_aggregation": "sum_then_normalize normalize_then_sum",
    "vllm_mode": "colocate server",
    "vllm_model_impl": "vllm transformers",
    "vllm_importance_sampling_mode": "token_mask token_truncate sequence_mask sequence_truncate",
    "kl_estimator": "k1 clamped",
    "log_level": "debug info warning error critical passive",
    "log_level_replica": "debug info warning error critical passive",
    "ddp_backend": "nccl gloo mpi ccl hccl cncl mccl",
    "torch_compile_mode": "default reduce-overhead max-autotune max-autotune-no-cudagraphs",
}
ATTENTIONS = "eager sdpa flash_attention_2 flash_attention_3 flash_attention_4 flex_attention"
TRACKERS = {
    "clearml": "clearml",
    "comet_ml": "comet_ml",
    "mlflow": "mlflow",
    "swanlab": "swanlab",
    "tensorboard": "tensorboard",
    "trackio": "trackio",
    "wandb": "wandb",
}
"""Where a training can be reported to, and the package that it needs."""
OPTIMISER_PACKAGES = {
    "torch_8bit": "torchao",
    "torch_4bit": "torchao",
    "bit": "bitsandbytes",
    "bnb": "bitsandbytes",
    "ademamix": "bitsandbytes",
    "galore": "galore_torch",
    "lomo": "lomo_optim",
    "grokadamw": "grokadamw",
    "schedule_free": "schedulefree",
    "apollo": "apollo_torch",
    "stable_adamw": "optimi",
    "xla": "torch_xla",
    "npu": "torch_npu",
    "anyprecision": "torchdistx",
}
"""By a part of an optimiser's name; the first that fits counts."""
GROUPS = {"GRPOConfig": 8, "RLOOConfig": 2}
"""TRL's default of num_generations."""


def value_faults(config_class: str, args: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What of the options of a class cannot work: the fault, and how to fix it.

    Args:
        args: whose names and types are right.
    """
    for name, value in args.items():
        yield from _bound_faults(name, value, name in ABOVE_ZERO.get(config_class, ()))
        allowed = CHOICES.get(name, "").split()
        if name == "loss_type":
            allowed = LOSSES.get(config_class, "").split()
        for choice in value if isinstance(value, list | tuple) else [value]:
            if allowed and choice is not None and str(choice) not in allowed:
                yield f"{name!r} cannot be {choice!r:.80}", f"choose from: {', '.join(allowed)}"
    yield from _package_faults(args)
    yield from _loading_faults(args.get("model_init_kwargs") or {})
    yield from _strategy_faults(args)
    if args.get("packing") and args.get("max_length", 1024) is None:
        yield "'packing' needs a max_length", "set one"
    if args.get("padding_free") and not args.get("packing") and args.get("max_length", 1024):
        yield "'padding_free' does not keep to max_length", "set packing: true or max_length: null"
    compares = config_class == "KTOConfig" and args.get("loss_type", "kto") == "kto"
    if compares and args.get("per_device_train_batch_size", 8) == 1:
        what = "'per_device_train_batch_size' is 1, and KTO compares answers of a batch"
        yield what, "give at least 2"
    if config_class in (*GROUPS, "PPOConfig"):
        yield from _rollout_faults(args, GROUPS.get(config_class, 1))


def _bound_faults(name: str, value: Any, above_zero: bool) -> Iterator[tuple[str, str]]:
    numbers = value if isinstance(value, list | tuple) else [value]
    least, most = BOUNDS.get(name, (-FAR, FAR))
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int | float):
            continue
        if not least <= number <= most or (above_zero and number == 0):
            start = f"above {least:g}" if above_zero else f"at least {least:g}"
            yield (
                f"{name!r} is {number!r:.80}, which cannot work",
                f"give {start}, at most {most:g}",
            )
        elif name in WHOLE_ABOVE_ONE and number > 1 and number != int(number):
            yield f"{name!r} is {number!r}", "give a whole number of steps, or a fraction below 1"


def _package_faults(args: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Options that need a package that is not installed, or a file that is not there."""
    needed = {}
    trackers = args.get("report_to") or []
    for tracker in [trackers] if isinstance(trackers, str) else trackers:
        if tracker in TRACKERS:
            needed[f"report_to: {tracker}"] = TRACKERS[tracker]
        elif tracker not in ("none", "all"):
            fix = f"choose from: none, {', '.join(TRACKERS)}"
            yield f"'report_to': there is no tracker {tracker!r:.80}", fix
    optimiser = str(args.get("optim") or "")
    package = next(
        (package for part, package in OPTIMISER_PACKAGES.items() if part in optimiser), ""
    )
    if package:
        needed[f"optim: {optimiser}"] = package
    for name, package in (
        ("deepspeed", "deepspeed"),
        ("use_liger_kernel", "liger_kernel"),
        ("use_vllm", "vllm"),
    ):
        if args.get(name):
            needed[name] = package
    if args.get("use_vllm") and args.get("vllm_mode") != "server" and not count_gpus():
        yield "'use_vllm' needs a GPU, and this machine has none", "set use_vllm: false"
    for name, package in needed.items():
        if importlib.util.find_spec(package) is None:
            yield f"{name!r} needs {package}, which is not installed", f"install {package}"
    for name in ("deepspeed", "fsdp_config", "accelerator_config"):
        path = args.get(name)
        if isinstance(path, str) and not path.startswith("{") and not os.path.isfile(path):
            yield f"{name!r}: there is no file {path!r:.200}", "give the path of a JSON file"


def _loading_faults(loading: Any) -> Iterator[tuple[str, str]]:
    name = "model_init_kwargs"
    if not isinstance(loading, Mapping):
        yield f"{name!r} is {loading!r:.80}", "write a mapping of arguments of from_pretrained"
        return
    owned = sorted((OWNED_ARGUMENTS | {"dtype", "torch_dtype", "device_map"}) & set(loading))
    if owned:
        yield f"{name!r} cannot set {', '.join(owned)}", "remove them; see the option `dtype`"
    attention = loading.get("attn_implementation")
    if attention == "flash_attention_2" and importlib.util.find_spec("flash_attn") is None:
        yield (
            f"{name!r}: {attention} needs flash_attn, which is not installed",
            "install flash-attn",
        )
    elif attention is not None and attention not in ATTENTIONS.split():
        fix = f"choose from: {', '.join(ATTENTIONS.split())}"
        yield f"{name!r}: attn_implementation cannot be {attention!r:.80}", fix


def _strategy_faults(args: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Options that contradict each other."""
    if args.get("num_train_epochs") == 0 and args.get("max_steps", -1) < 1:
        yield "'num_train_epochs' is 0, so nothing would be learnt", "give epochs or max_steps"
    if args.get("bf16") and args.get("fp16"):
        yield "'bf16' and 'fp16' exclude each other", "set one of them"
    evaluation = str(args.get("eval_strategy", "no"))
    saving = str(args.get("save_strategy", "steps"))
    is_best_saved = evaluation != "no" and saving in (evaluation, "best")
    if args.get("load_best_model_at_end") and not is_best_saved:
        fix = "set both to steps or both to epoch"
        yield "'load_best_model_at_end' needs equal eval_strategy and save_strategy", fix
    if args.get("lr_scheduler_type") in ("reduce_lr_on_plateau", "greedy") and evaluation == "no":
        yield f"the schedule {args['lr_scheduler_type']!r} needs an eval_strategy", "set one"
    decay = args.get("lr_scheduler_kwargs") or {}
    if args.get("lr_scheduler_type") == "warmup_stable_decay" and "num_decay_steps" not in decay:
        fix = "set args.lr_scheduler_kwargs: {num_decay_steps: 100}"
        yield "the schedule 'warmup_stable_decay' needs num_decay_steps", fix
    if args.get("dataloader_prefetch_factor") and not args.get("dataloader_num_workers"):
        yield "'dataloader_prefetch_factor' needs dataloader_num_workers", "set it to 1 or more"
    weights, losses = args.get("loss_weights"), args.get("loss_type")
    if isinstance(weights, list) and isinstance(losses, list) and len(weights) != len(losses):
        yield f"{len(weights)} loss_weights for {len(losses)} loss_type", "give one for each"
    smoothing = args.get("label_smoothing", 0)
    if "robust" in (losses or []) and smoothing == 0.5:
        yield "the loss 'robust' divides by 1 - 2 label_smoothing", "set label_smoothing below 0.5"
    if "exo_pair" in (losses or []) and not smoothing:
        yield "the loss 'exo_pair' needs a label_smoothing above 0", "set it, such as 0.001"


def _rollout_faults(args: Mapping[str, Any], default: int) -> Iterator[tuple[str, str]]:
    """How prompts, answers to each of them and batches must divide each other (GRPO, RLOO, PPO)."""
    batch = args.get("per_device_train_batch_size", 8)
    group = args.get("num_generations", default) or default
    size, steps = args.get("generation_batch_size"), args.get("steps_per_generation")
    if size and steps:
        yield "'generation_batch_size' and 'steps_per_generation' exclude each other", "set one"
        return
    if batch < 1 or group < 1:  # reported already
        return
    if size and size % batch:
        yield (
            f"'generation_batch_size' ({size}) is no multiple of the batch of {batch}",
            "make it one",
        )
    rollout = size or batch * (steps or args.get("gradient_accumulation_steps", 1))
    if default > 1 and group < 2:
        yield "'num_generations' is 1, and an answer is compared with others", "give at least 2"
    if rollout % group:
        yield (
            f"a rollout of {rollout} answers cannot be divided into groups of {group}",
            "make per_device_train_batch_size * gradient_accumulation_steps (or "
            "steps_per_generation) a multiple of num_generations",
        )
    if args.get("auto_find_batch_size"):
        yield "'auto_find_batch_size' does not go with groups of answers", "remove it"
