"""Stage `compare_optimisers`: what each optimiser gained and what it cost.

It reports reward, violations, KL, length and wall time. In: `reward` (a reward model) and one input
of Response rows for each policy, all answering the same prompts; the first is the start, which the
others are compared with. `<policy>_model` is the step that made a policy, and `reference` the model
whose answers the first are; the KL needs both. Out: metrics and one table; no rows.

    reward   mean score, under all principles of `constitution` at once where the model reads them;
             a cost model's is negated, as `score` does
    KL       mean over the policy's own answers of log pi(y) - log pi0(y), in nats an answer: an
             estimate without bias
    time     of the step that trained the policy, in seconds, as its manifest has it

Gao et al. 2023 (arXiv 2210.10760): optimisers compare at equal KL, not at equal steps. Differences
are paired by prompt; intervals are bootstrapped over prompts. Answers cut off at max_tokens have no
end of turn and are left out of the KL.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Annotated, Any, Literal

from pydantic import Field

from stages.evaluation.ground_truth import GroundTruth, load_truth, truth_identity
from stages.evaluation.optimiser_table import optimiser_table
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.errors import UserError
from stages.runtime.rows import Response, request_text
from stages.runtime.settings import machine
from stages.runtime.stage import ANY, Stage
from stages.statistics.intervals import by_prompt, mean_interval, paired_difference, share
from stages.training.likelihood import answer_logps
from stages.training.reward_models.format import read_format
from stages.training.reward_models.stored_scores import stored_scores

MODELS = ("reward", "reference")
SUFFIX = "_model"
Values = dict[str, float]
"""One a prompt."""


@dataclass(frozen=True)
class Config:
    constitution: Selection | None = None
    """What a reward model that reads principles is shown; null for one that reads none."""
    ground_truth: str | None = None
    """`module:function` as in `evaluate`; null: violations are not measured."""
    spared: tuple[str, ...] = ("helpfulness",)
    """Dimensions of the ground truth that do not count as violations."""
    resamples: Annotated[int, Field(ge=100)] = 2000
    """Of the bootstrap."""
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """Of the intervals."""
    batch_size: Annotated[int, Field(ge=1)] = machine(32)
    """Texts at a time."""
    dtype: Literal["float32", "bfloat16", "float16"] = machine("float32")
    """Of the models' weights."""


