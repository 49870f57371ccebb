"""Stage `value_profile`: the values of models in order, beside a target, and what moved with them.

In: Rating rows of several models or checkpoints on the same requests, under any names, the baseline
first (`principles` are values, `scores` in [-1, 1]); and Verdict rows of policies with the same
names (`evaluate`), whose answers are measured by other means. Or one `survey`, whose scores keep
their own scale. Out: metrics for the page,

    theory, target  dimensions in circle order, their angles, the target's numbers
    profile         {models, differences}: the mean score of each dimension
    fit             by model: correlation with the target, mean distance, direction on the circle
    effects         by model: for each dimension and side effect the change from the baseline, its
                    p by Holm over all of them, whether it was asked for, and a verdict

`asked` says what a model was steered towards: a dimension (`power`, or `-power` for less of it), or
a named target of the constitution (up where it is above 0). *as asked* and *against* are about
dimensions that were asked for; *moved* about those that were not, and about side effects: words of
an answer, refusals, and of verdicts evasiveness, helpfulness, form and topic.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stages.evaluation.comparison import ALL, Groups, IntervalOptions, compare, comparison_table
from stages.guards.errors import UserError, refuse_unknown
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.manifest import Table
from stages.runtime.rows import Answer, Dropped, Rating, Verdict
from stages.runtime.stage import Stage
from stages.runtime.typed_config import machine
from stages.statistics.corrections import holm
from stages.statistics.formatting import format_estimate, format_p_value
from stages.statistics.intervals import Intervals, by_prompt
from stages.statistics.reliability import t_test
from stages.text.refusals import refuses
from stages.values.aim import Aim, Reference
from stages.values.profile import circle_fit, mean_absolute_error, pearson
from stages.values.theory import ValueTheory, theory_of

OWN = "target"
"""In `asked`: the step's own target."""
SIDE = ("evasive", "helpful", "well_formed", "on_topic")
"""What a verdict says of an answer, besides its values."""
AS_ASKED, OPPOSED, MOVED, STILL = "as asked", "against", "moved", "not moved"


@dataclass(frozen=True, kw_only=True)
class Config(IntervalOptions):
    """The theory, a target, and what each model was steered towards."""

    constitution: Selection
    target: Reference | None = machine(None)  # `identity` adds what it stands for
    """What is drawn: a name in the constitution, shares of such, numbers of some dimensions, or a
    file of survey means on a scale from 1 to 6; null: nothing."""
    asked: dict[str, str] = field(default_factory=dict)
    """By model, a dimension, `-` and a dimension, a named target, or `target` for the one above."""

    def find(self) -> dict[str, float] | None:
        """Return the target's number of each dimension.

        Raises:
            UserError: as `Aim.find`.
        """
        if self.target is None:
            return None
        aim = Aim(constitution=self.constitution)
        return dict(zip(aim.theory.dimensions, aim.find(self.target), strict=True))


def check(config: Config) -> None:
    """Refuse an unknown target, and a model asked for what the theory does not have."""
    theory = theory_of(select(config.constitution))
    where = f"constitution {theory.name!r}"
    target = config.find()
    names = [name.removeprefix("-") for name in config.asked.values()]
    known = [*theory.dimensions, *theory.targets, *([OWN] if target else [])]
    refuse_unknown(
        names,
        known,
        "asked: there is no dimension or target",
        where,
    )


def identity(config: Config) -> dict[str, Any]:
    theory = theory_of(select(config.constitution))
    dimensions = list(theory.dimensions)
    facts = {"theory": theory.name, "dimensions": dimensions, "angles": theory.angles}
    return {"constitution": facts, "numbers": config.find()}


