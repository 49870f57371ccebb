"""Stage `ranking`: learn from several rated answers to a request: to rank them, and to give the
best one.

In: `model`, any number of inputs that hold Ratings, of which those of one request form a group, and
`responses` (the rows that were rated), optional: see `groups.py`. Out: a model.

The `loss` is RRHF's (Yuan et al. 2023, arXiv 2304.05302) or Stable Alignment's (Liu et al. 2023,
arXiv 2305.16960): see `ranking_losses.py`. There is no reference, and no reward model in training.
Left out: beam search for candidates (use `respond` with `n`); the society of agents that wrote
Stable Alignment's data; critiques and revisions as training texts (`revise` and `sft`).

A part of the groups is held out: the fraction in which the best-rated answer is the likeliest, by
log pi(y) / |y|^length_penalty (for Stable Alignment: token by token), and how far it lies above the
mean of the others. A training that was killed goes on from its last complete checkpoint (see
`sft.py`).
"""

from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from pydantic import Field

from stages.guards.errors import Faults, UserError
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.models import Model
from stages.runtime.rows import Rating, Response
from stages.training.arguments import build_arguments
from stages.training.config import HeldOutConfig, check_training, training_stage
from stages.training.examples import prepare_examples
from stages.training.frame import Examples, Training, create_trainer, run_training
from stages.training.held_out import measure_held_out, split_held_out
from stages.training.model_files import load_policy, pad_token, template_variables
from stages.training.offline.groups import COLUMNS, into_groups, read_ratings
from stages.training.offline.ranking_losses import rrhf_loss, stable_alignment_loss
from stages.training.spans import check_token_options

OPTIONS = {
    "rrhf": ("length_penalty", "weight"),
    "stable_alignment": ("ratio", "margin", "scale", "max_flow"),
}
"""The options of each loss."""
DEFAULTS: dict[str, dict[str, Any]] = {
    "rrhf": {"lr_scheduler_type": "cosine"},
    "stable_alignment": {"num_train_epochs": 7},
}
"""Defaults of SFTConfig's options, as in each paper."""
BATCH = {
    "per_device_train_batch_size": 1,
    "per_device_eval_batch_size": 1,
    "gradient_accumulation_steps": 8,
}
"""Defaults for both losses."""


@dataclass(frozen=True, kw_only=True)
class Config(HeldOutConfig):
    """`args` are fields of TRL's SFTConfig; a batch counts groups. By default one group at a
    time and eight a step.
    """

    stage = "ranking"
    trainer_options = "SFTConfig"
    loss: Literal["rrhf", "stable_alignment"]
    """The formula that compares the answers of a group."""
    length_penalty: Annotated[float, Field(ge=0)] = 1.0
    """RRHF: exponent of the length in s; 1 is the mean log-probability of a token."""
    weight: Annotated[float, Field(ge=0)] = 1.0
    """RRHF: weight of the ranking part of the loss."""
    ratio: Annotated[float, Field(ge=0)] = 0.2
    """Stable Alignment: weight of the contrastive part of the loss."""
    margin: Annotated[float, Field(ge=0)] = 10.0
    """Stable Alignment: by how many nats a token the worst-rated answer should lie below the best,
    if `scale` lies between them.
    """
    scale: Annotated[float, Field(gt=0)] | None = None
    """Stable Alignment: the largest possible difference of ratings (the paper's: 7); None: the
    largest difference among all ratings."""
    max_flow: bool = False
    """Stable Alignment: take the largest term of a group instead of the mean."""
    limit: Annotated[int, Field(ge=0)] = 0
    """The most answers of a group, to save memory (Stable Alignment's paper: 3); 0 for all."""


def check(config: Config) -> None:
    faults = Faults()
    with faults.gather():
        check_training(config)
    with faults.gather():
        check_token_options(config)
    if config.limit == 1:
        fault = UserError(
            "limit: a group of 1 compares nothing",
            where="stage 'ranking'",
            fix="give at least 2, or 0 for all answers",
        )
        faults.add(fault)
    defaults = {field.name: field.default for field in fields(Config)}
    for loss, options in OPTIONS.items():
        for option in options:
            if loss != config.loss and getattr(config, option) != defaults[option]:
                fault = UserError(
                    f"{option}: an option of the loss {loss!r}, not of {config.loss!r}",
                    where="stage 'ranking'",
                    fix=f"leave it out, or set loss: {loss}",
                )
                faults.add(fault)
    faults.raise_any()


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Train and save the model.

    Raises:
        UserError: no groups, scores that do not differ, unusable options, a model that
        cannot be loaded, memory or disk used up, a diverged loss.
    """
    examples, dropped = read_ratings(inputs)

    def build(base: Model) -> Training:
        fitting, too_long = prepare_examples(examples, base, config, context)
        lost = [*dropped, *too_long]
        groups, ungrouped = into_groups(fitting, config.limit, f"step {context.step!r}", lost)
        return Training(build_trainer(config, base, groups, context), [*too_long, *ungrouped])

    return run_training(config, inputs, context, build, dropped=dropped, measure=measure_held_out)


STAGE = training_stage(
    version=2,
    config=Config,
    run=run,
    inputs={"model": Model},
    optional={"responses": Response, "*": Rating},
    least=1,
    gives=Model,
    reads=COLUMNS,
    check=check,
    meant_to_drop=("more than `limit` answers",),
)


def build_trainer(config: Config, base: Model, groups: Examples, context: Context) -> Any:
    """The trainer over the base model; nothing is trained yet."""
    from stages.training.offline.group_trainer import GroupCollator, GroupTrainer, group_row

    all_scores = [score for group in groups for score in group["scores"]]
    scale = config.scale or max(all_scores) - min(all_scores)

    def loss(sums: Any, lengths: Any, scores: Any) -> Any:
        if config.loss == "rrhf":
            return rrhf_loss(sums, lengths, scores, config.length_penalty, config.weight)
        return stable_alignment_loss(
            sums, lengths, scores, config.ratio, config.margin, scale, config.max_flow
        )

    defaults = {**DEFAULTS[config.loss], "dataset_kwargs": {"skip_prepare_dataset": True}}
    arguments = build_arguments("SFTConfig", config.args, context, **BATCH, **defaults)
    policy = load_policy(config, base, context)
    tokenizer = policy["processing_class"]
    variables = template_variables(context)
    train, held = split_held_out(groups, config.eval_fraction, context)
    return create_trainer(
        GroupTrainer,
        [group_row(group, tokenizer, variables) for group in train],
        [group_row(group, tokenizer, variables) for group in held],
        context,
        **policy,
        args=arguments,
        data_collator=GroupCollator(pad_token(tokenizer) or 0),
        loss=loss,
        length_penalty=config.length_penalty,
    )
