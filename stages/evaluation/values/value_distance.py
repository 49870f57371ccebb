"""Stage `value_distance`: how far policies are from a target of values, and from other targets.

In: Rating rows of several policies on the same requests, under any names (`score` with a value
evaluator and `each: true`, `rate`, `function_ratings`); the first one is the baseline; optional,
`reference`: a language model. Out: tables, and metrics, with intervals over requests:

    distances     {models, differences} by target: the mean distance of an answer
    profile       {models, differences} by dimension: the mean score
    signs         {models, differences}: the share of dimensions that an answer is silent on,
                  refusals, and repetition
    length        {models, differences}: words of an answer
    likelihood    {models, differences}: nats a token of the answers under `reference`, whose
                  exponential is the perplexity: rising, it shows that texts fall apart
    of_profiles   {policy: {target: the distance of the mean profile}}
    confusion     {target: {policy, nearest, clearly, differences}}

`against` names further targets; a policy that is called as a target, or that `aimed` says is aimed
at one, is *nearest* to it if no other policy has a smaller mean distance, and *clearly* so if each
paired difference excludes 0. That is the confusion matrix of several alignments. The silent share
and the refusals are tripwires: the published distance is met best by a text that says nothing
(`stages/values/distance.py`). Length is one, too: where an evaluator reads other values in longer
answers, a policy comes nearer by its length alone. Warnings name a policy whose answers are of
another length, or less likely under the reference.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stages.evaluation.comparison import IntervalOptions, compare, comparison_table
from stages.evaluation.values.rated_answers import RatedAnswers, read_answers
from stages.guards.errors import refuse_unknown
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.manifest import Table
from stages.runtime.models import Model
from stages.runtime.rows import Dropped, Rating
from stages.runtime.stage import Stage
from stages.runtime.typed_config import Names
from stages.statistics.formatting import format_estimate
from stages.statistics.intervals import Intervals
from stages.training.likelihood import nats_a_token
from stages.training.model_files import template_variables
from stages.training.session import model_session
from stages.values.aim import Aim, Reference, aim_identity, check_aim, foresee_kinds

REFERENCE = "reference"
AIM = "target"
"""What the tables call the step's own target, where it is not a name."""
OWN = "own target"
"""What they call each answer's own one, where requests differ in it."""
TITLES = {
    "distances": ("mean distance of an answer", "target"),
    "profile": ("mean score", "dimension"),
    "signs": ("what answers leave out", "share"),
    "length": ("length of an answer", "measure"),
    "likelihood": ("nats a token under the reference", "measure"),
}
"""By metric, the title of its table and the name of its first column."""
LENGTH_RATIO = 1.5
"""How many times as long or as short answers are that are called of another length."""
LESS_LIKELY = 0.3
"""Nats a token from which answers are called less likely: a perplexity 1.35 times as high."""
PLAIN: dict[str, Any] = {"factor": 1, "places": 2}
"""How a number is written that is no share."""


@dataclass(frozen=True, kw_only=True)
class Config(Aim, IntervalOptions):
    """The options of an aim, further targets, and the options of intervals."""

    against: Names | dict[str, Reference] | None = None
    """Further targets, from which the distance of every policy is measured, too: names, or a
    mapping of names to targets as in `target`.
    """
    aimed: dict[str, str] = field(default_factory=dict)
    """By policy, the target that it was aligned to, as the tables call it; else its own name."""

    @property
    def others(self) -> dict[str, list[float]]:
        """The numbers of the further targets, by name."""
        references = self.against or {}
        if not isinstance(references, dict):
            references = {name: name for name in references}
        return {name: self.find(reference) for name, reference in references.items()}

    def shared(self) -> dict[str, list[float]]:
        """The targets from which all answers are measured, by name, the step's own one first."""
        if self.target is None or self.targets:
            return self.others
        name = self.target if isinstance(self.target, str) else AIM
        numbers = self.find(self.target)
        if numbers in self.others.values():  # it has a name there
            return self.others
        return {name: numbers, **self.others}


def check(config: Config) -> None:
    """Refuse further targets that are not there, and what `check_aim` refuses."""
    check_aim(config)
    config.shared()


