"""Stage `kto`: learn from answers that are good or bad by themselves, without a counterpart.

In: `model`, any number of inputs that hold Pairs or Ratings, and `responses` (the rows that were
rated), optional: see `groups.py`. Of a pair the chosen side is desirable and the rejected side is
not; a rated answer is desirable where its
score lies above `threshold`. Out: a model.

Kahneman-Tversky optimisation (Ethayarajh et al. 2024, arXiv 2402.01306), through TRL. With r = beta
log(pi/pi0) and z an estimate of beta KL(pi || pi0) from answers to other requests of the batch, the
loss is the mean of weight_d (1 - sigma(r - z)) over desirable and weight_u (1 - sigma(z - r)) over
undesirable answers. Where one kind is rarer and `args` give no weights, it is weighed up to the
other (the paper's eq. 8). The rows are put into an order drawn once, for TRL pairs neighbours for z
and keeps that order in every epoch. A pair's label is not read, but for 0.5, which is no
preference. The reference's log-probabilities are kept for other runs (`reference.py`). Left out:
soft labels.

A part of the prompts is held out: over all desirable-undesirable couples of a prompt, how often and
by how much r is higher for the desirable one. A training that was killed goes on from its last
whole checkpoint (see `sft.py`).
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from stages.runtime.artifacts import Artifact, Result, canonical
from stages.runtime.context import Context
from stages.runtime.errors import UserError
from stages.runtime.rows import Dropped, Pair, Rating
from stages.runtime.settings import machine
from stages.runtime.stage import ANY, Stage
from stages.runtime.store import derive_seed
from stages.training.arguments import (
    build_arguments,
    check_options,
    identity_args,
    lora_config,
    told_as_mistake,
)
from stages.training.frame import Examples, held_out, trained
from stages.training.offline.groups import read_ratings
from stages.training.pair_data import read_pairs, split_held_out
from stages.training.reference import reference_of


@dataclass(frozen=True)
class Config:
    """Args:
    threshold: a rated answer above it is desirable, below it is not, at it is dropped; None for the
        mean of its group.
    eval_fraction: share of the prompts to hold out, in [0, 1).
    args: fields of TRL's KTOConfig.
    lora: fields of peft's LoraConfig, {} for its defaults; None trains all weights.
    dtype: type of the weights in training. The model is saved in the type the base model came in.
    """

    threshold: float | None = None
    eval_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1
    args: dict[str, Any] = field(default_factory=dict)
    lora: dict[str, Any] | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = machine("float32")


def check(config: Config) -> None:
    check_options("KTOConfig", config.args, config.lora, "kto")


def identity(config: Config) -> dict[str, Any]:
    return {"args": identity_args(config.args)}


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Train and save the model.

    Raises:
        UserError: no rows, or of one kind only, unusable options, a model that cannot be loaded,
        memory or disk used up, a diverged loss.
    """
    check(config)
    examples, dropped = read_examples(inputs, config.threshold)

    def build(kept: Examples) -> Any:
        return build_trainer(config, inputs, kept, context)

    def measure(trainer: Any, kept: Examples) -> dict[str, Any]:
        desirable = sum(example["label"] for example in kept)
        kinds = {"desirable": desirable, "undesirable": len(kept) - desirable}
        return {
            **kinds,
            **held_out(trainer, kept),
            "reference": trainer.reference.counts() if trainer.reference else None,
        }

    return trained("KTOConfig", config, inputs, context, examples, dropped, build, measure=measure)


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    inputs=("model",),
    optional=ANY,
    trains=True,
    check=check,
    identity=identity,
)


