"""Stage `reward_model`: a scalar model of preference, or of cost, learnt from pairs with hard or
soft labels.

In: `model` (a language model, or a reward model to go on from), `pairs`, and any further inputs of
Pair rows, say `human`: they are mixed in, and `mix` reports each input's fraction. Out: a model
with one output; only differences between answers to the same prompt mean anything.

Without a constitution it is the preference model of Constitutional AI (Bai et al. 2022, section
4.1): it reads the conversation. With one it is SALMON's (Sun et al. 2023, arXiv 2310.05910, section
3.3): it also reads the principles each pair was labelled under, negated ones in their opposite
words, and can be given others later without training. What it reads is kept beside its weights
(`format.py`). Bradley-Terry through TRL, with a pair's label P(chosen is better) as in
`soft_labels.py`; `objective: cost` is the cost model of Safe RLHF, for which a pair's chosen side
is the safer one (`trainer.py`).

A part of the prompts is held out: the fraction of pairs in which the chosen answer scores higher,
with a Wilson interval. Whether it follows its principles is measured by `reward_accuracy`, which
also compares it with a plain model. Left out: clamping, which `judged_pairs` does; pre-training on
preferences.

A training that was killed goes on from its last complete checkpoint (see `sft.py`).
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from stages.doubts.trainings import doubt_held_out
from stages.guards.errors import UserError, did_you_mean
from stages.guards.templates import template_hash
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.models import Model
from stages.runtime.rows import Dropped, Pair
from stages.runtime.typed_config import machine
from stages.training.arguments import build_arguments, lora_config
from stages.training.config import HeldOutConfig, training_identity, training_stage
from stages.training.frame import Examples, Training, create_trainer, run_training
from stages.training.held_out import check_held_out, split_held_out
from stages.training.model_files import load_model, load_tokenizer
from stages.training.pair_data import COLUMNS
from stages.training.reward_models.format import (
    FILE,
    LAYOUT,
    Objective,
    RewardFormat,
    make_format,
    read_format,
    write_format,
)
from stages.training.reward_models.reward_examples import columns, prepare_pairs, reward_examples

HEADS = ("score", "classifier", "classification_head")
"""What transformers calls the output layer."""


@dataclass(frozen=True, kw_only=True)
class Options(HeldOutConfig):
    """What every stage has that trains a model with one output; `args` are fields of TRL's
    RewardConfig.
    """

    trainer_options = "RewardConfig"
    objective: Objective = "preference"
    """What the output means."""
    share_prefixes: bool = machine(True)
    """Read what both sides of a pair begin with once; the same up to rounding."""
    frozen: tuple[str, ...] = ()
    """Prefixes of the names of weights that are not trained, such as `bert.embeddings`: cheaper,
    and more stable where examples are few.
    """


@dataclass(frozen=True, kw_only=True)
class Config(Options):
    stage = "reward_model"
    constitution: Selection | None = None
    """Where the words of the pairs' principles are; null: a model that reads no principles. Pairs
    labelled under a principle that is not selected are dropped.
    """
    template: str | None = None
    """What the model reads, given request, response and principles; null: the shipped one with a
    constitution, the plain conversation without.
    """
    objective: Literal["preference", "cost"] = "preference"
    """`preference`, or `cost` for Safe RLHF, which needs `chosen_safe` and `rejected_safe` on the
    pairs.
    """
    general: str = "The response should be good."
    """The principle that is shown with pairs that have none."""


def identity(config: Config) -> dict[str, Any]:
    layout = layout_of(config)
    constitution = select(config.constitution) if config.constitution else None
    return {
        **training_identity(config),
        "constitution": constitution.identity("text", "opposite") if constitution else None,
        "template": template_hash(config.template or LAYOUT) if layout.template else None,
        "general": config.general if layout.principles else None,
    }


def layout_of(config: Config) -> RewardFormat:
    """What the model will read."""
    return make_format(config.objective, config.constitution is not None, config.template)


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Train and save the model.

    Raises:
        UserError: no pairs or one-sided ones, unusable options, a reward model of another layout, a
        cost model without safety labels, a model that cannot be loaded, memory or disk used up, a
        diverged loss.
    """
    layout = layout_of(config)
    refuse_other_layout(inputs["model"], layout, context)
    examples, dropped, mix = read(config, inputs)

    def build(base: Model) -> Training:
        fitting, too_long = prepare_pairs(examples, layout, base, config, context)
        trainer = build_trainer(config, base, fitting, context)
        return Training(trainer, too_long, {"mix": mix})

    result = run_training(
        config,
        inputs,
        context,
        build,
        dropped=dropped,
        measure=_measure,
        add_files=partial(write_format, layout=layout),
    )
    warnings = [*result.warnings, *doubt_held_out(result.metrics["held_out"])]
    return replace(result, warnings=warnings)


