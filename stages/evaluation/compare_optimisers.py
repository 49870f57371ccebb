"""Stage `compare_optimisers`: what each optimiser gained and what it cost.

It reports reward, violations, KL, length and wall time. In: `reward` (a reward model) and one input
of Response rows for each policy, all answering the same prompts. The first policy is the one before
training; the others are compared with it. `<policy>_model` is the step that trained a policy, and
`reference` the model that wrote the first policy's answers; the KL needs both. Out: metrics and one
table; no rows.

    reward   mean score, under all principles of `constitution` at once where the model reads them;
             a cost model's is negated, as `score` does
    KL       mean over the policy's own answers of log pi(y) - log pi0(y), in nats per answer: an
             unbiased estimate
    time     of the step that trained the policy, in seconds, from its manifest

Gao et al. 2023 (arXiv 2210.10760): compare optimisers at equal KL, not at equal steps. Differences
are paired by prompt; intervals are bootstrapped over prompts. Answers cut off at max_tokens have no
end of turn and are left out of the KL.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from stages.evaluation.comparison import Estimate, IntervalOptions
from stages.evaluation.ground_truth import GroundTruth, load_truth, truth_identity
from stages.evaluation.inputs import ReadingOptions, read_policies
from stages.guards.errors import UserError
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.manifest import Table
from stages.runtime.models import Model
from stages.runtime.rows import Response, request_text
from stages.runtime.stage import Stage
from stages.runtime.typed_config import Names, Text
from stages.statistics.formatting import (
    NO_VALUE,
    format_confidence,
    format_estimate,
    format_percent,
)
from stages.statistics.intervals import by_prompt
from stages.text.cut_off import count_cut_off, row_fault
from stages.training.likelihood import answer_logps
from stages.training.model_files import template_variables
from stages.training.reward_models.format import read_format
from stages.training.reward_models.stored_scores import stored_scores

SUFFIX = "_model"
COLUMNS = ("reward", "gain", "violations, %", "change", "KL, nats", "words", "seconds", "prompts")
Values = dict[str, float]
"""A value for each prompt."""


@dataclass(frozen=True)
class Config(ReadingOptions, IntervalOptions):
    constitution: Selection | None = None
    """The principles for a reward model that reads them; null for one that reads none."""
    ground_truth: Text | None = None
    """`module:function` as in `evaluate`; null: violations are not measured."""
    spared: Names = ("helpfulness",)
    """Dimensions of the ground truth that do not count as violations."""


def identity(config: Config) -> dict[str, Any]:
    chosen = config.constitution
    constitution = select(chosen).identity("text") if chosen else None
    module = truth_identity(config.ground_truth, "compare_optimisers.ground_truth")
    return {"constitution": constitution, "ground_truth_module": module}


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Measure every policy.

    Raises:
        UserError: there is no policy; a policy has no rows, no prompt in common with the first, or
            only answers that are too long to score; or what `score` raises.
    """
    where = f"step {context.step!r}"
    trained = {name: step for name, step in inputs.items() if name.endswith(SUFFIX)}
    policies = read_policies(inputs, ("reward", "reference", *trained), where)
    context.release_engines()
    truth = load_truth(config.ground_truth, where)
    rewards: dict[str, Values] = {}
    violations: dict[str, Values] = {}
    for name, rows in policies.items():
        rewards[name] = _rewards(rows, inputs["reward"], config, context)
        violations[name] = _violations(rows, truth, config) if truth else {}
    first = next(iter(policies))
    reference = inputs.get("reference")
    intervals = config.intervals(seed=0)
    measured: dict[str, dict[str, Any]] = {}
    for name, rows in policies.items():
        gain = change = kl = None
        if name != first:
            gain = intervals.difference(rewards[first], rewards[name], are_shares=False)
            change = intervals.difference(violations[first], violations[name])
            if gain is None:
                raise UserError(
                    f"the policies {first!r} and {name!r} have no prompt in common",
                    where=where,
                    fix="let their `respond` steps read the same prompts",
                )
        policy = trained.get(f"{name}{SUFFIX}")
        if policy and reference:
            kl = _divergence(rows, [policy, reference], config, context)
        measured[name] = {
            "reward": round(fmean(rewards[name].values()), 6),
            "gain": gain,
            "violations": intervals.estimate(violations[name]),
            "change": change,
            "kl": kl,
            "words": fmean(len(row.response.split()) for row in rows),
            "n": len(rewards[name]),
            "cut_off": count_cut_off(rows),
            "seconds": policy.manifest.seconds if policy else None,
        }
    return Result(
        metrics={"policies": measured, "confidence": config.confidence},
        tables=[_table(measured, config.confidence)],
    )


