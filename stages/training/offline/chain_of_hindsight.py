"""Stage `chain_of_hindsight`: learn to write a good or a bad answer, as asked, from seeing both
beside their feedback.

In: `model` and `pairs`. Out: a model that is asked with a better-phrase as the `suffix` of
`respond`.

Chain of Hindsight (Liu et al. 2023, arXiv 2302.02676), in the turns of a chat:

    user: the request, "Give a good answer."   assistant: the chosen answer
    user: "Give a bad answer."                 assistant: the rejected answer

and the same with the bad answer first. The loss covers both answers and the ends of their turns,
never a phrase. Phrases are drawn for every pair from two lists. As in the paper, each past token is
hidden from attention with probability `forget` in training, so that the second answer is no copy of
the first (forgetful causal masking). Left out: the paper's loss on pretraining texts, against
forgetting; chains of more than two answers; the label of a pair, but for 0.5, which is no
preference.

A part of the prompts is held out: how often the phrase turns the balance there, which is to say
that the chosen answer gains on the rejected one, in log-probability, when a better-phrase is in the
place of a worse-phrase; and by how much. A training that was killed goes on from its last whole
checkpoint (see `sft.py`).
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.errors import UserError
from stages.runtime.rows import Dropped
from stages.runtime.settings import machine
from stages.runtime.stage import Stage
from stages.runtime.store import derive_seed
from stages.text.respond import with_suffix
from stages.training.arguments import check_options, identity_args
from stages.training.frame import Examples, held_out, trained
from stages.training.pair_data import read_pairs, split_held_out
from stages.training.spans import refuse_unusable

BETTER = ("Give a good answer.", "Answer this well.", "Write the answer that people prefer.")
WORSE = ("Give a bad answer.", "Answer this badly.", "Write the answer that people reject.")


@dataclass(frozen=True)
class Config:
    """Args:
    better: phrases that ask for the chosen answer.
    worse: phrases that ask for the rejected one.
    orders: both orders of every pair, or one, drawn.
    forget: probability with which a past token is hidden, in [0, 1); the paper's is 0.15.
    eval_fraction: share of the prompts to hold out, in [0, 1).
    args: fields of TRL's SFTConfig.
    lora: fields of peft's LoraConfig, {} for its defaults; None trains all weights.
    dtype: type of the weights in training. The model is saved in the type the base model came in.
    """

    better: tuple[str, ...] = BETTER
    worse: tuple[str, ...] = WORSE
    orders: Literal["both", "drawn"] = "both"
    forget: float = 0.15
    eval_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1
    args: dict[str, Any] = field(default_factory=dict)
    lora: dict[str, Any] | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = machine("float32")


def check(config: Config) -> None:
    check_options("SFTConfig", config.args, config.lora, "chain_of_hindsight")
    refuse_unusable(config.args, "chain_of_hindsight")
    phrases = [phrase.strip() for phrase in (*config.better, *config.worse)]
    if not config.better or not config.worse or "" in phrases or {*config.better} & {*config.worse}:
        raise UserError(
            "better and worse: each needs a phrase, none of them empty and none in both",
            where="stage 'chain_of_hindsight'",
            fix="give two lists of phrases, or leave both out",
        )
    if not 0 <= config.forget < 1:
        raise UserError(
            f"forget: {config.forget} is no share of the tokens",
            where="stage 'chain_of_hindsight'",
            fix="give a number from 0 up to, but not including, 1",
        )
    kwargs = config.args.get("model_init_kwargs") or {}
    if config.forget and "flash" in str(kwargs.get("attn_implementation")):
        raise UserError(
            "flash attention cannot hide single tokens",
            where="stage 'chain_of_hindsight'",
            fix="set forget: 0, or another attn_implementation",
        )


def identity(config: Config) -> dict[str, Any]:
    return {"args": identity_args(config.args)}


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Train and save the model.

    Raises:
        UserError: no pairs, unusable options, a chat template that rewrites earlier turns, a model
        that cannot be loaded, memory or disk used up, a diverged loss.
    """
    check(config)
    pairs, dropped = read_pairs(inputs["pairs"])
    dropped += [
        Dropped(id=pair["id"], reason="no preference")
        for pair in pairs
        if pair["soft_label"] == 0.5
    ]
    pairs = [pair for pair in pairs if pair["soft_label"] != 0.5]
    if not pairs:
        raise UserError(
            "no pair is left to train on: every label is 0.5",
            where=f"input 'pairs' (step {inputs['pairs'].step!r})",
            fix="make pairs with a preference",
        )
    train, held = split_held_out(pairs, config.eval_fraction, context)
    chains = [chain for pair in train for chain in chains_of(pair, config, context.seed)]

    def build(kept: Examples) -> Any:
        return build_trainer(config, inputs, kept, held, context)

    return trained("SFTConfig", config, inputs, context, chains, dropped, build, measure=held_out)


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    inputs=("model", "pairs"),
    trains=True,
    check=check,
    identity=identity,
)


def chains_of(pair: dict[str, Any], config: Config, seed: int) -> Examples:
    """A pair's conversations: `prompt` ends with the first phrase, `completion` is an answer, the
    other phrase and answer.
    """
    good = (config.better, pair["chosen"])
    bad = (config.worse, pair["rejected"])
    orders = [("good first", good, bad), ("bad first", bad, good)]
    if config.orders == "drawn":
        orders = [orders[derive_seed(seed, pair["id"], "order") % 2]]
    chains = []
    for name, (first_phrases, first), (second_phrases, second) in orders:
        opening, closing = (
            phrases[derive_seed(seed, pair["id"], name, place) % len(phrases)]
            for place, phrases in enumerate((first_phrases, second_phrases))
        )
        completion = [*first, {"role": "user", "content": closing}, *second]
        chains.append(
            {
                "id": f"{pair['id']} {name}",
                "prompt": with_suffix(pair["prompt"], opening),
                "completion": completion,
            }
        )
    return chains


def build_trainer(
    config: Config, inputs: dict[str, Artifact], chains: Examples, held: Examples, context: Context
) -> Any:
    """The trainer over the input model; nothing is trained yet."""
    from stages.training.offline.hindsight import build_hindsight_trainer

    contrasts = [
        {"prompt": with_suffix(pair["prompt"], phrases[0]), "completion": pair[side]}
        for pair in held
        for phrases in (config.better, config.worse)
        for side in ("chosen", "rejected")
    ]
    return build_hindsight_trainer(config, inputs, chains, contrasts, context)
