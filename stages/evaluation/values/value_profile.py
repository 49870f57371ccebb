"""Stage `value_profile`: the values of models in order, beside a target, and what moved with them.

In: Rating rows of several models or checkpoints on the same requests, under any names, the baseline
first (`principles` are values, `scores` in [-1, 1]); and Verdict rows of policies with the same
names (`evaluate`), whose answers are measured by other means. Or one `survey`, whose scores keep
their own scale. What answers of a `snapshot` score is drift alone. Out: metrics for the page,

    theory, target  dimensions in circle order, their angles, the target's numbers
    profile         {models, differences}: the mean score of each dimension
    drift           {steps, models}: the same of snapshots of one training, with its start and its
                    end, by training step; {} without any
    fit             by model: correlation with the target, mean distance, direction on the circle
    effects         by model: for each dimension and side effect the change from the baseline, its
                    p by Holm over all of them, whether it was asked for, and a verdict

Where requests differ in their target (by kind: `targets`, or `target` null and kinds called as
targets), what is drawn is the mean of their targets, so that a group counts by its requests; the
name and a warning say so. Then nothing is asked for on a dimension of which one group
wants more and another one less. How far each answer is from its own target, `value_distance` says.

`asked` says what a model was steered towards: a dimension (`power`, or `-power` for less of it), or
a named target of the constitution (up where it is above 0). *as asked* and *against* are about
dimensions that were asked for; *moved* about those that were not, and about side effects: words of
an answer, refusals, and of verdicts evasiveness, helpfulness, form and topic.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stages.evaluation.comparison import ALL, Groups, IntervalOptions, compare, comparison_table
from stages.evaluation.values.profile_inputs import (
    count_kinds,
    mean_target,
    read_ratings,
    read_steps,
    read_survey,
    shared_signs,
    survey_effects,
)
from stages.guards.errors import UserError, refuse_unknown
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.manifest import Table
from stages.runtime.rows import Answer, Dropped, Rating, Verdict
from stages.runtime.stage import Expected, Stage
from stages.runtime.typed_config import Text, machine
from stages.statistics.corrections import holm
from stages.statistics.formatting import format_estimate, format_p_value
from stages.statistics.intervals import Intervals
from stages.statistics.reliability import t_test
from stages.values.aim import Aim, Reference, aim_identity, foresee_kinds
from stages.values.profile import circle_fit, mean_absolute_error, pearson
from stages.values.theory import ValueTheory, theory_of

OWN = "target"
"""In `asked`: the step's own target."""
AS_ASKED, OPPOSED, MOVED, STILL = "as asked", "against", "moved", "not moved"


@dataclass(frozen=True, kw_only=True)
class Config(IntervalOptions):
    """The theory, a target, and what each model was steered towards."""

    constitution: Selection
    target: Reference | None = machine(None)  # `identity` adds what it stands for
    """What is drawn: a name in the constitution, shares of such, numbers of some dimensions, or a
    file of survey means on a scale from 1 to 6; null: the targets that kinds of requests name, if
    all do, else nothing."""
    targets: dict[str, Reference] | None = machine(None)  # as `target`
    """By kind of request, the target in place of `target`."""
    low: float = machine(1.0)
    """Of files: as in `Aim`."""
    high: float = machine(6.0)
    """Of files: as in `Aim`."""
    group: Text | None = machine(None)
    """Of files: as in `Aim`."""
    asked: dict[str, str] = field(default_factory=dict)
    """By model, a dimension, `-` and a dimension, a named target, or `target` for the one above."""

    @property
    def aim(self) -> Aim:
        """The target of each kind of request."""
        return Aim(
            constitution=self.constitution,
            target=self.target,
            targets=self.targets,
            low=self.low,
            high=self.high,
            group=self.group,
        )

    def find(self) -> dict[str, float] | None:
        """Return the number of each dimension in the target of all requests, if there is one.

        Raises:
            UserError: as `Aim.find`.
        """
        if self.target is None:
            return None
        return self.numbers(self.aim.find(self.target))

    def numbers(self, target: Sequence[float]) -> dict[str, float]:
        """Return the number of each dimension of a target."""
        return dict(zip(self.aim.theory.dimensions, target, strict=True))

    def find_groups(self, kinds: Collection[str]) -> dict[str, dict[str, float]]:
        """Return the target of each kind of request; none where all have the same one.

        Raises:
            UserError: a kind has none, and others have.
        """
        aim = self.aim
        can_name = self.target is None and set(kinds) <= set(aim.theory.targets)
        if not self.targets and not can_name:
            return {}
        return {kind: self.numbers(aim.target_of(kind)) for kind in kinds}


