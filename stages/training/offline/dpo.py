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

A training that was killed goes on from its last whole checkpoint (see `sft.py`).
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.settings import machine
from stages.runtime.stage import Stage
from stages.training.arguments import (
    build_arguments,
    check_options,
    identity_args,
    lora_config,
    told_as_mistake,
)
from stages.training.frame import trained
from stages.training.pair_data import Examples, check_held_out, read_pairs, split_held_out
from stages.training.reference import reference_of


@dataclass(frozen=True)
class Config:
    """Args:
    eval_fraction: share of the prompts to hold out, in [0, 1).
    args: fields of TRL's DPOConfig.
    lora: fields of peft's LoraConfig, {} for its defaults; None trains all weights.
    dtype: type of the weights in training. The model is saved in the type the base model came in.
    """

    eval_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1
    args: dict[str, Any] = field(default_factory=dict)
    lora: dict[str, Any] | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = machine("float32")


def check(config: Config) -> None:
    check_options("DPOConfig", config.args, config.lora, "dpo")


def identity(config: Config) -> dict[str, Any]:
    return {"args": identity_args(config.args)}


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Train and save the model.

    Raises:
        UserError: no pairs, unusable options, soft labels with a loss that cannot take them, a
        model that cannot be loaded, memory or disk used up, a diverged loss.
    """
    check_options("DPOConfig", config.args, config.lora, "dpo")
    examples, dropped = read_pairs(inputs["pairs"])

    def build(kept: Examples) -> Any:
        return build_trainer(config, inputs, kept, context)

    return trained("DPOConfig", config, inputs, context, examples, dropped, build, measure=_measure)


STAGE = Stage(
    version=2,
    config=Config,
    run=run,
    inputs=("model", "pairs"),
    trains=True,
    check=check,
    identity=identity,
)


def build_trainer(
    config: Config, inputs: dict[str, Artifact], examples: Examples, context: Context
) -> Any:
    """The trainer over the input model and its reference; nothing is trained yet."""
    from datasets import Dataset

    from stages.training.model_files import load_model, load_tokenizer
    from stages.training.soft_labels import SoftDPOTrainer

    base = inputs["model"].model()
    train, held = split_held_out(examples, config.eval_fraction, context)
    follows = bool(
        config.args.get("sync_ref_model")
    )  # a reference that moves cannot be computed beforehand
    arguments = build_arguments(
        "DPOConfig", config.args, context, precompute_ref_log_probs=not follows
    )
    kept = config.lora is None and not arguments.precompute_ref_log_probs
    model = load_model(base, config.dtype, config.args)
    reference = load_model(base, config.dtype, config.args) if kept else None
    tokenizer, lora = (
        load_tokenizer(base, config.args),
        lora_config(config.lora, "CAUSAL_LM", context),
    )
    kwargs = config.args.get("model_init_kwargs")
    remembered = arguments.precompute_ref_log_probs
    with told_as_mistake("the trainer refuses the options", context):
        return SoftDPOTrainer(
            model=model,
            ref_model=reference,
            args=arguments,
            train_dataset=Dataset.from_list(train),
            eval_dataset=Dataset.from_list(held) if held else None,
            processing_class=tokenizer,
            peft_config=lora,
            reference=reference_of(base, config.dtype, arguments, kwargs, context)
            if remembered
            else None,
        )


def _measure(trainer: Any, _: Examples) -> dict[str, Any]:
    """How the held-out pairs fare, and how many of the reference's log-probabilities were found and
    how many computed.
    """
    return {
        "held_out": check_held_out(trainer),
        "reference": trainer.reference.counts() if trainer.reference else None,
    }
