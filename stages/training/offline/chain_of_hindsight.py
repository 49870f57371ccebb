"""Stage `chain_of_hindsight`: learn to write a good or a bad answer on request, from seeing both
beside their feedback.

In: `model` and `pairs`. Out: a model that is prompted with a better-phrase as the `suffix` of
`respond`.

Chain of Hindsight (Liu et al. 2023, arXiv 2302.02676), in the turns of a chat:

    user: the request, "Give a good answer."   assistant: the chosen answer
    user: "Give a bad answer."                 assistant: the rejected answer

and the same with the bad answer first. The loss covers both answers and the ends of their turns,
never a phrase. Phrases are drawn for every pair from two lists. As in the paper, a part of the past
tokens is hidden in training, so that the second answer does not copy the first (forgetful causal
masking): each conversation draws a share between 0 and `forget`, and each position draws by it
which earlier tokens it does not see. Left out: the paper's loss on pretraining texts, against
forgetting; chains of more than two answers; the label of a pair, except for 0.5, which states
no preference.

A part of the prompts is held out: how often, and by how much, a better-phrase in place of a
worse-phrase raises the log-probability of the chosen answer compared with the rejected one. A
training that was killed goes on from its last complete checkpoint (see `sft.py`).
"""

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from stages.guards.errors import Faults, UserError
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.models import Model
from stages.runtime.rows import Dropped, Message, Pair
from stages.runtime.store import derive_seed
from stages.text.respond import with_suffix
from stages.training.arguments import build_arguments
from stages.training.config import HeldOutConfig, check_training, training_stage
from stages.training.examples import drop_refused, prepare_examples
from stages.training.frame import Examples, Training, create_trainer, run_training
from stages.training.held_out import measure_held_out, split_held_out
from stages.training.model_files import load_policy, template_variables
from stages.training.pair_data import COLUMNS, read_pairs
from stages.training.spans import check_token_options, learnt_tokens

BETTER = ("Give a good answer.", "Answer this well.", "Write the answer that people prefer.")
WORSE = ("Give a bad answer.", "Answer this badly.", "Write the answer that people reject.")


@dataclass(frozen=True, kw_only=True)
class Config(HeldOutConfig):
    """`args` are fields of TRL's SFTConfig."""

    stage = "chain_of_hindsight"
    trainer_options = "SFTConfig"
    better: tuple[str, ...] = BETTER
    """Phrases that ask for the chosen answer."""
    worse: tuple[str, ...] = WORSE
    """Phrases that ask for the rejected one."""
    orders: Literal["both", "drawn"] = "both"
    """Both orders of every pair, or one, drawn."""
    forget: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """The largest share of past tokens that a position does not see, in [0, 1): each conversation
    draws its share between 0 and this. The paper's: 0.05 (0 to 5 %); 0 hides nothing.
    """


