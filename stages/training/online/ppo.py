"""Stage `ppo`: proximal policy optimisation with a value model; with costs, its Lagrangian form
(Safe RLHF).

In: `model`, `prompts` and other Prompt rows, the models that the terms of `rewards` and `costs`
name, and `value`, the scalar model that the value model starts from (by default the first reward
model, as in SALMON). Out: a model.

Schulman et al. 2017 (arXiv 1707.06347) as used for language models: Ziegler et al. 2019 (arXiv
1909.08593), Sun et al. 2023 (SALMON, arXiv 2310.05910), Dai et al. 2023 (Safe RLHF, arXiv
2310.12773). The trainer is `ppo_trainer.py`, the arithmetic `ppo_math.py`, its options
`ppo_config.py`. Left out: the loss on pretraining or supervised texts that some mix in (Safe RLHF's
PTX); FSDP and DeepSpeed, which cannot
yet hold a policy and a value model at once: data-parallel processes can.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from stages.generators.rendering import read_tokenizer
from stages.guards.errors import UserError, refuse_unknown
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.models import Model
from stages.runtime.stage import Expected, Kind
from stages.training.online.hacking.stop_rule import doubt_stop
from stages.training.online.model_terms import RewardModelTerm
from stages.training.online.online_training import (
    OnlineConfig,
    check_online,
    check_online_inputs,
    foresee_terms,
    online_identity,
    online_stage,
    run_online,
)
from stages.training.online.rewards import inputs_of, read_terms, terms_identity
from stages.training.online.terms import Term

WITHOUT_EFFECT = ("scale_rewards", "multi_objective_aggregation")
"""Options of GRPO: how a group's rewards become advantages."""


@dataclass(frozen=True, kw_only=True)
class Config(OnlineConfig):
    """`args` are fields of GRPOConfig and of `ppo_config.PPOConfig`."""

    stage = "ppo"
    trainer_options = "PPOConfig"
    costs: dict[str, Any] = field(default_factory=dict)
    """Terms of the constraint: mean cost <= `args.cost_threshold`; without any it is plain PPO."""

    @cached_property
    def cost_terms(self) -> dict[str, Term]:
        """The checked terms of the costs; errors as in `read_terms`."""
        return read_terms(self.costs, self.stage, "costs")


def check(config: Config) -> None:
    """Refuse options of the trainer and terms that cannot work."""
    for name in WITHOUT_EFFECT:
        if name in config.args:
            raise UserError(
                f"args: {name!r} has no effect in PPO",
                where="stage 'ppo'",
                fix="remove it; see whiten_rewards and score_clip",
            )
    check_online(config)
    if config.cost_terms and config.args.get("whiten_rewards"):
        raise UserError(
            "args: 'whiten_rewards' would scale the reward, and not the cost it is weighed against",
            where="stage 'ppo'",
            fix="remove it; the mixed advantages are whitened",
        )
    repeated = config.cost_terms.keys() & config.rewards.keys()
    if repeated:
        raise UserError(
            f"{', '.join(repeated)} is both a reward and a cost",
            where="stage 'ppo'",
            fix="give the terms different names",
        )