def check(config: Config) -> None:
    """Refuse an unknown target, and a model asked for what the theory does not have."""
    theory = theory_of(select(config.constitution))
    where = f"constitution {theory.name!r}"
    aim = config.aim
    config.find()
    for reference in (config.targets or {}).values():
        aim.find(reference)
    names = [name.removeprefix("-") for name in config.asked.values()]
    has_target = config.target is not None or config.targets or theory.targets
    known = [*theory.dimensions, *theory.targets, *([OWN] if has_target else [])]
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
    if config.target is not None and not config.targets:
        return {"constitution": facts, "numbers": config.find()}
    return {"constitution": facts, **aim_identity(config.aim)}


def foresee(config: Config, inputs: Mapping[str, Expected]) -> list[str]:
    """Refuse a target that kinds of requests are to name, and do not.

    Raises:
        UserError: as `Aim.doubt_kinds`.
    """
    if OWN in config.asked.values() or config.targets:
        foresee_kinds(config.aim, inputs)  # `value_distance` gives its warnings
    return []


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
    named = config.target if isinstance(config.target, str) else "of its own"
    groups: dict[str, dict[str, float]] = {}
    counts: Counter[str] = Counter()
    signs: dict[str, int] = {}
    warnings: list[str] = []
    intervals = config.intervals(context.seed)
    drift: dict[str, Any] = {}
    surveys = [artifact for artifact in inputs.values() if artifact.stage == "survey"]
    dropped: list[Dropped] = []
    effects: dict[str, Any] = {}
    if surveys:
        profile = read_survey(surveys[0], theory)
        effects = {name: survey_effects(each) for name, each in profile["differences"].items()}
    else:
        homes = {one.id: one.dimension or "" for one in constitution.principles}
        values, others = read_ratings(
            inputs,
            theory,
            homes,
            dropped,
        )
        first = next(iter(values))
        steps, snapshots = read_steps({name: inputs[name] for name in values})
        if snapshots:
            models = compare({name: values[name] for name in steps}, intervals)["models"]
            drift = {"steps": steps, "models": models}
        values = {name: values[name] for name in values if name not in snapshots}
        profile = compare(values, intervals)
        counts = count_kinds(inputs)
        groups = config.find_groups(counts)
        if groups:
            target = mean_target(groups, counts)
            named = f"the mean of the targets of {', '.join(groups)}"
            warnings = [
                f"requests differ in their target: the profiles are drawn beside {named}, in which "
                "each group counts by its requests; the distance of each answer from its own "
                "target is in the table of `value_distance`"
            ]
        if target is None and OWN in config.asked.values():
            kinds = ", ".join(counts)
            raise UserError(
                f"asked: there is no target, since kinds of requests name none: {kinds}",
                where=f"step {context.step!r}",
                fix="set `target`, or let `kind_column` of the step that reads the requests name "
                f"one of: {', '.join(theory.targets)}",
            )
        signs = shared_signs(groups or ({OWN: target} if target else {}))
        refuse_unknown(
            config.asked,
            values,
            "asked: there is no model",
            f"step {context.step!r}",
        )
        for name in list(values)[1:]:
            before = values[first] | others[first]
            after = values[name] | others[name]
            asked = config.asked.get(name, "")
            wanted = signs if asked == OWN else _wanted(asked, theory.targets)
            effects[name] = _effects(before, after, wanted, intervals)
    metrics = {
        "confidence": config.confidence,
        "theory": {
            "name": theory.name,
            "dimensions": list(theory.dimensions),
            "angles": theory.angles,
            "is_nominal": theory.is_nominal,
        },
        "target": {"name": named, "values": target} if target else None,
        "groups": {kind: {"n": counts[kind], "target": groups[kind]} for kind in groups},
        "is_survey": bool(surveys),
        "profile": profile,
        "drift": drift,
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
        warnings=warnings,
    )


STAGE = Stage(
    version=3,
    config=Config,
    run=run,
    optional={"*": Rating | Verdict | Answer},
    least=1,
    check=check,
    foresee=foresee,
    identity=identity,
)


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
