"""Stage `optimised`: what an optimisation bought, and what it cost: reward, violations, KL, length,
wall time.

In: `reward` (a reward model) and one input of Response rows for each policy, all answering the same
prompts; the first is the start, which the others are compared with. `<policy>_model` is the step
that made a policy, and `reference` the model whose answers the first are; with both the KL can be
told. Out: metrics and one table; no rows.

    reward      mean score, under all principles of `constitution` at once where the model reads
    them; of a cost model
                with its sign turned, as `score` has it
    KL          mean over the policy's own answers of log pi(y) - log pi0(y), in nats an answer: an
    estimate without bias time        of the step that trained the policy, in seconds, as its
    manifest has it

Gao et al. 2023 (arXiv 2210.10760): optimisers compare at equal KL, not at equal steps. Differences
are paired by prompt; intervals are bootstrapped over prompts. Answers cut off at max_tokens have no
end of turn and are left out of the KL.
"""

from dataclasses import dataclass
from statistics import fmean
from typing import Annotated, Any, Literal

from pydantic import Field

from stages.evaluation.ground_truth import load_truth, truth_identity
from stages.principles.select import Selection, select
from stages.report.views.effects import MINUS
from stages.runtime.artifacts import Artifact, Result, Table
from stages.runtime.context import Context
from stages.runtime.errors import UserError
from stages.runtime.rows import Response, request_text
from stages.runtime.settings import machine
from stages.runtime.stage import ANY, Stage
from stages.statistics.paired import by_prompt, mean_interval, paired_difference, share
from stages.training.likelihood import answer_logps
from stages.training.reward_models.format import read_format
from stages.training.reward_models.stored_scores import stored_scores

SUFFIX = "_model"
Values = dict[str, float]  # one a prompt


@dataclass(frozen=True)
class Config:
    """Args:
    constitution: what a reward model that reads principles is shown; null for one that reads none.
    ground_truth: `module:function` as in `evaluate`, or null: no violations are told.
    spared: dimensions of the ground truth that are no violation.
    resamples, confidence: of the intervals.
    batch_size: texts at a time.
    """

    constitution: Selection | None = None
    ground_truth: str | None = None
    spared: tuple[str, ...] = ("helpfulness",)
    resamples: Annotated[int, Field(ge=100)] = 2000
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    batch_size: Annotated[int, Field(ge=1)] = machine(32)
    dtype: Literal["float32", "bfloat16", "float16"] = machine("float32")


