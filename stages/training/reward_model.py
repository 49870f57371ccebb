"""Stage `reward_model`: a scalar model of preference, learnt from pairs with hard or soft labels.

In: `model` (a language model, or a reward model to go on from) and `pairs`. Out: a model with one output, read at the
last token of a conversation; only differences between answers to the same prompt mean anything.

Bradley-Terry through TRL, with a pair's label P(chosen is better) as in `soft_labels.py`: the preference model of
Constitutional AI (Bai et al. 2022, section 4.1). A part of the prompts is held out: the share of pairs in which the
chosen answer scores higher, with a Wilson interval. Left out: principles, which it does not read; clamping, which is
the business of `judged_pairs`.

A training that was killed goes on from its last whole checkpoint (see `sft.py`).
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.rows import Dropped
from stages.runtime.settings import machine
from stages.training.arguments import build_arguments, check_options, identity_args, lora_config, told_as_mistake
from stages.training.pair_data import Examples, check_held_out, read_pairs, split_held_out

VERSION = 2
NEEDS = ("model", "pairs")
ALSO_TAKES: tuple[str, ...] = ()
CALLS = False


@dataclass(frozen=True)
class Config:
    """Args:
    eval_fraction: share of the prompts to hold out, in [0, 1).
    args: fields of TRL's RewardConfig.
    lora: fields of peft's LoraConfig, {} for its defaults; None trains all weights.
    dtype: type of the weights in training. The model is saved in the type the base model came in.
    """

    eval_fraction: float = 0.1
    args: dict[str, Any] = field(default_factory=dict)
    lora: dict[str, Any] | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = machine("float32")


def identity(config: Config) -> dict[str, Any]:
    check_options("RewardConfig", config.args, config.lora, "reward_model")
    return {"args": identity_args(config.args)}


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Train and save the model.

    Raises:
        UserError: no pairs, unusable options, a model that cannot be loaded, memory or disk used up, a diverged loss.
    """
    check_options("RewardConfig", config.args, config.lora, "reward_model")
    examples, dropped = read_pairs(inputs["pairs"])
    from stages.training.trainer import in_session

    metrics, too_long = in_session(context, lambda: _train(config, inputs, examples, context))
    return Result(dropped=dropped + too_long, metrics=metrics)


def build_trainer(config: Config, inputs: dict[str, Artifact], examples: Examples, context: Context) -> Any:
    """The trainer over the input model with one output; nothing is trained yet."""
    from datasets import Dataset
    from transformers import set_seed

    from stages.training.model_files import load_model, load_tokenizer
    from stages.training.soft_labels import SoftRewardTrainer

    base = inputs["model"].model()
    arguments = build_arguments("RewardConfig", config.args, context)
    set_seed(arguments.seed)  # the new output layer is drawn when the model is loaded
    train, held = split_held_out(examples, config.eval_fraction, context)
    model = load_model(base, config.dtype, config.args, scalar=True)
    tokenizer, lora = load_tokenizer(base, config.args), lora_config(config.lora, "SEQ_CLS", context, modules_to_save=["score"])
    with told_as_mistake("the trainer refuses the options", context):
        return SoftRewardTrainer(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_list(train),
            eval_dataset=Dataset.from_list(held) if held else None,
            processing_class=tokenizer,
            peft_config=lora,
        )


def _train(
    config: Config, inputs: dict[str, Artifact], examples: Examples, context: Context
) -> tuple[dict[str, Any], list[Dropped]]:
    from stages.training.examples import prepare
    from stages.training.trainer import finish, train

    base = inputs["model"].model()
    examples, too_long = prepare(examples, base, "RewardConfig", config.args, context)
    trainer = build_trainer(config, inputs, examples, context)
    n = len(trainer.train_dataset)
    metrics = train(trainer, context)
    held_out = check_held_out(trainer)
    finish(trainer, context, base)
    return {"n": n, "held_out": held_out, **metrics}, too_long