STAGE = Stage(
    version=4,
    config=Config,
    run=run,
    inputs={"reward": Model},
    optional={"reference": Model, f"*{SUFFIX}": Model, "*": Response},
    least=1,
    identity=identity,
)


def _rewards(
    rows: list[Response],
    artifact: Artifact,
    config: Config,
    context: Context,
) -> Values:
    model = artifact.model()
    sign = -1.0 if read_format(model).objective == "cost" else 1.0
    texts: tuple[str, ...] = ()
    if config.constitution:
        principles = select(config.constitution).principles
        texts = tuple(principle.text for principle in principles)
    items = [(row.prompt, row.response, texts) for row in rows]
    scores, _ = stored_scores(
        model,
        items,
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
            fix="use a reward model with a longer context, or shorter requests and answers",
        )
    return values


def _violations(rows: Sequence[Response], truth: GroundTruth, config: Config) -> Values:
    values = []
    for row in rows:
        violations = truth(request_text(row.prompt), row.response).violations
        counted = [violations[name] for name in violations if name not in config.spared]
        values.append((row.prompt_id, float(any(counted))))
    return by_prompt(values)


def _divergence(
    rows: Sequence[Response],
    models: Sequence[Artifact],
    config: Config,
    context: Context,
) -> Estimate | None:
    """The KL of the first model, which wrote the answers, from the second."""
    complete = [row for row in rows if row.response and not row_fault(row)]
    if not complete:
        return None
    answers = [(row.prompt, row.response) for row in complete]
    arguments = template_variables(context)
    logps = []
    for artifact in models:
        model = artifact.model()
        of_model = answer_logps(
            model,
            answers,
            config.batch_size,
            config.dtype,
            arguments,
        )
        logps.append(of_model)
    ratios: list[tuple[str, float | None]] = []
    for row, log_policy, log_reference in zip(complete, *logps, strict=True):
        ratio = None
        if log_policy is not None and log_reference is not None:
            ratio = log_policy - log_reference
        ratios.append((row.prompt_id, ratio))
    return config.intervals(context.seed).estimate(by_prompt(ratios), are_shares=False)


def _table(policies: Mapping[str, Mapping[str, Any]], confidence: float) -> Table:
    """What each policy gained and what it cost, beside the first."""
    rows = []
    columns = ["policy", *COLUMNS]
    cut_off = any(facts["cut_off"] for facts in policies.values())
    if cut_off:
        columns.append("cut off")
    for name, facts in policies.items():
        row = [
            name,
            _number(facts["reward"], places=2),
            format_estimate(facts["gain"], factor=1, places=2, sign="+"),
            format_percent(_value(facts["violations"]), missing=NO_VALUE),
            format_estimate(facts["change"], sign="+"),
            _number(_value(facts["kl"]), places=2),
            _number(facts["words"], places=1),
            _number(facts["seconds"], places=0),
            str(facts["n"]),
        ]
        if cut_off:
            row.append(str(facts["cut_off"]))
        rows.append(row)
    title = f"What each optimiser gained and cost ({format_confidence(confidence)} intervals)"
    return Table(title, columns, rows)


def _value(estimate: Mapping[str, Any] | None) -> float | None:
    return estimate["value"] if estimate else None


def _number(value: float | None, places: int) -> str:
    """A number without an interval."""
    estimate = {"value": value, "low": None}
    return format_estimate(estimate, factor=1, places=places)
