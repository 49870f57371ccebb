"""Stage `ppo`: proximal policy optimisation with a value model; with costs, its Lagrangian form
(Safe RLHF).

In: `model`, `prompts` and other Prompt rows, the models that the terms of `rewards` and `costs`
name, and `value`, the scalar model that the value model starts from (by default the first reward
model, as in SALMON). Out: a model.

Schulman et al. 2017 (arXiv 1707.06347) as used for language models: Ziegler et al. 2019 (arXiv
1909.08593), Sun et al. 2023 (SALMON, arXiv 2310.05910), Dai et al. 2023 (Safe RLHF, arXiv
2310.12773). The trainer is `ppo_trainer.py`, the arithmetic `ppo_math.py`, its options
`ppo_config.py`. Left out: the pretraining loss that some mix in; FSDP and DeepSpeed, which cannot
yet hold a policy and a value model at once: data-parallel processes can.
"""

from dataclasses import dataclass, field
from typing import Any

from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.errors import UserError
from stages.runtime.stage import Stage
from stages.training.online import rollouts as online
from stages.training.online.rewards import RewardModelTerm, Term, read_terms, terms_identity

WITHOUT_EFFECT = {
    "scale_rewards",
    "multi_objective_aggregation",
}  # GRPO's: how a group's rewards become advantages


@dataclass(frozen=True, kw_only=True)
class Config(online.OnlineConfig):
    """`args` are fields of GRPOConfig and of `ppo_config.PPOConfig`."""

    stage = "ppo"
    trainer_options = "PPOConfig"
    costs: dict[str, Any] = field(default_factory=dict)
    """Terms of what is to stay below `args.cost_threshold`; none: plain PPO."""


def identity(config: Config) -> dict[str, Any]:
    for name in WITHOUT_EFFECT & config.args.keys():
        raise UserError(
            f"args: {name!r} says nothing in PPO",
            where="stage 'ppo'",
            fix="remove it; see whiten_rewards and score_clip",
        )
    costs = terms_identity(_costs(config))
    return online.online_identity(config) | (
        {"costs": costs, "cost_terms": list(costs)} if costs else {}
    )


def _costs(config: Config) -> dict[str, Term]:
    costs = read_terms(config.costs, "ppo", "costs") if any(config.costs.values()) else {}
    if twice := costs.keys() & config.rewards.keys():
        raise UserError(
            f"{', '.join(twice)} is both a reward and a cost",
            where="stage 'ppo'",
            fix="give the terms different names",
        )
    return costs


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Train and save the model.

    Raises:
        UserError: unusable options, terms or models, a value model of another tokenizer, a reward
        that is no number or never differs, no prompts, memory or disk used up, a diverged loss.
    """
    costs = _costs(config)
    sources = {"reward": _source(read_terms(config.rewards, "ppo"), inputs)}
    if costs:
        sources["cost"] = _source(costs, inputs)

    def make(**given: Any) -> Any:
        from stages.training.online.ppo_trainer import PPOTrainer

        _refuse_sharding(given["args"], context)
        starts = {
            name: _scalar(source, inputs, config, context) for name, source in sources.items()
        }
        weights = {name: term.weight for name, term in costs.items()}
        return PPOTrainer(value_models=starts, costs=weights, **given)

    others = tuple(name for name in inputs if name == "value")
    return online.run_online(config, inputs, context, make, others, more_terms=costs)


STAGE = Stage(
    version=2,
    config=Config,
    run=run,
    inputs=online.NEEDS,
    optional=online.ALSO_TAKES,
    trains=True,
    identity=identity,
)


def _source(terms: dict[str, Term], inputs: dict[str, Artifact]) -> str:
    """The input that a value model starts from."""
    if "value" in inputs:
        return "value"
    return next(
        (term.model for term in terms.values() if isinstance(term, RewardModelTerm)), "model"
    )


def _scalar(source: str, inputs: dict[str, Artifact], config: Config, context: Context) -> Any:
    """A scalar model over the policy's vocabulary."""
    from transformers import set_seed

    from stages.training.model_files import load_model, load_tokenizer

    given = inputs.get(source, inputs["model"]).model()
    policy = inputs["model"].model()
    if (
        load_tokenizer(given, config.args).get_vocab()
        != load_tokenizer(policy, config.args).get_vocab()
    ):
        raise UserError(
            "the value model would start from a model with another vocabulary than the policy's",
            where=f"step {context.step!r}, inputs.{source}",
            fix="give one that shares it as `inputs: {value: <a step>}`: the policy itself will do",
        )
    set_seed(context.seed % 2**32)  # a language model's new output is drawn
    return load_model(given, config.dtype, {}, "scalar")


def _refuse_sharding(arguments: Any, context: Context) -> None:
    if (
        arguments.deepspeed
        or arguments.fsdp
        or arguments.distributed_state.distributed_type in ("FSDP", "DEEPSPEED")
    ):
        raise UserError(
            "PPO cannot be sharded by FSDP or DeepSpeed",
            where=f"step {context.step!r}",
            fix="launch it with launcher=torchrun, or use the stages grpo or rloo",
        )
