"""What the stages that learn from their own rollouts share: prompts, the reward's terms, and what
is watched.

In: `model` (the policy and, frozen, the reference), `prompts` and any other inputs of Prompt rows,
and the models that
the terms of the reward name. Out: a model. Rollouts come from transformers, or on a GPU from vLLM
in one of TRL's ways:
`args: {use_vllm: true, vllm_mode: colocate}`.

A training that was killed goes on from its last whole checkpoint and ends in the weights of an
undisturbed one: checkpoints are only made between two rollouts, and the principles drawn depend on
the step's number alone. That holds for rollouts from transformers; vLLM's random state is in no
checkpoint.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.errors import UserError
from stages.runtime.models import Model
from stages.runtime.rows import Dropped, Prompt
from stages.training.arguments import build_arguments, refusals_as_user_errors
from stages.training.config import TrainingConfig, check_training, training_identity
from stages.training.frame import Training, run_training
from stages.training.model_files import load_policy
from stages.training.online.rewards import Term, models_named, read_terms, terms_identity

NEEDS = ("model", "prompts")
ALSO_TAKES = ("*",)


@dataclass(frozen=True, kw_only=True)
class OnlineConfig(TrainingConfig):
    """What all online stages share."""

    rewards: dict[str, Any]
    """The terms of the reward, by name (see `rewards.py`)."""


def online_identity(config: OnlineConfig) -> dict[str, Any]:
    check_training(config)
    terms = read_terms(config.rewards, config.stage)
    return {
        **training_identity(config),
        "rewards": terms_identity(terms),
        "terms": list(terms),
    }


def prompt_rows(
    inputs: Mapping[str, Artifact], models: set[str], step: str
) -> tuple[list[Prompt], list[Dropped]]:
    """The prompts of all inputs that are no models; of two with one id the first is kept.

    Raises:
        UserError: there are none.
    """
    prompts: dict[str, Prompt] = {}
    dropped = []
    for name, artifact in inputs.items():
        for prompt in artifact.rows(Prompt) if name not in models else []:
            if prompt.id in prompts:
                dropped.append(Dropped(id=prompt.id, reason="in two inputs"))
            prompts.setdefault(prompt.id, prompt)
    if not prompts:
        raise UserError(
            "there are no prompts to answer",
            where=f"step {step!r}",
            fix="wire `prompts` to a step with rows",
        )
    return list(prompts.values()), dropped


def run_online(
    config: OnlineConfig,
    inputs: Mapping[str, Artifact],
    context: Context,
    make: Callable[..., Any],
    other_models: tuple[str, ...] = (),
    more_terms: Mapping[str, Term] | None = None,
    **defaults: Any,
) -> Result:
    """Check, train and save.

    Args:
        make: builds the trainer from keyword arguments that TRL's online trainers share.
        other_models: inputs that are models besides `model` and those that terms name.
        more_terms: terms beside those of `config.rewards`, with weight 0 in the reward.
        defaults: of the trainer's config.
    """
    check_training(config)
    terms = read_terms(config.rewards, config.stage)
    weights = [term.weight for term in terms.values()] + [0.0] * len(more_terms or {})
    terms = {**terms, **(more_terms or {})}
    models = {"model", *other_models, *models_named(terms).values()}
    prompts, dropped = prompt_rows(inputs, models, context.step)

    def build(base: Model) -> Training:
        return build_online(
            config, base, inputs, prompts, terms, weights, context, make, **defaults
        )

    result = run_training(inputs, context, build, dropped=dropped)
    result.metrics["last"] = last_tenth(result.metrics["history"])
    return result


def build_online(
    config: OnlineConfig,
    base: Model,
    inputs: Mapping[str, Artifact],
    prompts: list[Prompt],
    terms: Mapping[str, Term],
    weights: list[float],
    context: Context,
    make: Callable[..., Any],
    **defaults: Any,
) -> Training:
    """The trainer, and the prompts that leave no room for an answer; nothing is trained yet."""
    from datasets import Dataset

    from stages.training.online.reward_terms import build
    from stages.training.online.watching import AlignedSaves, NoSignal, watched

    policy = load_policy(config, base, context)
    model, tokenizer = policy["model"], policy["processing_class"]
    config_class = config.trainer_options
    variables = context.engines.meaning.get("template_arguments")
    if config_class == "OnlineDPOConfig" and variables:
        raise UserError(
            f"TRL's online DPO cannot hand variables to the chat template, and this model is given {', '.join(variables)}",
            where=f"step {context.step!r}, model.template_arguments",
            fix="use grpo, rloo or ppo, or a model whose template needs none",
        )
    if config_class != "OnlineDPOConfig":
        defaults = {"chat_template_kwargs": variables} | defaults if variables else defaults
        # The trainer loads the reference anew from the policy's folder.
        safe = {"revision": base.revision, "use_safetensors": True, "trust_remote_code": False}
        defaults = {
            "model_init_kwargs": {k: v for k, v in safe.items() if v is not None}
        } | defaults
    arguments = build_arguments(
        config_class, config.args, context, reward_weights=weights, **defaults
    )
    kept, dropped = _fitting(prompts, tokenizer, model, arguments, variables, context)
    ends = model.generation_config.eos_token_id
    ends = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])} - {None}
    _enough(kept, arguments, context)
    functions = build(terms, inputs, context, ends, terms.keys() - config.rewards.keys())
    rows = [{"prompt": p.messages, "row_id": p.id, "kind": p.kind} for p in kept]
    with refusals_as_user_errors("the trainer refuses the options", context):
        trainer = make(
            **policy,
            reward_funcs=watched(functions),
            args=arguments,
            train_dataset=Dataset.from_list(rows),
        )
    trainer.add_callback(AlignedSaves(arguments))
    trainer.add_callback(NoSignal(context.step))
    return Training(trainer, dropped)


def _fitting(
    prompts: list[Prompt],
    tokenizer: Any,
    model: Any,
    arguments: Any,
    variables: Any,
    context: Context,
) -> tuple[list[Prompt], list[Dropped]]:
    limit: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    answer = int(
        getattr(arguments, "max_completion_length", None)
        or getattr(arguments, "max_new_tokens", None)
        or 0
    )
    if limit is None:
        return prompts, []
    lengths = [
        len(
            tokenizer.apply_chat_template(
                p.messages, add_generation_prompt=True, return_dict=False, **(variables or {})
            )
        )
        for p in prompts
    ]
    kept = [p for p, n in zip(prompts, lengths, strict=True) if n + answer <= limit]
    if not kept:
        raise UserError(
            f"no prompt leaves room for an answer of {answer} tokens in the model's {limit}",
            where=f"step {context.step!r}",
            fix="lower args.max_completion_length, or give shorter prompts",
        )
    ids = {p.id for p in kept}
    return kept, [
        Dropped(id=p.id, reason="no room for an answer") for p in prompts if p.id not in ids
    ]


def _enough(prompts: list[Prompt], arguments: Any, context: Context) -> None:
    """The trainers leave out a rollout that cannot be filled; with too few prompts they would learn
    nothing.
    """
    wanted = getattr(arguments, "generation_batch_size", 0) // getattr(
        arguments, "num_generations", 1
    )
    if len(prompts) < wanted:
        raise UserError(
            f"a rollout takes {wanted} different prompts, and there are {len(prompts)}",
            where=f"step {context.step!r}",
            fix="give more prompts, lower args.per_device_train_batch_size or args.steps_per_generation, or raise "
            "args.num_generations",
        )


def last_tenth(history: list[dict[str, float]]) -> dict[str, float]:
    """The mean of each curve over its last tenth: what the training ended at. Rewards are logged
    once a rollout.
    """
    curves: dict[str, list[float]] = {}
    for point in history:
        for key, value in point.items():
            curves.setdefault(key, []).append(value)
    curves.pop("step", None)
    tails = {key: values[-math.ceil(len(values) / 10) :] for key, values in curves.items()}
    return {key: round(sum(tail) / len(tail), 6) for key, tail in tails.items()}