def identity(config: Config) -> dict[str, Any]:
    return {
        "constitution": select(config.constitution).identity("text")
        if config.constitution
        else None,
        "ground_truth_module": truth_identity(config.ground_truth, "optimised.ground_truth"),
    }


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Measure every policy.

    Raises:
        UserError: no policy, one without rows, without a prompt in common with the first or with
        answers too long to score, or what `score` raises.
    """
    where = f"step {context.step!r}"
    names = [n for n in inputs if n not in ("reward", "reference") and not n.endswith(SUFFIX)]
    policies = {name: inputs[name].rows(Response) for name in names}
    if not policies or not all(policies.values()):
        raise UserError(
            f"the policy {next(n for n in names if not policies[n])!r} has no answers"
            if policies
            else "there is no policy",
            where=where,
            fix="add `inputs: {start: <a respond step>, tuned: <another>}`, the start first",
        )
    context.release_engines()
    truth = load_truth(config.ground_truth, where) if config.ground_truth else None
    rewards, broken = {}, {}
    for name, rows in policies.items():
        rewards[name] = _rewards(rows, inputs["reward"], config, context)
        if truth:
            seen = {
                row.id: truth(request_text(row.prompt), row.response).violations for row in rows
            }
            broken[name] = by_prompt(
                (
                    row.prompt_id,
                    float(any(bad for d, bad in seen[row.id].items() if d not in config.spared)),
                )
                for row in rows
            )
    measured = {
        name: _measure(
            name,
            policies,
            rewards,
            broken,
            _divergence(name, policies[name], inputs, config, context),
            config,
        )
        for name in names
    }
    for name in names[1:]:
        if measured[name]["gain"] is None:
            raise UserError(
                f"the policies {names[0]!r} and {name!r} have no prompt in common",
                where=where,
                fix="let their `respond` steps read the same prompts",
            )
    for name in names:
        made = inputs.get(f"{name}{SUFFIX}")
        measured[name]["seconds"] = made.manifest.get("seconds") if made else None
    return Result(
        metrics={"policies": measured, "confidence": config.confidence},
        tables=[_table(measured, config.confidence)],
    )


STAGE = Stage(
    version=2,
    config=Config,
    run=run,
    inputs=("reward",),
    optional=ANY,
    identity=identity,
)


def _rewards(rows: list[Response], model: Artifact, config: Config, context: Context) -> Values:
    reward = model.model()
    sign = -1.0 if read_format(reward).objective == "cost" else 1.0
    texts = (
        tuple(p.text for p in select(config.constitution).principles) if config.constitution else ()
    )
    scores, _ = stored_scores(
        reward,
        [(r.prompt, r.response, texts) for r in rows],
        context,
        config.batch_size,
        config.dtype,
    )
    found = by_prompt(
        (r.prompt_id, None if score is None else sign * score)
        for r, score in zip(rows, scores, strict=True)
    )
    if not found:
        raise UserError(
            "no answer fits the reward model's context",
            where=f"step {context.step!r}, input 'reward'",
            fix="give a reward model with a longer context, or shorter requests and answers",
        )
    return found


def _divergence(
    name: str, rows: list[Response], inputs: dict[str, Artifact], config: Config, context: Context
) -> Any:
    made = inputs.get(f"{name}{SUFFIX}")
    whole = [row for row in rows if row.finish_reason != "length" and row.response]
    if made is None or "reference" not in inputs or not whole:
        return None
    variables = context.engines.meaning.get("template_arguments")
    items = [(row.prompt, row.response) for row in whole]
    ours, theirs = (
        answer_logps(model, items, config.batch_size, config.dtype, variables)
        for model in (made.model(), inputs["reference"].model())
    )
    ratios = [
        a - b if a is not None and b is not None else None
        for a, b in zip(ours, theirs, strict=True)
    ]
    values = by_prompt((row.prompt_id, ratio) for row, ratio in zip(whole, ratios, strict=True))
    found = mean_interval(list(values.values()), config.resamples, config.confidence, context.seed)
    return found.plain() if found else None


def _measure(
    name: str,
    policies: dict[str, list[Response]],
    rewards: dict[str, Values],
    broken: dict[str, Values],
    divergence: Any,
    config: Config,
) -> dict[str, Any]:
    first = next(iter(policies))
    gains = [rewards[name][p] - rewards[first][p] for p in rewards[first] if p in rewards[name]]
    gain = mean_interval(gains, config.resamples, config.confidence) if name != first else None
    violations = share(broken[name], config.confidence) if broken else None
    return {
        "reward": round(fmean(rewards[name].values()), 6),
        "gain": gain.plain() if gain else None,
        "violations": violations.plain() if violations else None,
        "change": paired_difference(
            broken[first], broken[name], config.resamples, config.confidence
        )
        if broken and name != first
        else None,
        "kl": divergence,
        "words": fmean(len(row.response.split()) for row in policies[name]),
        "n": len(rewards[name]),
    }


def _table(measured: dict[str, dict[str, Any]], confidence: float) -> Table:
    rows = []
    for name, found in measured.items():
        violations = found["violations"]
        rows.append(
            [
                name,
                f"{found['reward']:.2f}",
                _interval(found["gain"], 1, 2),
                "-" if violations is None else f"{100 * violations['value']:.1f}",
                _interval(found["change"], 100, 1),
                "-" if found["kl"] is None else f"{found['kl']['value']:.2f}",
                f"{found['words']:.1f}",
                "-" if found["seconds"] is None else f"{found['seconds']:.0f}",
                str(found["n"]),
            ]
        )
    columns = [
        "policy",
        "reward",
        "gain",
        "violations, %",
        "change",
        "KL, nats",
        "words",
        "seconds",
        "prompts",
    ]
    return Table(
        f"What each optimisation bought and cost ({100 * confidence:g} % intervals)", columns, rows
    )


def _interval(found: dict[str, Any] | None, scale: float, digits: int) -> str:
    if found is None:
        return "-"
    value, low, high = (
        f"{scale * found[key]:+.{digits}f}".replace("-", MINUS) for key in ("value", "low", "high")
    )
    return f"{value} [{low}, {high}]"