def identity(config: Config) -> dict[str, Any]:
    """The numbers of all targets."""
    return {**aim_identity(config), "others": config.others}


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Measure every policy.

    Raises:
        UserError: a policy has no rated answer, a score is not between -1 and 1, a kind of request
            has no target, or `aimed` names a policy that is not there.
    """
    where = f"step {context.step!r}"
    ratings = {name: each for name, each in inputs.items() if name != REFERENCE}
    refuse_unknown(config.aimed, ratings, "aimed: there is no policy", where)
    dropped: list[Dropped] = []
    policies = {}
    for name, artifact in ratings.items():
        rows = artifact.rows(Rating)
        policies[name] = read_answers(rows, config, f"{where}, input {name!r}", dropped)
    targets = config.shared()
    kinds: Counter[str] = Counter()
    for answers in policies.values():
        by_request = {row.prompt_id: row.kind for row in answers.rows}
        kinds |= Counter(by_request.values())
    measures: dict[str, Any] = {
        "distances": {},
        "profile": {},
        "signs": {},
        "length": {},
    }
    for name, answers in policies.items():
        measures["distances"][name] = _distances(answers, targets, config)
        measures["profile"][name] = answers.profile()
        measures["signs"][name] = answers.signs()
        measures["length"][name] = {"words": answers.words()}
    if REFERENCE in inputs:
        reference = inputs[REFERENCE].model()
        measures["likelihood"] = _likelihoods(policies, reference, context)
    intervals = config.intervals(context.seed)
    metrics: dict[str, Any] = {}
    tables = []
    for key, values in measures.items():
        are_shares = key == "signs"
        metrics[key] = compare(values, intervals, are_shares)
        title, column = TITLES[key]
        style = {} if are_shares else PLAIN
        table = comparison_table(f"{context.step}: {title}", metrics[key], column, **style)
        tables.append(table)
    metrics["of_profiles"] = {
        name: _of_profile(answers, targets, config) for name, answers in policies.items()
    }
    metrics["confusion"] = _confusion(measures["distances"], config, intervals)
    if metrics["confusion"]:
        tables.append(_confusion_table(context.step, metrics))
    return Result(
        dropped=dropped,
        metrics=metrics,
        tables=tables,
        warnings=[
            *config.doubt_kinds(kinds),
            *config.doubts(list(targets.values())),
            *doubt_form(metrics),
        ],
    )


STAGE = Stage(
    version=2,
    config=Config,
    run=run,
    optional={REFERENCE: Model, "*": Rating},
    least=1,
    check=check,
    foresee=foresee_kinds,
    identity=identity,
)


def doubt_form(metrics: Mapping[str, Any]) -> list[str]:
    """Return warnings on policies whose answers have another form than those of the baseline."""
    warnings = []
    models = metrics["length"]["models"]
    baseline = next(iter(models))
    before = models[baseline]["words"]["value"]
    for name, changes in metrics["length"].get("differences", {}).items():
        after = models[name]["words"]["value"]
        is_clear = changes["words"]["low"] > 0 or changes["words"]["high"] < 0
        if is_clear and max(after, before) > LENGTH_RATIO * min(after, before):
            warnings.append(
                f"the answers of {name} have {after:.1f} words, those of {baseline} {before:.1f}: "
                "what looks like other values may be another length"
            )
    for name, changes in metrics.get("likelihood", {}).get("differences", {}).items():
        change = changes["nats a token"]
        if change["low"] > 0 and change["value"] > LESS_LIKELY:
            warnings.append(
                f"the answers of {name} are {change['value']:.2f} nats a token less likely under "
                f"the reference than those of {baseline}: read some, they may fall apart"
            )
    return warnings


def _distances(
    answers: RatedAnswers,
    targets: Mapping[str, list[float]],
    config: Config,
) -> dict[str, dict[str, float]]:
    """Return, by target and request, the mean distance of the answers.

    Args:
        targets: those that all answers share; where requests differ in theirs, each answer's own
            one comes first.
    """
    values = {}
    if config.target is None or config.targets:
        values[OWN] = answers.distances(answers.own_targets())
    for name, target in targets.items():
        values[name] = answers.distances([target])
    return values


def _likelihoods(
    policies: Mapping[str, RatedAnswers],
    reference: Model,
    context: Context,
) -> dict[str, dict[str, dict[str, float]]]:
    """Return, by policy and request, the nats a token of the answers under the reference."""
    variables = template_variables(context)
    likelihoods = {}
    with model_session(context):
        for name, answers in policies.items():
            nats = nats_a_token(reference, answers.texts(), variables)
            likelihoods[name] = {"nats a token": answers.by_request(nats)}
    return likelihoods


def _of_profile(
    answers: RatedAnswers,
    targets: Mapping[str, list[float]],
    config: Config,
) -> dict[str, float]:
    """Return how far the mean profile is from each target."""
    mean = answers.mean_profile()
    distances = {}
    for name, target in targets.items():
        (distance,) = config.far([mean], [target])
        distances[name] = float(distance)
    return distances


def _confusion(
    distances: Mapping[str, Mapping[str, Mapping[str, float]]],
    config: Config,
    intervals: Intervals,
) -> dict[str, Any]:
    """Return, for each target that a policy was aimed at, whether that policy is nearest to it.

    Args:
        distances: by policy, target and request.
    """
    confusion = {}
    for policy, values in distances.items():
        target = config.aimed.get(policy, policy)
        if target not in values:
            continue
        differences = {}
        for other, others in distances.items():
            if other != policy:
                differences[other] = intervals.difference(
                    others[target],
                    values[target],
                    are_shares=False,
                )
        present = [difference for difference in differences.values() if difference]
        confusion[target] = {
            "policy": policy,
            "nearest": all(difference["value"] <= 0 for difference in present),
            "clearly": all(difference["high"] < 0 for difference in present),
            "differences": differences,
        }
    return confusion


def _confusion_table(step: str, metrics: Mapping[str, Any]) -> Table:
    """A row for each policy, a column for each target that one was aimed at."""
    confusion = metrics["confusion"]
    rows = []
    for policy, values in metrics["distances"]["models"].items():
        row = [policy]
        for target, verdict in confusion.items():
            cell = format_estimate(values[target], factor=1, places=2)
            if verdict["policy"] == policy:
                cell += " nearest" if verdict["nearest"] else " not nearest"
                cell += ", clearly" if verdict["clearly"] else ""
            row.append(cell)
        rows.append(row)
    title = f"{step}: distance of every policy from every target"
    return Table(title, ["policy", *confusion], rows)
