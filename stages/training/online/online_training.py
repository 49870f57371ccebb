"""What the stages share that learn from the policy's own rollouts.

In: `model` (the policy and, frozen, the reference), `prompts` and any other inputs of Prompt rows,
and the models that the terms of the reward name. Out: a model. Rollouts come from transformers, or
on a GPU from vLLM in one of TRL's ways: `args: {use_vllm: true, vllm_mode: colocate}`.

A training that was killed goes on from its last complete checkpoint and ends with the same weights
as an uninterrupted one: checkpoints are only made between two rollouts, and the principles drawn
depend on the step's number alone. That holds for rollouts from transformers; no checkpoint holds
vLLM's random state.
"""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from typing import Any

from stages.doubts.trainings import doubt_drift
from stages.generators.chat import arrange, template_only
from stages.guards.errors import Faults, refuse_unknown
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.models import Model
from stages.runtime.rows import Prompt, Proposal
from stages.runtime.stage import Expected, Kind
from stages.runtime.typed_config import machine
from stages.training.arguments import build_arguments
from stages.training.config import TrainingConfig, check_training, training_identity, training_stage
from stages.training.frame import Training, create_trainer, run_training
from stages.training.model_files import examine_policy, load_policy, template_variables
from stages.training.online.hacking.stop_rule import (
    StopRule,
    check_stop,
    conclude,
    doubt_stop,
)
from stages.training.online.hacking.tripwires import describe_tripped, read_curves
from stages.training.online.rewards import inputs_of, read_terms, reward_functions, terms_identity
from stages.training.online.rollout_prompts import check_rollout_size, drop_too_long, read_prompts
from stages.training.online.terms import Term


@dataclass(frozen=True, kw_only=True)
class OnlineConfig(TrainingConfig):
    """The options of every online stage."""

    rewards: dict[str, Any]
    """The terms of the reward, by name (see `rewards.py`)."""
    stop: StopRule | None = machine(None)  # `online_identity` adds it, if set
    """When the training is taken to be hacked, and ends; None: never."""

    @cached_property
    def reward_terms(self) -> dict[str, Term]:
        """The checked terms of the reward; errors as in `read_terms`."""
        return read_terms(self.rewards, self.stage)


def check_online(config: OnlineConfig) -> None:
    """Refuse options of the trainer and terms of the reward that cannot work."""
    faults = Faults()
    with faults.gather():
        check_training(config)
    with faults.gather():
        terms = config.reward_terms  # reading them checks them
        if config.stop:
            check_stop(config.stop, terms, config.stage)
    faults.raise_any()


def online_identity(config: OnlineConfig) -> dict[str, Any]:
    """The parts of the options and of the terms that identify a result."""
    rewards = config.reward_terms
    terms = {"rewards": terms_identity(rewards), "terms": list(rewards)}
    rule = {"stop": asdict(config.stop)} if config.stop else {}
    return training_identity(config) | terms | rule


def online_choices(config: OnlineConfig) -> list[tuple[str, tuple[str, ...]]]:
    """The scales of the judges in the reward."""
    return [choice for term in config.reward_terms.values() for choice in term.choices()]


def check_online_inputs(
    config: OnlineConfig,
    inputs: Mapping[str, Kind],
) -> None:
    """Refuse a reward whose terms name an input that the step does not have."""
    named = inputs_of(config.reward_terms)
    where = f"stage {config.stage!r}, rewards"
    refuse_unknown(named, inputs, "a term of the reward names an unknown input", where)


def foresee_terms(
    terms: Mapping[str, Term],
    inputs: Mapping[str, Expected],
) -> list[str]:
    """The warnings of the terms, each with its term's name."""
    warnings = []
    for name, term in terms.items():
        warnings += [f"{name}: {text}" for text in term.foresee(inputs)]
    return warnings


def foresee_online(
    config: OnlineConfig,
    inputs: Mapping[str, Expected],
) -> list[str]:
    doubts = doubt_stop(config.stop, config.snapshots)
    return foresee_terms(config.reward_terms, inputs) + doubts


online_stage = partial(
    training_stage,
    choices=online_choices,
    check_inputs=check_online_inputs,
    foresee=foresee_online,
    inputs={"model": Model, "prompts": Prompt},
    optional={"*": Model | Prompt | Proposal},
    gives=Model,
    reads={
        Prompt: ("id", "messages", "kind"),
        Proposal: ("id", "prompt_id", "text", "weight", "gate"),
    },
    check=check_online,
    identity=online_identity,
)
"""A training stage with what the online stages share."""


