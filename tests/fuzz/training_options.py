"""Options of trainings: drawn, checked as a plan does, then built as the trainer will."""

import asyncio
from pathlib import Path
from random import Random
from typing import Any

from stages import STAGES
from stages.guards.errors import UserError
from stages.runtime.calls import Engines
from stages.runtime.context import Context
from stages.runtime.models import Model
from stages.runtime.stage import load_stage
from stages.runtime.store import CallStore
from stages.runtime.typed_config import parse_config
from tests.fuzz.kind import Kind, Wrong

REWARDS = {"rewards": {"short": {"term": "length", "weight": -1.0}}}
TRAININGS: dict[str, dict[str, Any]] = {
    "sft": {},
    "dpo": {},
    "kto": {},
    "ranking": {"loss": "rrhf"},
    "chain_of_hindsight": {},
    "reward_model": {},
    "grpo": REWARDS,
    "rloo": REWARDS,
    "ppo": REWARDS,
    "online_dpo": REWARDS,
}
"""Stages that train, and the options that they need."""
SOUND: dict[str, tuple[Any, ...]] = {
    "learning_rate": (1e-5, 5e-4, 1, 0),
    "per_device_train_batch_size": (8, 16, 64),
    "gradient_accumulation_steps": (1, 2, 4),
    "num_train_epochs": (1, 0.5, 3),
    "max_steps": (10, -1, 100.0),
    "warmup_steps": (0, 0.1, 5),
    "lr_scheduler_type": ("linear", "cosine", "constant", "constant_with_warmup"),
    "optim": ("adamw_torch", "sgd", "adafactor", "rmsprop"),
    "weight_decay": (0, 0.1),
    "max_grad_norm": (1.0, 0.5, 0),
    "seed": (0, 7, 2**32 - 1),
    "logging_steps": (1, 0.1, 10),
    "save_steps": (5, 0.5),
    "save_strategy": ("no", "steps", "epoch"),
    "save_total_limit": (1, None),
    "adam_beta1": (0.9, 0.0),
    "adam_epsilon": (1e-8,),
    "report_to": ("none", ["none"]),
    "gradient_checkpointing": (True, False),
    "dataloader_num_workers": (0, 2),
    "label_smoothing_factor": (0.0, 0.1),
    "neftune_noise_alpha": (None, 5.0),
}
"""Values that work everywhere."""
WRONG: dict[str, tuple[Any, ...]] = {
    "learning_rate": (-1, "fast", float("nan"), float("inf"), 1e30, None, [1e-4], True, {}),
    "per_device_train_batch_size": (0, -8, 1.5, "eight", None),
    "per_device_eval_batch_size": (0, -1, "x"),
    "gradient_accumulation_steps": (0, -1, 0.5),
    "num_train_epochs": (0, -1, "all", float("nan")),
    "max_steps": (-2, "many", 1.5, [3]),
    "warmup_steps": (-1, "x", 2.5),
    "lr_scheduler_type": ("zigzag", 7, None, ["linear"], "greedy", "reduce_lr_on_plateau"),
    "optim": ("adam_of_nobody", "lion_8bit", "galore_adamw", 7, None, "lomo"),
    "weight_decay": (-0.1, "x", float("inf")),
    "max_grad_norm": (-1, "x"),
    "seed": (-1, 2**32, "x", 1.5),
    "data_seed": (-1, "x"),
    "logging_steps": (0, -1, "x", 2.5),
    "logging_strategy": ("sometimes", 7),
    "save_steps": (0, -5, 2.5),
    "save_strategy": ("maybe", 3),
    "save_total_limit": (0, -1),
    "eval_steps": (0, -1, "x"),
    "adam_beta1": (1, -0.1, 2),
    "adam_beta2": (1.5, -1),
    "adam_epsilon": (-1e-8, "x"),
    "report_to": ("nobody", ["wandb-of-mine"], "comet_ml", 7, "neptune"),
    "dataloader_num_workers": (-1, "x", 1e6),
    "dataloader_prefetch_factor": (2, 0),
    "label_smoothing_factor": (1, -0.1, 5),
    "neftune_noise_alpha": (-1, "x"),
    "deepspeed": ("/nowhere/ds.json", "ds.json"),
    "fsdp_config": ("/nowhere/fsdp.json",),
    "accelerator_config": ("/nowhere/a.json",),
    "output_dir": ("x",),
    "hub_token": ("hf_x", None),
    "push_to_hub": (True, False),
    "resume_from_checkpoint": ("x", True),
    "trust_remote_code": (True,),
    "remove_unused_columns": (True,),
    "learning_rat": (1e-4,),
    "": (1,),
    "load_best_model_at_end": (True,),
    "ddp_timeout": (0, -1),
    "torch_empty_cache_steps": (0, -1),
    "model_init_kwargs": (
        {"trust_remote_code": True},
        {"use_safetensors": False},
        {"weights_only": False},
        {"attn_implementation": "magic"},
        {"attn_implementation": "owner/kernel"},
        {"dtype": "float7"},
        {"revision": "other"},
        {"subfolder": "../x"},
        {"gguf_file": "x.gguf"},
        "x",
        [1],
    ),
}
"""Values with which no training can work."""
MODEL_ARGS = {"sft", "dpo", "kto", "ranking", "chain_of_hindsight", "reward_model", "grpo", "ppo"}
LENGTHS = {"max_length": (0, 1, -5, "long", 1.5)}
GROUPED = {
    "num_generations": (0, -1, 3, 7, "x", 1000),
    "generation_batch_size": (3, 0, "x"),
    "steps_per_generation": (0, -1),
    "max_completion_length": (0, -1, "x"),
    "temperature": (0, -1, "hot"),
    "top_p": (0, 1.5, -1),
    "num_iterations": (0, -1),
    "auto_find_batch_size": (True,),
    "reward_weights": ([1.0],),
}
OWN: dict[str, dict[str, tuple[Any, ...]]] = {
    "sft": LENGTHS | {"loss_type": ("nothing", 7), "packing": ("yes", 2)},
    "dpo": LENGTHS
    | {
        "beta": (-1, 0, "x", float("nan")),
        "label_smoothing": (5, -1, 0.6),
        "loss_type": ("nothing", ["sigmoid", "nothing"], 7, "exo_pair"),
        "f_divergence_type": ("nothing",),
        "loss_weights": ("x", ["y"]),
    },
    "kto": LENGTHS | {"beta": (-1, 0), "loss_type": ("sigmoid",), "desirable_weight": (-1, "x")},
    "ranking": LENGTHS | {"packing": (True,)},
    "chain_of_hindsight": LENGTHS | {"packing": (True,)},
    "reward_model": LENGTHS | {"center_rewards_coefficient": (-1, "x")},
    "grpo": GROUPED | {"loss_type": ("ppo", 7), "scale_rewards": ("all", 7), "epsilon": (-1,)},
    "rloo": GROUPED | {"beta": (-1, "x")},
    "ppo": {
        "beta": (-1,),
        "gamma": (2, -1),
        "lam": (-1, 1.1),
        "kl_estimator": ("k9",),
        "kl_horizon": (0,),
        "scale_rewards": ("group",),
        "num_generations": (0, -1, "x"),
        "cost_window": (0,),
        "value_clip": (-1, 0),
    },
    "online_dpo": {
        "beta": (-1, [0, -1], "x", 0),
        "loss_type": ("nothing",),
        "max_new_tokens": (0, -1),
        "temperature": (0,),
        "reward_model_path": ("x",),
    },
}
"""Wrong values of options that a stage alone has."""
LORA = (
    {"r": 0},
    {"r": -1},
    {"r": "x"},
    {"r": 1.5},
    {"lora_dropout": 1},
    {"lora_dropout": -0.1},
    {"lora_alpha": 0},
    {"bias": "some"},
    {"ranks": 3},
    {"init_lora_weights": "magic"},
    {"target_modules": 7},
)


