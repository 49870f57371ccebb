"""Stage `rrhf`: learn to rank several rated answers to a request, and to give the best one.

In: `model`, any number of inputs that hold Ratings, of which those of one request form a group, and
`responses` (the rows that were rated), optional: see `groups.py`. Out: a model.

RRHF (Yuan et al. 2023, arXiv 2304.05302). With s_i = log pi(y_i) / |y_i|^length_penalty and scores
r_i,

    loss = weight * sum over r_i < r_j of max(0, s_i - s_j)  +  cross-entropy of the best answer

summed over the pairs of a group, averaged over groups. The cross-entropy is the mean over the
answer's tokens, as the paper has it; the released code divides by the padded length. Answers with
equal scores are not compared. No reference, no
reward model in training. Left out: beam search for candidates (use `respond` with `n`).

A part of the groups is held out: the share in which the best-rated answer is the likeliest by s,
and how far it lies above the mean of the others. A training that was killed goes on from its last
whole checkpoint (see `sft.py`).
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.settings import machine
from stages.runtime.stage import ANY, Stage
from stages.training.arguments import check_options, identity_args
from stages.training.frame import Examples, held_out, trained
from stages.training.offline.groups import check_limit, into_groups, read_ratings
from stages.training.spans import refuse_unusable


@dataclass(frozen=True)
class Config:
    """Args:
    length_penalty: exponent of the length in s; 1 is the mean log-probability of a token.
    weight: of the ranking part of the loss.
    limit: answers of a group at most, for memory; 0 for all.
    eval_fraction: share of the prompts to hold out, in [0, 1).
    args: fields of TRL's SFTConfig; a batch counts groups. One group at a time and eight a step,
        unless they say other.
    lora: fields of peft's LoraConfig, {} for its defaults; None trains all weights.
    dtype: type of the weights in training. The model is saved in the type the base model came in.
    """

    length_penalty: Annotated[float, Field(ge=0)] = 1.0
    weight: Annotated[float, Field(ge=0)] = 1.0
    limit: int = 0
    eval_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1
    args: dict[str, Any] = field(default_factory=dict)
    lora: dict[str, Any] | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = machine("float32")


def check(config: Config) -> None:
    check_options("SFTConfig", config.args, config.lora, "rrhf")
    refuse_unusable(config.args, "rrhf")
    check_limit(config.limit, "rrhf")


def identity(config: Config) -> dict[str, Any]:
    return {"args": identity_args(config.args)}


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Train and save the model.

    Raises:
        UserError: no groups, scores that do not tell answers apart, unusable options, a model that
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

    def loss(sums: Any, lengths: Any, scores: Any) -> Any:
        return rrhf_loss(sums, lengths, scores, config.length_penalty, config.weight)

    defaults = {"lr_scheduler_type": "cosine"}  # the paper's
    return build_group_trainer(
        config, inputs, groups, context, loss, config.length_penalty, defaults
    )


def rrhf_loss(
    sums: Any, lengths: Any, scores: Any, length_penalty: float = 1.0, weight: float = 1.0
) -> Any:
    """The loss of one group.

    Args:
        sums: log pi(y_i), shape (answers,).
        lengths: tokens of each answer.
        scores: r_i.
    """
    s = sums / lengths**length_penalty
    worse = scores[:, None] < scores[None, :]
    ranking = ((s[:, None] - s[None, :]).clamp(min=0) * worse).sum()
    best = scores.argmax()
    return weight * ranking - sums[best] / lengths[best]