def check(config: Config) -> None:
    faults = Faults()
    with faults.gather():
        check_training(config)
    with faults.gather():
        check_token_options(config)
    where = "stage 'chain_of_hindsight'"
    phrases = [phrase.strip() for phrase in (*config.better, *config.worse)]
    shared = {*config.better} & {*config.worse}
    if not config.better or not config.worse or "" in phrases or shared:
        fault = UserError(
            "better and worse: each needs a phrase, none of them empty and none in both",
            where=where,
            fix="give two lists of phrases, or leave both out",
        )
        faults.add(fault)
    kwargs = config.args.get("model_init_kwargs") or {}
    if config.forget and "flash" in str(kwargs):
        fault = UserError(
            "flash attention cannot hide single tokens",
            where=where,
            fix="set forget: 0, or another attn_implementation",
        )
        faults.add(fault)
    faults.raise_any()


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Train and save the model.

    Raises:
        UserError: no pairs, unusable options, a chat template that rewrites earlier turns, a model
        that cannot be loaded, memory or disk used up, a diverged loss.
    """
    pairs, dropped = read_preferences(inputs["pairs"])
    train, held = split_held_out(pairs, config.eval_fraction, context)
    chains: Examples = []
    for pair in train:
        chains += chains_of(pair, config, context.seed)

    def build(base: Model) -> Training:
        fitting, too_long = prepare_examples(chains, base, config, context)
        readable, refused = drop_refused(held, base, config, context)
        trainer = build_trainer(config, base, fitting, readable, context)
        return Training(trainer, [*too_long, *refused])

    return run_training(config, inputs, context, build, dropped=dropped, measure=measure_held_out)


STAGE = training_stage(
    version=2,
    config=Config,
    run=run,
    inputs={"model": Model, "pairs": Pair},
    gives=Model,
    reads={Pair: COLUMNS},
    check=check,
)


def read_preferences(artifact: Artifact) -> tuple[Examples, list[Dropped]]:
    """The pairs of which one side is preferred.

    Raises:
        UserError: none is left.
    """
    examples, dropped = read_pairs(artifact)
    pairs: Examples = []
    for pair in examples:
        if pair["soft_label"] == 0.5:
            dropped.append(Dropped(id=pair["id"], reason="no preference"))
        else:
            pairs.append(pair)
    if not pairs:
        raise UserError(
            "no pair is left to train on: every label is 0.5",
            where=f"input 'pairs' (step {artifact.step!r})",
            fix="make pairs with a preference",
        )
    return pairs, dropped


def chains_of(pair: dict[str, Any], config: Config, seed: int) -> Examples:
    """A pair's conversations.

    Returns:
        Their `prompt` ends with the first phrase; `completion` is an answer, the other phrase and
        the other answer.
    """
    good = (config.better, pair["chosen"])
    bad = (config.worse, pair["rejected"])
    orders = [("good first", good, bad), ("bad first", bad, good)]
    if config.orders == "drawn":
        orders = [orders[derive_seed(seed, pair["id"], "order") % 2]]
    chains = []
    for name, (first_phrases, first), (second_phrases, second) in orders:
        opening = first_phrases[derive_seed(seed, pair["id"], name, 0) % len(first_phrases)]
        closing = second_phrases[derive_seed(seed, pair["id"], name, 1) % len(second_phrases)]
        chains.append(
            {
                "id": f"{pair['id']} {name}",
                "prompt": with_suffix(pair["prompt"], opening),
                "completion": [*first, {"role": "user", "content": closing}, *second],
            }
        )
    return chains


def build_trainer(
    config: Config, base: Model, chains: Examples, held: Examples, context: Context
) -> Any:
    """The trainer over the base model; nothing is trained yet.

    Args:
        held: pairs; the trainer gets those whose chosen and rejected answers fit behind both a
            better-phrase and a worse-phrase.

    Raises:
        UserError: the model's attention cannot hide single tokens.
    """
    from stages.training.offline.hindsight_trainer import HindsightTrainer

    policy = load_policy(config, base, context)
    if config.forget and "flash" in str(policy["model"].config._attn_implementation):
        raise UserError(
            "flash attention cannot hide single tokens",
            where=f"step {context.step!r}",
            fix="set forget: 0, or args.model_init_kwargs: {attn_implementation: sdpa}",
        )
    variables = template_variables(context)

    def tokens(prompt: list[Message], completion: list[Message]) -> dict[str, list[int]]:
        ids, labels = learnt_tokens(policy["processing_class"], prompt, completion, variables)
        return {"input_ids": ids, "labels": labels}

    arguments = build_arguments("SFTConfig", config.args, context)
    limit = arguments.max_length or math.inf
    contrasts: Examples = []
    for pair in held:
        rows = []
        for phrases in (config.better, config.worse):
            prompt = with_suffix(pair["prompt"], phrases[0])
            rows.append(tokens(prompt, pair["chosen"]))
            rows.append(tokens(prompt, pair["rejected"]))
        if all(len(row["input_ids"]) <= limit for row in rows):
            contrasts += rows
    return create_trainer(
        HindsightTrainer,
        [tokens(chain["prompt"], chain["completion"]) for chain in chains],
        [],
        context,
        **policy,
        args=arguments,
        forget=config.forget,
        contrasts=contrasts,
    )