def draw_args(rng: Random) -> tuple[str, dict[str, Any], bool | None]:
    """Draw a stage that trains, its options, and whether they work; None: nobody knows.

    Returns:
        The stage, all of its options (`args` among them), and the answer.
    """
    stage = rng.choice(sorted(TRAININGS))
    names = rng.sample(sorted(SOUND), rng.randint(0, 5))
    args = {name: rng.choice(SOUND[name]) for name in names}
    if args.get("num_train_epochs") == 0.5:
        args.pop("max_steps", None)
    options: dict[str, Any] = {**TRAININGS[stage], "args": args}
    if rng.random() < 0.3:
        return stage, options, True
    kind = rng.random()
    if kind < 0.1:
        options["lora"] = rng.choice(LORA)
    elif kind < 0.2 and stage not in ("sft", "grpo", "rloo", "ppo", "online_dpo"):
        options["eval_fraction"] = rng.choice([1, -0.1, 2, "x", [0.5, 0.1], float("nan"), None])
    elif kind < 0.3 and "rewards" in options:
        options["rewards"] = rng.choice(BAD_REWARDS)
    elif kind < 0.5:
        name = rng.choice(sorted(OWN[stage]))
        args[name] = rng.choice(OWN[stage][name])
        if name == "loss_type":
            args.pop("label_smoothing", None)
    else:
        _wrong_anywhere(args, rng)
    return stage, options, False


