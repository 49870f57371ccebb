"""Stage `stable_alignment`: give the best-rated answer, and push the others below it by a margin
that grows with the gap.

In: `model`, any number of inputs that hold Ratings, of which those of one request form a group, and
`responses` (the rows that were rated), optional: see `groups.py`. Out: a model.

The contrastive preference optimisation of Stable Alignment (Liu et al. 2023, arXiv 2305.16960).
With CE the mean cross-entropy of a token and s the ratings,

    m_i  = (s_best - s_i) / scale * margin
    loss = CE(best) + ratio * max(0, mean over the other i of [CE(best) - CE(y_i) + m_i])

With `max_flow` the largest term takes the place of the mean. A term is the answer's own: the
released code takes ratings by their place in a sorted list and answers by their place in the batch,
which gives an answer another one's margin. Left out: the society of agents that wrote the paper's
data; critiques and revisions as training texts (`revise` and `sft`).

A part of the groups is held out: the share in which the best-rated answer is the likeliest token by
token, and by how much. A training that was killed goes on from its last whole checkpoint (see
`sft.py`).
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.errors import UserError
from stages.runtime.settings import machine
from stages.runtime.stage import ANY, Stage
from stages.training.arguments import check_options, identity_args
from stages.training.frame import Examples, held_out, trained
from stages.training.offline.groups import check_limit, into_groups, read_ratings
from stages.training.spans import refuse_unusable


@dataclass(frozen=True)
class Config:
    """Args:
    ratio: weight of the contrastive part of the loss.
    margin: by how many nats a token the worst-rated answer should lie below the best, if `scale`
        lies between them.
    scale: how far ratings can lie apart (the paper's: 7); None for how far they do.
    max_flow: the largest term of a group in place of their mean.
    limit: answers of a group at most, for memory (the paper's: 3); 0 for all.
    eval_fraction: share of the prompts to hold out, in [0, 1).
    args: fields of TRL's SFTConfig; a batch counts groups. One group at a time and eight a step,
        unless they say other.
    lora: fields of peft's LoraConfig, {} for its defaults; None trains all weights.
    dtype: type of the weights in training. The model is saved in the type the base model came in.
    """

    ratio: Annotated[float, Field(ge=0)] = 0.2
    margin: Annotated[float, Field(ge=0)] = 10.0
    scale: float | None = None
    max_flow: bool = False
    limit: int = 0
    eval_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1
    args: dict[str, Any] = field(default_factory=dict)
    lora: dict[str, Any] | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = machine("float32")


def check(config: Config) -> None:
    check_options("SFTConfig", config.args, config.lora, "stable_alignment")
    refuse_unusable(config.args, "stable_alignment")
    check_limit(config.limit, "stable_alignment")
    if config.scale is not None and config.scale <= 0:
        raise UserError(
            f"scale: {config.scale} is no distance between ratings",
            where="stage 'stable_alignment'",
            fix="give a number above 0, or leave it out",
        )


def identity(config: Config) -> dict[str, Any]:
    return {"args": identity_args(config.args)}


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Train and save the model.

    Raises:
        UserError: no groups, ratings that do not tell answers apart, unusable options, a model that
        cannot be loaded, memory or disk used up, a diverged loss.
    """
    check(config)
    examples, dropped = read_ratings(inputs)

    def shape(kept: Examples) -> Any:
        return into_groups(kept, config.limit, f"step {context.step!r}")

    def build(groups: Examples) -> Any:
        return build_trainer(config, inputs, groups, context)

    return trained(
        "SFTConfig",
        config,
        inputs,
        context,
        examples,
        dropped,
        build,
        shape=shape,
        measure=held_out,
    )


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


def build_trainer(
    config: Config, inputs: dict[str, Artifact], groups: Examples, context: Context
) -> Any:
    """The trainer over the input model; nothing is trained yet."""
    from stages.training.offline.group_trainer import build_group_trainer

    all_scores = [score for group in groups for score in group["scores"]]
    scale = config.scale or max(all_scores) - min(all_scores)

    def loss(sums: Any, lengths: Any, scores: Any) -> Any:
        return stable_loss(
            sums, lengths, scores, config.ratio, config.margin, scale, config.max_flow
        )

    return build_group_trainer(config, inputs, groups, context, loss, 1.0, {"num_train_epochs": 7})


def stable_loss(
    sums: Any,
    lengths: Any,
    scores: Any,
    ratio: float = 0.2,
    margin: float = 10.0,
    scale: float = 7.0,
    max_flow: bool = False,
) -> Any:
    """The loss of one group.

    Args:
        sums: log pi(y_i), shape (answers,).
        lengths: tokens of each answer.
        scores: the ratings.
    """
    entropies = -sums / lengths
    best = int(scores.argmax())
    others = [i for i in range(len(scores)) if i != best]
    terms = entropies[best] - entropies[others] + (scores[best] - scores[others]) / scale * margin
    return entropies[best] + ratio * (terms.max() if max_flow else terms.mean()).clamp(min=0)