STAGE = training_stage(
    version=5,
    config=Config,
    run=run,
    inputs={"model": Model, "pairs": Pair},
    optional={"*": Pair},
    gives=Model,
    reads={Pair: (*COLUMNS, "principles", "negated", "chosen_safe", "rejected_safe")},
    identity=identity,
)


def read(
    config: Config, inputs: dict[str, Artifact]
) -> tuple[Examples, list[Dropped], dict[str, Any]]:
    """The pairs of all inputs in the model's layout."""
    constitution = select(config.constitution) if config.constitution else None
    pairs = {name: artifact for name, artifact in inputs.items() if name != "model"}
    return reward_examples(pairs, layout_of(config), constitution, config.general)


def refuse_other_layout(base: Artifact, layout: RewardFormat, context: Context) -> None:
    """Refuse to go on from a reward model of another layout or objective: it reads what it read."""
    model = base.model()
    if not (Path(model.path) / FILE).is_file():
        return
    trained_on = vars(read_format(model))
    differing = [name for name, value in vars(layout).items() if trained_on[name] != value]
    if differing:
        raise UserError(
            f"the model to go on from is a reward model with another {' and '.join(differing)}",
            where=f"step {context.step!r}, input 'model' (step {base.step!r})",
            fix="train it with the options it was trained with, or begin with a language model",
        )


def build_trainer(
    config: Options, base: Model, examples: Examples, context: Context, outputs: int = 1
) -> Any:
    """The trainer over the base model with new outputs; nothing is trained yet.

    Args:
        examples: as `prepare_pairs` makes them.
        outputs: how many numbers the model ends in.
    """
    from transformers import set_seed

    from stages.training.machine.pair_prefixes import share_prefixes
    from stages.training.reward_models.trainer import CredoRewardTrainer

    arguments = build_arguments("RewardConfig", config.args, context)
    # The new output layer is drawn when the model is loaded.
    set_seed(arguments.seed)
    train, held = split_held_out(examples, config.eval_fraction, context)
    dtype = config.dtype or "float32"
    model = load_model(base, dtype, config.args, "scalar", new_output=True, outputs=outputs)
    _freeze(model, config.frozen, context)
    if config.share_prefixes:
        share_prefixes(model)
    heads = [name for name in HEADS if hasattr(model, name)]
    return create_trainer(
        CredoRewardTrainer,
        columns(train),
        columns(held),
        context,
        model=model,
        args=arguments,
        processing_class=load_tokenizer(base, config.args),
        peft_config=lora_config(config.lora, "SEQ_CLS", context, modules_to_save=heads),
        objective=config.objective,
    )


def _freeze(model: Any, prefixes: tuple[str, ...], context: Context) -> None:
    names = [name for name, _ in model.named_parameters()]
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in names):
            raise UserError(
                f"frozen: no weight's name begins with {prefix!r}{did_you_mean(prefix, names)}",
                where=f"step {context.step!r}",
                fix="name weights as the model's own files do",
            )
    for name, weight in model.named_parameters():
        if name.startswith(prefixes):
            weight.requires_grad = False


def _measure(trainer: Any) -> dict[str, Any]:
    """How much was padding, and how the held-out pairs fare; of costs also the share of right
    signs.
    """
    held_out = check_held_out(trainer)
    right, signs = trainer.signs
    if held_out and signs:
        held_out["sign_accuracy"] = round(right / signs, 4)
    return {"padding_wasted": trainer.padding(), "held_out": held_out}
