"""Stage `dpo`: direct preference optimisation on pairs, with hard or soft labels.

In: `model` and `pairs`. Out: a model.

Rafailov et al. 2023 (arXiv 2305.18290), through TRL; a pair's label is P(chosen is better) and
enters the loss as in `soft_labels.py`. The reference is the input model, frozen: its
log-probabilities are computed once before the first step, so only one model is held in memory; with
LoRA it is the model with its adapter off. They are kept (`reference.py`): the same pairs under
another beta, loss or label pay nothing for them. All of TRL's losses work with hard labels, the
sigmoid loss with soft ones.

A part of the prompts is held out: how often, and by how much, the trained model prefers the chosen
side there. Both are of the implicit reward, beta times the log-ratio to the reference.

A training that was killed goes on from its last complete checkpoint (see `sft.py`).
"""

from dataclasses import dataclass
from typing import Any

from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.models import Model
from stages.runtime.rows import Pair
from stages.runtime.typed_config import machine
from stages.training.config import HeldOutConfig, training_stage
from stages.training.examples import prepare_examples
from stages.training.frame import Examples, Training, run_training
from stages.training.held_out import split_held_out
from stages.training.offline.reference import build_with_reference, measure_with_reference
from stages.training.pair_data import COLUMNS, read_pairs


@dataclass(frozen=True, kw_only=True)
class Config(HeldOutConfig):
    """`args` are fields of TRL's DPOConfig."""

    stage = "dpo"
    trainer_options = "DPOConfig"
    share_prefixes: bool = machine(True)
    """Read what both sides of a pair begin with once; the same up to rounding."""


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Train and save the model.

    Raises:
        UserError: no pairs, unusable options, soft labels with a loss that cannot take them, a
        model that cannot be loaded, memory or disk used up, a diverged loss.
    """
    examples, dropped = read_pairs(inputs["pairs"])

    def build(base: Model) -> Training:
        fitting, too_long = prepare_examples(examples, base, config, context)
        return Training(build_trainer(config, base, fitting, context), too_long)

    return run_training(
        config, inputs, context, build, dropped=dropped, measure=measure_with_reference
    )


STAGE = training_stage(
    version=3,
    config=Config,
    run=run,
    inputs={"model": Model, "pairs": Pair},
    gives=Model,
    reads={Pair: COLUMNS},
)


def build_trainer(config: Config, base: Model, examples: Examples, context: Context) -> Any:
    """The trainer over the base model and its reference; nothing is trained yet."""
    from stages.training.offline.dpo_trainer import SoftDPOTrainer

    train, held = split_held_out(examples, config.eval_fraction, context)
    return build_with_reference(SoftDPOTrainer, config, base, train, held, context)