def identity(config: Config) -> dict[str, Any]:
    """The parts of the options and of the terms that identify a result."""
    costs = config.cost_terms
    if not costs:
        return online_identity(config)
    terms = {"costs": terms_identity(costs), "cost_terms": list(costs)}
    return online_identity(config) | terms


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Train and save the model; errors as in `run_online`.

    Raises:
        UserError: also for a value model of another tokenizer.
    """
    costs = config.cost_terms

    def make_trainer(args: Any, **arguments: Any) -> Any:
        from stages.training.online.ppo_trainer import PPOTrainer

        _refuse_sharding(args, context)
        value_models = {}
        for name, terms in _summed_terms(config).items():
            value_models[name] = _load_value_model(terms, config, inputs, context)
        return PPOTrainer(args=args, value_models=value_models, costs=costs, **arguments)

    return run_online(config, inputs, context, make_trainer, costs=costs, other_models=["value"])


def check_inputs(config: Config, inputs: Mapping[str, Kind]) -> None:
    """Refuse terms of the reward and of the costs that name an input which the step lacks."""
    check_online_inputs(config, inputs)
    named = inputs_of(config.cost_terms)
    where = f"stage {config.stage!r}, costs"
    refuse_unknown(named, inputs, "a term of the costs names an unknown input", where)


def foresee(config: Config, inputs: Mapping[str, Expected]) -> list[str]:
    """Warn as the terms do, and refuse value models that cannot read the policy's tokens, where the
    models are on this disk.

    The tokenizers' files tell quickly that two vocabularies are equal. Where they differ, the
    tokenizers are loaded as the training does, since their other files may add what one lacks.

    Raises:
        UserError: the vocabularies differ.
    """
    policy = inputs["model"].find_model()
    for terms in _summed_terms(config).values():
        source = _value_source(terms, inputs)
        start = inputs[source].find_model()
        if policy and start:
            files = [read_tokenizer(model.path) for model in (policy, start)]
            if None not in files and files[0].get_vocab() != files[1].get_vocab():
                _refuse_other_vocabulary(start, policy, config, f"inputs.{source}")
    doubts = doubt_stop(config.stop, config.snapshots)
    return foresee_terms(config.reward_terms | config.cost_terms, inputs) + doubts


STAGE = online_stage(
    version=4,
    config=Config,
    run=run,
    check=check,
    check_inputs=check_inputs,
    foresee=foresee,
    identity=identity,
)


def _summed_terms(config: Config) -> dict[str, dict[str, Term]]:
    """The terms of each sum that has a value model."""
    costs = config.cost_terms
    return {"reward": config.reward_terms} | ({"cost": costs} if costs else {})


def _value_source(terms: Mapping[str, Term], inputs: Collection[str]) -> str:
    """The input whose model the value model of a sum of terms starts from.

    It is `value` where the step has that input, else the first reward model of the sum, and the
    policy itself where no term is one.

    Args:
        terms: those of the sum.
        inputs: the names of the step's inputs.
    """
    reward_models = [term.model for term in terms.values() if isinstance(term, RewardModelTerm)]
    return "value" if "value" in inputs else [*reward_models, "model"][0]


def _refuse_other_vocabulary(start: Model, policy: Model, config: Config, where: str) -> None:
    """Refuse a start whose tokens are not the policy's: it would read them as other words.

    Raises:
        UserError: the vocabularies differ.
    """
    from stages.training.model_files import load_tokenizer

    vocabulary = load_tokenizer(start, config.args).get_vocab()
    if vocabulary != load_tokenizer(policy, config.args).get_vocab():
        raise UserError(
            "the value model would start from a model with another vocabulary than the policy's",
            where=where,
            fix="give one that shares it as `inputs: {value: <a step>}`: the policy itself works",
        )


def _load_value_model(
    terms: Mapping[str, Term], config: Config, inputs: Mapping[str, Artifact], context: Context
) -> Any:
    """A scalar model over the policy's vocabulary, for the sum of some terms to start from.

    Raises:
        UserError: the vocabularies differ.
    """
    from transformers import set_seed

    from stages.training.model_files import load_model

    source = _value_source(terms, inputs)
    start = inputs[source].model()
    where = f"step {context.step!r}, inputs.{source}"
    _refuse_other_vocabulary(start, inputs["model"].model(), config, where)
    set_seed(context.seed % 2**32)  # a language model's new output is drawn
    return load_model(start, config.dtype or "float32", {}, head="scalar", new_output=True)


def _refuse_sharding(args: Any, context: Context) -> None:
    """Refuse what splits weights among processes: value models are no part of it.

    Raises:
        UserError: FSDP or DeepSpeed is asked for.
    """
    kind = args.distributed_state.distributed_type
    if args.deepspeed or args.fsdp or kind in ("FSDP", "DEEPSPEED"):
        raise UserError(
            "PPO cannot be sharded by FSDP or DeepSpeed",
            where=f"step {context.step!r}",
            fix="launch it with launcher=torchrun, or use the stages grpo or rloo",
        )