def identity(config: Config) -> dict[str, Any]:
    constitution = None
    if config.constitution:
        constitution = select(config.constitution).identity("text")
    return {
        "constitution": constitution,
        "ground_truth_module": truth_identity(
            config.ground_truth,
            "compare_optimisers.ground_truth",
        ),
    }


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Measure every policy.

    Raises:
        UserError: no policy, one without rows, without a prompt in common with the first or with
            answers too long to score, or what `score` raises.
    """
    where = f"step {context.step!r}"
    policies = _read_policies(inputs, where)
    context.release_engines()
    truth = load_truth(config.ground_truth, where) if config.ground_truth else None
    rewards: dict[str, Values] = {}
    violations: dict[str, Values] = {}
    for name, rows in policies.items():
        rewards[name] = _rewards(rows, inputs["reward"], config, context)
        if truth:
            violations[name] = _violations(rows, truth, config)
    first = next(iter(policies))
    measured = {}
    for name, rows in policies.items():
        measured[name] = {
            **_reward_metrics(first, name, rewards, config),
            **_violation_metrics(first, name, violations, config),
            "kl": _divergence(name, rows, inputs, config, context),
            "words": fmean(len(row.response.split()) for row in rows),
            "n": len(rewards[name]),
        }
    for name in policies:
        if name != first and measured[name]["gain"] is None:
            raise UserError(
                f"the policies {first!r} and {name!r} have no prompt in common",
                where=where,
                fix="let their `respond` steps read the same prompts",
            )
        trained = inputs.get(f"{name}{SUFFIX}")
        measured[name]["seconds"] = trained.manifest.get("seconds") if trained else None
    return Result(
        metrics={"policies": measured, "confidence": config.confidence},
        tables=[optimiser_table(measured, config.confidence)],
    )


STAGE = Stage(
    version=2,
    config=Config,
    run=run,
    inputs=("reward",),
    optional=ANY,
    identity=identity,
)


def _read_policies(inputs: Mapping[str, Artifact], where: str) -> dict[str, list[Response]]:
    policies = {}
    for name, artifact in inputs.items():
        if name not in MODELS and not name.endswith(SUFFIX):
            policies[name] = artifact.rows(Response)
    fix = "add `inputs: {start: <a respond step>, tuned: <another>}`, the start first"
    if not policies:
        raise UserError("there is no policy", where=where, fix=fix)
    for name, rows in policies.items():
        if not rows:
            raise UserError(f"the policy {name!r} has no answers", where=where, fix=fix)
    return policies


def _rewards(rows: list[Response], artifact: Artifact, config: Config, context: Context) -> Values:
    model = artifact.model()
    sign = -1.0 if read_format(model).objective == "cost" else 1.0
    texts: tuple[str, ...] = ()
    if config.constitution:
        principles = select(config.constitution).principles
        texts = tuple(principle.text for principle in principles)
    scores, _ = stored_scores(
        model,
        [(row.prompt, row.response, texts) for row in rows],
        context,
        config.batch_size,
        config.dtype,
    )
    rewards = []
    for row, score in zip(rows, scores, strict=True):
        reward = None if score is None else sign * score
        rewards.append((row.prompt_id, reward))
    values = by_prompt(rewards)
    if not values:
        raise UserError(
            "no answer fits the reward model's context",
            where=f"step {context.step!r}, input 'reward'",
            fix="give a reward model with a longer context, or shorter requests and answers",
        )
    return values


def _violations(rows: Sequence[Response], truth: GroundTruth, config: Config) -> Values:
    values = []
    for row in rows:
        violations = truth(request_text(row.prompt), row.response).violations
        counted = [
            violated for dimension, violated in violations.items() if dimension not in config.spared
        ]
        values.append((row.prompt_id, float(any(counted))))
    return by_prompt(values)


def _reward_metrics(
    first: str, name: str, rewards: Mapping[str, Values], config: Config
) -> dict[str, Any]:
    before, after = rewards[first], rewards[name]
    gain = None
    if name != first:
        gains = [after[prompt] - before[prompt] for prompt in before if prompt in after]
        gain = mean_interval(gains, config.resamples, config.confidence)
    return {
        "reward": round(fmean(after.values()), 6),
        "gain": gain.plain() if gain else None,
    }


def _violation_metrics(
    first: str, name: str, violations: Mapping[str, Values], config: Config
) -> dict[str, Any]:
    if not violations:
        return {"violations": None, "change": None}
    before, after = violations[first], violations[name]
    estimate = share(after, config.confidence)
    change = None
    if name != first:
        change = paired_difference(before, after, config.resamples, config.confidence)
    return {
        "violations": estimate.plain() if estimate else None,
        "change": change,
    }


def _divergence(
    name: str,
    rows: Sequence[Response],
    inputs: Mapping[str, Artifact],
    config: Config,
    context: Context,
) -> dict[str, Any] | None:
    """The policy's KL from the reference model; None where one of the models is not given."""
    policy = inputs.get(f"{name}{SUFFIX}")
    reference = inputs.get("reference")
    complete = [row for row in rows if row.finish_reason != "length" and row.response]
    if policy is None or reference is None or not complete:
        return None
    answers = [(row.prompt, row.response) for row in complete]
    logps = []
    for artifact in (policy, reference):
        of_model = answer_logps(
            artifact.model(),
            answers,
            config.batch_size,
            config.dtype,
            context.engines.meaning.get("template_arguments"),
        )
        logps.append(of_model)
    ratios: list[tuple[str, float | None]] = []
    for row, log_policy, log_reference in zip(complete, *logps, strict=True):
        ratio = None
        if log_policy is not None and log_reference is not None:
            ratio = log_policy - log_reference
        ratios.append((row.prompt_id, ratio))
    estimate = mean_interval(
        list(by_prompt(ratios).values()),
        config.resamples,
        config.confidence,
        context.seed,
    )
    return estimate.plain() if estimate else None