def run_online(
    config: OnlineConfig,
    inputs: Mapping[str, Artifact],
    context: Context,
    make_trainer: Callable[..., Any],
    *,
    defaults: Mapping[str, Any] | None = None,
    costs: Mapping[str, Term] | None = None,
    other_models: Collection[str] = (),
) -> Result:
    """Read prompts and terms, train and save.

    Args:
        make_trainer: builds the trainer from keyword arguments that TRL's online trainers share.
        defaults: options of the trainer that the user can override; None: those of GRPO's rollouts.
        costs: terms beside the rewards, with weight 0 in the reward.
        other_models: inputs that are models, besides `model` and those that terms name.

    Raises:
        UserError: unusable terms or models, a reward that is not a number or never differs, no
        prompts, memory or disk used up, a diverged loss.
    """
    costs = costs or {}
    rewards = config.reward_terms
    others = {"model", *other_models, *inputs_of({**rewards, **costs})}
    prompts, repeated = read_prompts(inputs, others, context.step)
    silent: list[str] = []
    watchers: list[Any] = []

    def build(base: Model) -> Training:
        from stages.training.online.callbacks import AlignedSaves, NoSignal

        options = defaults
        variables = template_variables(context)
        if options is None:
            # The trainer loads the reference again, from the policy's folder.
            loading: dict[str, Any] = {"use_safetensors": True, "trust_remote_code": False}
            if base.revision is not None:
                loading["revision"] = base.revision
            options = {"model_init_kwargs": loading}
            if template_only(variables):
                options["chat_template_kwargs"] = template_only(variables)
        policy = load_policy(config, base, context)
        arguments = build_arguments(
            config.trainer_options,
            config.args,
            context,
            reward_weights=[term.weight for term in rewards.values()] + [0.0] * len(costs),
            **options,
        )
        model = policy["model"]
        tokenizer = policy["processing_class"]
        fitting, too_long = drop_too_long(prompts, model, tokenizer, arguments, context)
        check_rollout_size(fitting, arguments, context)
        rows = []
        for prompt in fitting:
            messages = arrange(prompt.messages, variables)
            rows.append({"prompt": messages, "prompt_id": prompt.id, "kind": prompt.kind})
        end_tokens = end_tokens_of(model, tokenizer)
        prefilled = examine_policy(model, tokenizer, base, context).prefilled
        if config.stop:
            from stages.training.online.hacking.stopping import StopTraining

            watchers.append(StopTraining(config.stop, partial(_say, context)))
        trainer = create_trainer(
            make_trainer,
            rows,
            [],
            context,
            **policy,
            args=arguments,
            reward_funcs=reward_functions(rewards, costs, inputs, context, end_tokens, prefilled),
            callbacks=[AlignedSaves(arguments), NoSignal(context.step, silent), *watchers],
        )
        return Training(trainer, too_long)

    result = run_training(config, inputs, context, build, dropped=repeated)
    history = result.metrics["history"]
    last = last_tenth(history)
    metrics = result.metrics | {"last": last}
    warnings = result.warnings + silent
    warnings += [*describe_tripped(read_curves(history)), *doubt_drift(last)]
    for watcher in watchers:
        facts, doubts = conclude(watcher.stop, watcher.event, context)
        metrics["stop"] = watcher.metrics() | facts
        warnings = [*doubts, *watcher.doubts(), *warnings]
    return replace(
        result,
        metrics=metrics,
        warnings=warnings,
    )


def _say(
    context: Context,
    text: str,
) -> None:
    context.console.print(f"{context.step}: {text}")


def end_tokens_of(
    model: Any,
    tokenizer: Any,
) -> set[int]:
    """Ids of the tokens that end a turn."""
    ends = model.generation_config.eos_token_id
    ends = ends if isinstance(ends, list) else [ends]
    return {tokenizer.eos_token_id, *ends} - {None}


def last_tenth(
    history: list[dict[str, float]],
) -> dict[str, float]:
    """The mean of each curve over its last tenth, which is where the training ended.

    Rewards are logged once a rollout.
    """
    curves: dict[str, list[float]] = {}
    for point in history:
        for name, value in point.items():
            curves.setdefault(name, []).append(value)
    curves.pop("step", None)
    means = {}
    for name, values in curves.items():
        tail = values[-math.ceil(len(values) / 10) :]
        means[name] = round(sum(tail) / len(tail), 6)
    return means
