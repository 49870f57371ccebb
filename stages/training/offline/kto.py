"""Stage `kto`: learn from answers that are good or bad alone, without a counterpart.

In: `model`, any number of inputs that hold Pairs or Ratings, and `responses` (the rows that were
rated), optional: see `groups.py`. Of a pair the chosen side is desirable and the rejected side is
not; a rated answer is desirable where its score lies above `threshold`. Out: a model.

Kahneman-Tversky optimisation (Ethayarajh et al. 2024, arXiv 2402.01306), through TRL. With r = beta
log(pi/pi0) and z an estimate of beta KL(pi || pi0) from answers to other requests of the batch, the
loss is the mean of weight_d (1 - sigma(r - z)) over desirable and weight_u (1 - sigma(z - r)) over
undesirable answers. Where one kind is rarer and `args` give no weights, its weight is raised to
balance the other (the paper's eq. 8). The rows are put into an order drawn once, because TRL pairs
neighbouring rows to estimate z and keeps that order in every epoch. A pair's label is not read,
except for 0.5, which states no preference. The reference's log-probabilities are kept for other
runs (`reference.py`). Left out: soft labels.

A part of the prompts is held out: over all pairs of a desirable and an undesirable answer to a
prompt, how often and by how much r is higher for the desirable one. A training that was killed goes
on from its last complete checkpoint (see `sft.py`).
"""

from dataclasses import dataclass
from typing import Any

from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.models import Model
from stages.runtime.rows import Pair, Rating, Response
from stages.runtime.store import derive_seed
from stages.training import pair_data
from stages.training.config import HeldOutConfig, training_stage
from stages.training.examples import prepare_examples
from stages.training.frame import Examples, Training, run_training
from stages.training.held_out import split_held_out
from stages.training.offline import groups
from stages.training.offline.kto_examples import read_examples
from stages.training.offline.reference import build_with_reference, measure_with_reference


@dataclass(frozen=True, kw_only=True)
class Config(HeldOutConfig):
    """`args` are fields of TRL's KTOConfig."""

    stage = "kto"
    trainer_options = "KTOConfig"
    threshold: float | None = None
    """A rated answer above it is desirable, below it is not, at it is dropped; None: one half where
    the scores are 0 and 1, the mean of the answer's group otherwise.
    """


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Train and save the model.

    Raises:
        UserError: no rows, or of one kind only, unusable options, a model that cannot be loaded,
        memory or disk used up, a diverged loss.
    """
    examples, dropped = read_examples(inputs, config.threshold)

    def build(base: Model) -> Training:
        fitting, too_long = prepare_examples(examples, base, config, context)
        desirable = sum(example["label"] for example in fitting)
        counts = {"desirable": desirable, "undesirable": len(fitting) - desirable}
        return Training(build_trainer(config, base, fitting, context), too_long, counts)

    return run_training(
        config, inputs, context, build, dropped=dropped, measure=measure_with_reference
    )


STAGE = training_stage(
    version=2,
    config=Config,
    run=run,
    inputs={"model": Model},
    optional={"responses": Response, "*": Pair | Rating},
    least=1,
    gives=Model,
    reads={Pair: pair_data.COLUMNS, **groups.COLUMNS},
)


def build_trainer(config: Config, base: Model, examples: Examples, context: Context) -> Any:
    """The trainer over the base model and its reference; nothing is trained yet."""
    from stages.training.offline.kto_trainer import RememberingKTOTrainer

    ordered = sorted(examples, key=lambda example: derive_seed(context.seed, "kto", example["id"]))
    train, held = split_held_out(ordered, config.eval_fraction, context)
    return build_with_reference(
        RememberingKTOTrainer, config, base, train, held, context, **_weights(train, config)
    )


def _weights(examples: Examples, config: Config) -> dict[str, float]:
    """The rarer kind weighed up to the other, unless `args` give weights."""
    desirable = sum(example["label"] for example in examples)
    ratio = (len(examples) - desirable) / max(desirable, 1)
    if not ratio or {"desirable_weight", "undesirable_weight"} & set(config.args):
        return {}
    return {"desirable_weight": max(1.0, ratio), "undesirable_weight": max(1.0, 1 / ratio)}