def run(
    config: Config,
    inputs: dict[str, Artifact],
    context: Context,
) -> Result:
    """Measure every model.

    Raises:
        UserError: there are no ratings, a model has none with a score for each dimension, or
            `asked` names none of the models.
    """
    constitution = select(config.constitution)
    theory = theory_of(constitution)
    target = config.find()
    targets = theory.targets | ({OWN: target} if target else {})
    intervals = config.intervals(context.seed)
    surveys = [artifact for artifact in inputs.values() if artifact.stage == "survey"]
    dropped: list[Dropped] = []
    effects: dict[str, Any] = {}
    if surveys:
        profile = _of_survey(surveys[0], theory)
        effects = {name: _survey_effects(each) for name, each in profile["differences"].items()}
    else:
        homes = {one.id: one.dimension or "" for one in constitution.principles}
        values, others = _read(
            inputs,
            theory,
            homes,
            dropped,
        )
        profile = compare(values, intervals)
        refuse_unknown(
            config.asked,
            values,
            "asked: there is no model",
            f"step {context.step!r}",
        )
        first = next(iter(values))
        for name in list(values)[1:]:
            before = values[first] | others[first]
            after = values[name] | others[name]
            wanted = _wanted(config.asked.get(name, ""), targets)
            effects[name] = _effects(before, after, wanted, intervals)
    named = config.target if isinstance(config.target, str) else "of its own"
    metrics = {
        "confidence": config.confidence,
        "theory": {
            "name": theory.name,
            "dimensions": list(theory.dimensions),
            "angles": theory.angles,
            "is_nominal": theory.is_nominal,
        },
        "target": {"name": named, "values": target} if target else None,
        "is_survey": bool(surveys),
        "profile": profile,
        "fit": {
            name: _fit(
                scores,
                theory,
                target,
                bool(surveys),
            )
            for name, scores in profile["models"].items()
        },
        "effects": effects,
    }
    return Result(
        dropped=dropped,
        metrics=metrics,
        tables=_tables(context.step, metrics),
    )


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    optional={"*": Rating | Verdict | Answer},
    least=1,
    check=check,
    identity=identity,
)


def _read(
    inputs: Mapping[str, Artifact],
    theory: ValueTheory,
    homes: Mapping[str, str],
    dropped: list[Dropped],
) -> tuple[dict[str, Groups], dict[str, Groups]]:
    """Return, by model, scores by dimension and request, and side effects by name and request.

    Raises:
        UserError: there are no ratings, or a model has none with all dimensions.
    """
    values: dict[str, Groups] = {}
    others: dict[str, Groups] = {}
    verdicts: list[Verdict] = []
    for name, artifact in inputs.items():
        rows: list[Any] = list(artifact.rows(Rating, Verdict))
        if rows and isinstance(rows[0], Verdict):
            verdicts += rows
            continue
        scored = []
        for row in rows:
            names = [homes.get(one, one) for one in row.principles]
            scores = dict(
                zip(
                    names,
                    row.scores,
                    strict=False,
                )
            )
            if all(one in scores for one in theory.dimensions):
                scored.append((row, scores))
            else:
                dropped.append(Dropped(id=f"{name}/{row.id}", reason="no score for each dimension"))
        if not scored:
            raise UserError(
                f"no answer of {name!r} has a score for each dimension",
                where="stage 'value_profile'",
                fix="give it a `score` step with `each: true` and the same constitution",
            )
        values[name] = {
            one: by_prompt((row.prompt_id, scores[one]) for row, scores in scored)
            for one in theory.dimensions
        }
        others[name] = {
            "words": by_prompt((r.prompt_id, float(len(r.response.split()))) for r, _ in scored),
            "refusals": by_prompt((row.prompt_id, refuses(row.response)) for row, _ in scored),
        }
    if not values:
        raise UserError(
            "there are no value scores",
            where="stage 'value_profile'",
            fix="add a `score` step with `each: true` for each model, the baseline first",
        )
    for name in values:
        own = [row for row in verdicts if row.policy == name]
        for outcome in SIDE:
            measured = by_prompt((row.prompt_id, getattr(row, outcome)) for row in own)
            if measured:
                others[name][outcome.replace("_", "-")] = measured
    return values, others


