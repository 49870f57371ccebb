"""The options that every training stage has, and how they are checked and identified.

In: a stage's Config, which extends `TrainingConfig` and names the trainer's class of options:

    @dataclass(frozen=True, kw_only=True)
    class Config(TrainingConfig):
        stage = "dpo"
        trainer_options = "DPOConfig"

Out: `training_stage`, for the stage's `STAGE`.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from stages.runtime.settings import machine
from stages.runtime.stage import Stage
from stages.training.options import check_options, identity_args


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """What all training stages share; what a stage adds stands in its own Config."""

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
    """Share of the prompts to hold out, in [0, 1)."""


def check_training(config: TrainingConfig) -> None:
    """Refuse `args` and `lora` that the trainer does not know, or that Credo sets itself.

    Raises:
        UserError: naming the option and the nearest known one.
    """
    check_options(config.trainer_options, config.args, config.lora, config.stage)


def training_identity(config: TrainingConfig) -> dict[str, Any]:
    """The part of the trainer's options that identifies a result."""
    return {"args": identity_args(config.args)}


training_stage = partial(Stage, trains=True, check=check_training, identity=training_identity)
"""A stage that trains a model, checked and identified by its trainer's options."""