BAD_REWARDS: tuple[Any, ...] = (
    {},
    {"a": {"term": "nothing"}},
    {"a": {"term": "length", "weight": float("nan")}},
    {"a": {"term": "length", "weight": 1e308}, "b": {"term": "length", "weight": 1e308}},
    {"a": {"term": "length", "weight": 0}},
    {"a": {"term": "length", "per": 0}},
    {"a": {"term": "python", "function": "nowhere:f"}},
    {"a": {"term": "python", "function": "math"}},
    {"a": 7},
    {"a": None},
    [],
    "x",
    None,
)


def _wrong_anywhere(args: dict[str, Any], rng: Random) -> None:
    name = rng.choice(sorted(WRONG))
    value = rng.choice(WRONG[name])
    args[name] = value
    if name == "num_train_epochs" and value == 0:
        args.pop("max_steps", None)
    if name == "dataloader_prefetch_factor" and value:
        args.pop("dataloader_num_workers", None)


def check_as_a_run_does(stage: str, options: dict[str, Any], folder: Path) -> None:
    """Read the options, check them as a plan does, then as a run does before its first step.

    Raises:
        UserError: the plan refuses them.
        Wrong: only the trainer's own class refuses them.
    """
    contract = load_stage(STAGES[stage])
    config = parse_config(contract.config, options, f"step {stage!r}")
    contract.check_inputs(config, dict.fromkeys(["model", "prompts", "rm", "cost"], Model))
    contract.check(config)
    with asyncio.Runner() as loop:
        store = CallStore(folder / "calls.sqlite")
        context = Context("it", folder, 7, store, Engines("none", {}), loop)
        try:
            contract.prepare(config, context)
        except UserError as error:
            raise Wrong(f"{stage}: {options}: the plan accepted, then: {error}") from error
        finally:
            store.close()


def attempt(rng: Random, folder: Path) -> str:
    """Draw options, and check them."""
    stage, options, works = draw_args(rng)
    try:
        check_as_a_run_does(stage, options, folder)
    except UserError as error:
        if works:
            raise Wrong(f"{stage}: {options}: refused: {error}") from error
        raise
    if works is False:
        raise Wrong(f"{stage}: {options}: accepted")
    return "accepted"


def prepare() -> None:
    """Import what takes long."""
    import peft  # noqa: F401
    import trl

    for name in ("SFTConfig", "GRPOConfig"):
        getattr(trl, name)


KIND = Kind(count=500, attempt=attempt, prepare=prepare)