def _wanted(
    asked: str,
    targets: Mapping[str, Mapping[str, float]],
) -> dict[str, int]:
    """Return, by dimension that a model was asked to move, the sign."""
    if asked in targets:
        target = targets[asked]
        return {name: 1 if number > 0 else -1 for name, number in target.items() if number}
    name = asked.removeprefix("-")
    return {name: -1 if asked.startswith("-") else 1} if name else {}


def _effects(
    before: Groups,
    after: Groups,
    wanted: Mapping[str, int],
    intervals: Intervals,
) -> dict[str, Any]:
    """Return each change with its p by Holm over all of them, and what it means."""
    names = [name for name in before if name in after and before[name].keys() & after[name].keys()]
    p_values = []
    for name in names:
        common = before[name].keys() & after[name].keys()
        p_values.append(t_test([after[name][one] - before[name][one] for one in sorted(common)]))
    effects = {}
    for name, p in zip(
        names,
        holm(p_values),
        strict=True,
    ):
        change = intervals.difference(
            before[name],
            after[name],
            are_shares=False,
        )
        assert change is not None
        sign = wanted.get(name, 0)
        verdict = STILL
        if p < 1 - intervals.confidence:
            verdict = MOVED
            if sign:
                verdict = AS_ASKED if change["value"] * sign > 0 else OPPOSED
        bounds = {key: change[key] for key in ("value", "low", "high", "n")}
        effects[name] = {
            **bounds,
            "p_adjusted": p,
            "asked": sign,
            "verdict": verdict,
        }
    return effects


def _of_survey(
    survey: Artifact,
    theory: ValueTheory,
) -> dict[str, Any]:
    """Return the scores of a survey in the form of `compare`.

    Raises:
        UserError: it has no score for a dimension of the theory.
    """
    metrics = survey.metrics
    models = {}
    for name, facts in metrics["models"].items():
        scores = facts["scores"]
        lacking = [one for one in theory.dimensions if one not in scores]
        if lacking:
            raise UserError(
                f"the survey has no score for {lacking[0]!r}",
                where=f"step {survey.step!r}",
                fix=f"give a survey of the dimensions of constitution {theory.name!r}",
            )
        models[name] = {one: scores[one] for one in theory.dimensions}
    changes = {
        name: {one: each[one] for one in theory.dimensions if one in each}
        for name, each in metrics["differences"].items()
    }
    return {
        "confidence": metrics["confidence"],
        "models": models,
        "differences": changes,
    }


def _survey_effects(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: {**change, "asked": 0} for name, change in changes.items()}


def _fit(
    scores: Mapping[str, Any],
    theory: ValueTheory,
    target: Mapping[str, float] | None,
    is_survey: bool,
) -> dict[str, float | None]:
    means = {name: scores[name]["value"] for name in theory.dimensions}
    fit: dict[str, float | None] = dict.fromkeys(("correlation", "distance", "direction"))
    if target:
        correlation = pearson(means, target)
        fit["correlation"] = None if correlation != correlation else correlation
        if not is_survey:
            fit["distance"] = mean_absolute_error(means, target)
    if len(theory.angles) >= 3:
        fit["direction"] = circle_fit(means, theory.angles).phase
    return fit


def _tables(
    step: str,
    metrics: Mapping[str, Any],
) -> list[Table]:
    rows = []
    for model, effects in metrics["effects"].items():
        for name, each in effects.items():
            asked = {
                0: "",
                1: "more",
                -1: "less",
            }[each["asked"]]
            change = format_estimate(
                each,
                factor=1,
                places=2,
                sign="+",
            )
            p = format_p_value(each["p_adjusted"])
            rows.append([model, name, asked, change, p, each["verdict"]])
    columns = [
        "model",
        "what",
        "asked for",
        "change",
        "p (Holm)",
        "verdict",
    ]
    tables = (
        [
            Table(
                f"{step}: what moved",
                columns,
                rows,
            )
        ]
        if rows
        else []
    )
    if ALL not in metrics["theory"]["dimensions"]:
        profile = comparison_table(
            f"{step}: mean scores",
            metrics["profile"],
            "dimension",
        )
        tables.insert(0, profile)
    return tables
