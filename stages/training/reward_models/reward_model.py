"""Stage `reward_model`: a scalar model of preference, or of cost, learnt from pairs with hard or
soft labels.

In: `model` (a language model, or a reward model to go on from), `pairs`, and any further inputs of
Pair rows, say
`human`: they are mixed in, and the mix is told. Out: a model with one output; only differences
    between answers to the
same prompt mean anything.

Without a constitution it is the preference model of Constitutional AI (Bai et al. 2022, section
4.1): it reads the conversation. With one it is SALMON's (Sun et al. 2023, arXiv 2310.05910, section
3.3): it also reads the principles each pair was labelled under, negated ones in their opposite
words, and can be aimed at others later without training. What it reads is kept beside its weights
(`reward_format.py`). Bradley-Terry through TRL, with a pair's label P(chosen is better) as in
`soft_labels.py`; `objective: cost` is the cost model of Safe RLHF, for which a pair's chosen side
is the safer one (`reward_trainer.py`).

A part of the prompts is held out: the share of pairs in which the chosen answer scores higher, with
a Wilson interval. Whether it follows its principles is asked by `reward_accuracy`, which also puts
a plain model beside it. Left out: clamping, which is the business of `judged_pairs`; pre-training
on preferences.

A training that was killed goes on from its last whole checkpoint (see `sft.py`).
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from stages.principles.constitution import Constitution
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.errors import UserError, did_you_mean
from stages.runtime.rows import Dropped
from stages.runtime.settings import machine
from stages.runtime.stage import ANY, Stage
from stages.runtime.templates import template_hash
from stages.training.arguments import (
    build_arguments,
    check_options,
    identity_args,
    lora_config,
    told_as_mistake,
)
from stages.training.pair_data import Examples, check_held_out, split_held_out
from stages.training.reward_models.format import (
    FILE,
    LAYOUT,
    RewardFormat,
    make_format,
    read_format,
    write_format,
)
from stages.training.reward_models.rows import columns, measured, reward_examples

HEADS = ("score", "classifier", "classification_head")  # what transformers calls the output layer


@dataclass(frozen=True)
class Config:
    """Args:
    constitution: where the words of the pairs' principles are; null: a model that reads no
        principles. Pairs labelled under a principle that is not selected are dropped.
    template: what the model reads, given request, response and principles; null: the shipped one
        with a constitution, the plain conversation without.
    objective: `preference`, or `cost` for Safe RLHF, which needs `chosen_safe` and `rejected_safe`
        on the pairs.
    general: the principle that is shown with pairs that have none.
    eval_fraction: share of the prompts to hold out, in [0, 1).
    args: fields of TRL's RewardConfig.
    lora: fields of peft's LoraConfig, {} for its defaults; None trains all weights.
    frozen: how the names of weights begin that are left as they are, such as `bert.embeddings`:
        cheaper, and steadier where pairs are few.
    dtype: type of the weights in training. The model is saved in the type the base model came in.
    """

    constitution: Selection | None = None
    template: str | None = None
    objective: Literal["preference", "cost"] = "preference"
    general: str = "The response should be good."
    eval_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1
    args: dict[str, Any] = field(default_factory=dict)
    lora: dict[str, Any] | None = None
    frozen: tuple[str, ...] = ()
    dtype: Literal["float32", "bfloat16", "float16"] = machine("float32")


def check(config: Config) -> None:
    check_options("RewardConfig", config.args, config.lora, "reward_model")


def identity(config: Config) -> dict[str, Any]:
    layout = _layout(config)
    return {
        "args": identity_args(config.args),
        "constitution": select(config.constitution).identity("text", "opposite")
        if config.constitution
        else None,
        "template": template_hash(config.template or LAYOUT) if layout.template else None,
        "general": config.general if layout.principles else None,
    }


def _layout(config: Config) -> RewardFormat:
    return make_format(config.objective, config.constitution is not None, config.template)


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Train and save the model.

    Raises:
        UserError: no pairs or one-sided ones, unusable options, a reward model of another layout, a
        cost model without safety labels, a model that cannot be loaded, memory or disk used up, a
        diverged loss.
    """
    check_options("RewardConfig", config.args, config.lora, "reward_model")
    _same_layout(inputs["model"], _layout(config), context)
    examples, dropped, mix = read(config, inputs)
    from stages.training.trainer import in_session

    metrics, too_long = in_session(context, lambda: _train(config, inputs, examples, context))
    return Result(dropped=dropped + too_long, metrics={"mix": mix, **metrics})


