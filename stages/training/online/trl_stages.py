"""Stages `grpo`, `rloo` and `online_dpo`: TRL's online trainers under a composed reward.

In: `model`, `prompts` and other Prompt rows, and the models that the reward's terms name. Out: a
model. See `online_training.py` for what the online stages share, `rewards.py` for the reward.

GRPO: group-relative policy optimisation (Shao et al. 2024, arXiv 2402.03300). RLOO: REINFORCE with
a leave-one-out baseline (Ahmadian et al. 2024, arXiv 2402.14740). Online DPO: DPO on pairs of fresh
rollouts, the better one by the reward (Guo et al. 2024, arXiv 2402.04792); TRL calls it
experimental. Nothing is learnt from an answer that lacks a term of its reward, nor from a pair with
such an answer (`callbacks.py`).
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

from stages.generators.chat import template_only
from stages.guards.errors import UserError
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.training.model_files import template_variables
from stages.training.online.online_training import (
    OnlineConfig,
    online_stage,
    run_online,
)


@dataclass(frozen=True, kw_only=True)
class GRPOOptions(OnlineConfig):
    """`args` are fields of TRL's GRPOConfig."""

    stage = "grpo"
    trainer_options = "GRPOConfig"


@dataclass(frozen=True, kw_only=True)
class RLOOOptions(OnlineConfig):
    """`args` are fields of TRL's RLOOConfig."""

    stage = "rloo"
    trainer_options = "RLOOConfig"


@dataclass(frozen=True, kw_only=True)
class OnlineDPOOptions(OnlineConfig):
    """`args` are fields of TRL's OnlineDPOConfig."""

    stage = "online_dpo"
    trainer_options = "OnlineDPOConfig"


def run(config: OnlineConfig, inputs: dict[str, Artifact], context: Context) -> Result:
    """Train and save the model; errors as in `run_online`."""
    defaults = None
    if config.stage == "online_dpo":
        _refuse_template_variables(context)
        defaults = {"remove_unused_columns": False}
    make_trainer = partial(_make_trainer, config.stage)
    return run_online(config, inputs, context, make_trainer, defaults=defaults)


def _make_trainer(stage: str, **arguments: Any) -> Any:
    import trl

    from stages.training.online.callbacks import online_trainer

    if stage == "online_dpo":
        from stages.training.online.online_dpo_trainer import ScoredPairsTrainer

        return ScoredPairsTrainer(**arguments)
    trainer_class = trl.GRPOTrainer if stage == "grpo" else trl.RLOOTrainer
    return online_trainer(trainer_class)(**arguments)


def _refuse_template_variables(context: Context) -> None:
    variables = template_only(template_variables(context))
    if variables:
        raise UserError(
            "TRL's online DPO cannot pass variables to the chat template, "
            f"and this model is given {', '.join(variables)}",
            where=f"step {context.step!r}, model.template_arguments",
            fix="use grpo, rloo or ppo, or a model whose template needs none",
        )


GRPO = online_stage(version=2, config=GRPOOptions, run=run)
RLOO = online_stage(version=2, config=RLOOOptions, run=run)
ONLINE_DPO = online_stage(version=4, config=OnlineDPOOptions, run=run)