def read_examples(
    inputs: dict[str, Artifact], threshold: float | None
) -> tuple[Examples, list[Dropped]]:
    """TRL's unpaired preference rows, with `id`; inputs follow one another by name.

    Raises:
        UserError: an input holds other rows, nothing is left, or all answers are of one kind.
    """
    sources = {name: inputs[name] for name in sorted(inputs) if name != "model"}
    examples: Examples = []
    dropped: list[Dropped] = []
    seen: set[str] = set()
    ratings = {}
    for name, artifact in sources.items():
        rows: list[Any] = artifact.rows(Pair, Rating) if name != "responses" else []
        if name == "responses" or (rows and isinstance(rows[0], Rating)):
            ratings[name] = artifact
            continue
        pairs, left = read_pairs(artifact)
        dropped += left
        for pair in pairs:
            if pair["soft_label"] == 0.5:
                dropped.append(Dropped(id=pair["id"], reason="no preference"))
                continue
            for side, label in (("chosen", True), ("rejected", False)):
                key = canonical([pair["prompt"], pair[side], label])
                if key not in seen:  # one answer can be chosen over several
                    example = {
                        "id": f"{pair['id']}-{side}",
                        "prompt": pair["prompt"],
                        "completion": pair[side],
                        "label": label,
                    }
                    examples.append(example)
                seen.add(key)
    if threshold is not None and not ratings.keys() - {"responses"}:
        raise UserError(
            f"threshold: {threshold} says nothing where there are only pairs",
            where="stage 'kto'",
            fix="leave it out, or add an input with Ratings",
        )
    if ratings.keys() - {"responses"}:
        rated, left = read_ratings(ratings)
        dropped += left
        middles = _middles(rated, threshold)
        for example in rated:
            if example["score"] == middles[example["group"]]:
                dropped.append(Dropped(id=example["id"], reason="score at the threshold"))
                continue
            label = example["score"] > middles[example["group"]]
            examples.append(
                {key: example[key] for key in ("id", "prompt", "completion")} | {"label": label}
            )
    desirable = sum(example["label"] for example in examples)
    if not 0 < desirable < len(examples):
        kind = (
            "there is no answer"
            if not examples
            else f"all {len(examples)} answers are {'' if desirable else 'un'}desirable"
        )
        named = ", ".join(f"{name!r} (step {a.step!r})" for name, a in sources.items())
        raise UserError(
            f"{kind}, and KTO needs both kinds",
            where=f"input {named}" if named else "the step's `inputs`",
            fix="set `threshold` between the scores, or leave it out for the mean of each group" if ratings
            else "add an input with Pairs or Ratings",
        )  # fmt: skip
    return examples, dropped


def _middles(rated: Examples, threshold: float | None) -> dict[str, float]:
    """Group -> the score that parts its answers."""
    scores: dict[str, list[float]] = {}
    for example in rated:
        scores.setdefault(example["group"], []).append(example["score"])
    return {
        group: sum(s) / len(s) if threshold is None else threshold for group, s in scores.items()
    }


def build_trainer(
    config: Config, inputs: dict[str, Artifact], examples: Examples, context: Context
) -> Any:
    """The trainer over the input model and its reference; nothing is trained yet."""
    from datasets import Dataset

    from stages.training.model_files import load_model, load_tokenizer
    from stages.training.offline.kto_trainer import RememberingKTOTrainer

    base = inputs["model"].model()
    ordered = sorted(examples, key=lambda example: derive_seed(context.seed, "kto", example["id"]))
    train, held = split_held_out(ordered, config.eval_fraction, context)
    desirable = sum(example["label"] for example in train)
    ratio = (len(train) - desirable) / max(desirable, 1)
    weights: dict[str, float] = {}
    if ratio and not {"desirable_weight", "undesirable_weight"} & set(config.args):
        weights = {"desirable_weight": max(1.0, ratio), "undesirable_weight": max(1.0, 1 / ratio)}
    follows = bool(
        config.args.get("sync_ref_model")
    )  # a reference that moves cannot be computed beforehand
    arguments = build_arguments(
        "KTOConfig", config.args, context, precompute_ref_log_probs=not follows, **weights
    )
    remembered = arguments.precompute_ref_log_probs
    model = load_model(base, config.dtype, config.args)
    reference_model = (
        load_model(base, config.dtype, config.args)
        if config.lora is None and not remembered
        else None
    )
    tokenizer, lora = (
        load_tokenizer(base, config.args),
        lora_config(config.lora, "CAUSAL_LM", context),
    )
    kwargs = config.args.get("model_init_kwargs")
    with told_as_mistake("the trainer refuses the options", context):
        return RememberingKTOTrainer(
            model=model,
            ref_model=reference_model,
            args=arguments,
            train_dataset=Dataset.from_list(train),
            eval_dataset=Dataset.from_list(held) if held else None,
            processing_class=tokenizer,
            peft_config=lora,
            reference=reference_of(base, config.dtype, arguments, kwargs, context)
            if remembered
            else None,
        )