STAGE = Stage(
    version=4,
    config=Config,
    run=run,
    inputs=("model", "pairs"),
    optional=ANY,
    trains=True,
    check=check,
    identity=identity,
)


def read(
    config: Config, inputs: dict[str, Artifact]
) -> tuple[Examples, list[Dropped], dict[str, Any]]:
    """The pairs of all inputs in the model's layout."""
    constitution: Constitution | None = select(config.constitution) if config.constitution else None
    pairs = {name: artifact for name, artifact in inputs.items() if name != "model"}
    return reward_examples(pairs, _layout(config), constitution, config.general)


def _same_layout(base: Artifact, layout: RewardFormat, context: Context) -> None:
    """Going on from a reward model means reading what it read.

    Raises:
        UserError: it was trained on another layout or for another objective.
    """
    from pathlib import Path

    model = base.model()
    if not (Path(model.path) / FILE).is_file():
        return
    was = read_format(model)
    differing = [
        name
        for name in ("objective", "principles", "template")
        if getattr(was, name) != getattr(layout, name)
    ]
    if differing:
        raise UserError(
            f"the model to go on from is a reward model with another {' and '.join(differing)}",
            where=f"step {context.step!r}, input 'model' (step {base.step!r})",
            fix="train it with the options it was trained with, or begin with a language model",
        )


def build_trainer(
    config: Config, inputs: dict[str, Artifact], examples: Examples, context: Context
) -> Any:
    """The trainer over the input model with one output; nothing is trained yet. `examples` as
    `measured` makes them.
    """
    from datasets import Dataset
    from transformers import set_seed

    from stages.training.model_files import load_model, load_tokenizer
    from stages.training.reward_models.trainer import CredoRewardTrainer

    base = inputs["model"].model()
    arguments = build_arguments("RewardConfig", config.args, context)
    set_seed(arguments.seed)  # the new output layer is drawn when the model is loaded
    train, held = split_held_out(examples, config.eval_fraction, context)
    model = load_model(base, config.dtype, config.args, scalar=True)
    _freeze(model, config.frozen, context)
    heads = [name for name in HEADS if hasattr(model, name)]
    tokenizer, lora = (
        load_tokenizer(base, config.args),
        lora_config(config.lora, "SEQ_CLS", context, modules_to_save=heads),
    )
    with told_as_mistake("the trainer refuses the options", context):
        return CredoRewardTrainer(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_list(columns(train)),
            eval_dataset=Dataset.from_list(columns(held)) if held else None,
            processing_class=tokenizer,
            peft_config=lora,
            objective=config.objective,
        )


def _freeze(model: Any, prefixes: tuple[str, ...], context: Context) -> None:
    names = [name for name, _ in model.named_parameters()]
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in names):
            raise UserError(
                f"frozen: no weight's name begins with {prefix!r}.{did_you_mean(prefix, names)}",
                where=f"step {context.step!r}",
                fix="name weights as the model's own files do",
            )
    for name, weight in model.named_parameters():
        if name.startswith(prefixes):
            weight.requires_grad = False


def _train(
    config: Config, inputs: dict[str, Artifact], examples: Examples, context: Context
) -> tuple[dict[str, Any], list[Dropped]]:
    from stages.training.trainer import finish, train

    base, layout = inputs["model"].model(), _layout(config)
    examples, too_long = measured(examples, layout, base, config.args, context)
    trainer = build_trainer(config, inputs, examples, context)
    n = len(trainer.train_dataset)
    curve = train(trainer, context, base)
    found = {"n": n, "padding_wasted": trainer.padding(), "held_out": check_held_out(trainer)}
    if found["held_out"] and trainer.signs[1]:
        found["held_out"]["sign_accuracy"] = round(trainer.signs[0] / trainer.signs[1], 4)
    finish(trainer, context, base)
    if trainer.is_world_process_zero():
        write_format(context.directory / "model", layout)
    return found | curve, too_long
