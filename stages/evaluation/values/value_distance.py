"""Stage `value_distance`: how far policies are from a target of values, and from other targets.

In: Rating rows of several policies on the same requests, under any names (`score` with a value
evaluator and `each: true`, `rate`, `function_ratings`); the first one is the baseline; optional,
`reference`: a language model. Out: tables, and metrics, with intervals over requests:

    distances     {models, differences} by target: the mean distance of an answer
    profile       {models, differences} by dimension: the mean score
    signs         {models, differences}: dimensions an answer is silent on, refusals, and the share
                  of its words that did not stand in it before
    likelihood    {models, differences}: nats a token of the answers under `reference`, whose
                  exponential is the perplexity: rising, it shows that texts fall apart
    of_profiles   {policy: {target: the distance of the mean profile}}
    confusion     {target: {policy, nearest, clearly, differences}}

`against` names further targets; a policy that is called as a target, or that `aimed` says is aimed
at one, is *nearest* to it if no other policy has a smaller mean distance, and *clearly* so if each
paired difference excludes 0. That is the confusion matrix of several alignments. The silent share
and the refusals are tripwires: the published distance is met best by a text that says nothing
(`stages/values/distance.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from stages.evaluation.comparison import IntervalOptions, compare, comparison_table
from stages.guards.errors import UserError, refuse_unknown
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.manifest import Table
from stages.runtime.models import Model
from stages.runtime.rows import Dropped, Rating
from stages.runtime.stage import Stage
from stages.runtime.typed_config import Names
from stages.statistics.formatting import format_estimate
from stages.statistics.intervals import Intervals, by_prompt
from stages.text.refusals import refuses
from stages.training.likelihood import answer_logps
from stages.training.model_files import load_tokenizer, template_variables
from stages.training.session import model_session
from stages.values.aim import Aim, Reference, aim_identity, check_aim
from stages.values.distance import silent_share

REFERENCE = "reference"
AIM = "target"
"""What the tables call the step's own target, where it is not a name."""
Values = dict[str, dict[str, float]]
"""By group and request."""


@dataclass(frozen=True, kw_only=True)
class Config(Aim, IntervalOptions):
    """The options of an aim, further targets, and the options of intervals."""

    against: Names | dict[str, Reference] | None = None
    """Further targets, from which the distance of every policy is measured, too: names, or a
    mapping of names to targets as in `target`.
    """

    @property
    def others(self) -> dict[str, str | dict[str, float]]:
        """The further targets by name."""
        if isinstance(self.against, dict):
            return self.against
        return {name: name for name in self.against or ()}

    aimed: dict[str, str] = field(default_factory=dict)
    """By policy, the target that it was aligned to, as the tables call it; else its own name."""


@dataclass
class Rated:
    """The answers of one policy that have a profile."""

    rows: list[Rating]
    profiles: list[list[float]]


def check(config: Config) -> None:
    """Refuse further targets that are not there, and what `check_aim` refuses."""
    check_aim(config)
    for reference in config.others.values():
        config.find(reference)


def identity(config: Config) -> dict[str, Any]:
    """The numbers of all targets."""
    others = {name: config.find(each) for name, each in config.others.items()}
    return {**aim_identity(config), "others": others}


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Measure every policy.

    Raises:
        UserError: a policy has no rated answer, a score is not between -1 and 1, a kind of request
            has no target, or `aimed` names a policy that is not there.
    """
    where = f"step {context.step!r}"
    refuse_unknown(config.aimed, inputs, "aimed: there is no policy", where)
    dropped: list[Dropped] = []
    policies = {}
    for name, artifact in inputs.items():
        if name == REFERENCE:
            continue
        policies[name] = _read(name, artifact, config, where, dropped)
    own, targets = _targets(config, policies)
    intervals = config.intervals(context.seed)
    distances = {name: _distances(each, own, targets, config) for name, each in policies.items()}
    measures = {
        "distances": distances,
        "profile": {name: _profile(each, config) for name, each in policies.items()},
        "signs": {name: _signs(each, config) for name, each in policies.items()},
    }
    if REFERENCE in inputs:
        model = inputs[REFERENCE].model()
        measures["likelihood"] = {
            name: _nats(each, model, context) for name, each in policies.items()
        }
    metrics: dict[str, Any] = {key: compare(each, intervals) for key, each in measures.items()}
    metrics["of_profiles"] = _of_profiles(policies, targets, config)
    metrics["confusion"] = _confusion(distances, config, intervals)
    titles = {
        "distances": ("mean distance of an answer", "target"),
        "profile": ("mean score", "dimension"),
        "signs": ("what answers leave out", "share"),
        "likelihood": ("nats a token under the reference", "measure"),
    }
    tables = [
        comparison_table(f"{context.step}: {title}", metrics[key], column)
        for key, (title, column) in titles.items()
        if key in metrics
    ]
    if metrics["confusion"]:
        tables.append(_confusion_table(context.step, metrics))
    aims = [*targets.values(), *(target for each in own.values() for target in each)]
    return Result(dropped=dropped, metrics=metrics, tables=tables, warnings=config.doubts(aims))


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    optional={REFERENCE: Model, "*": Rating},
    least=1,
    check=check,
    identity=identity,
)


def _read(
    name: str, artifact: Artifact, config: Config, where: str, dropped: list[Dropped]
) -> Rated:
    """Return the answers of a policy that have a score for each dimension.

    Raises:
        UserError: there are none.
    """
    rated = Rated([], [])
    for row in artifact.rows(Rating):
        profile = config.read(row, f"{where}, input {name!r}")
        if profile is None:
            dropped.append(Dropped(id=row.id, reason="no score for each dimension"))
        else:
            rated.rows.append(row)
            rated.profiles.append(profile)
    if not rated.rows:
        raise UserError(
            f"no answer of {name!r} has a score for each dimension",
            where=where,
            fix="give it a `score` step with `each: true` and the same constitution",
        )
    return rated


def _targets(
    config: Config, policies: Mapping[str, Rated]
) -> tuple[dict[str, list[list[float]]], dict[str, list[float]]]:
    """Return each answer's own target, by policy, and the targets that all answers share, by name.

    The first is empty where all requests have one target.
    """
    shared = {name: config.find(each) for name, each in config.others.items()}
    if config.target is not None and not config.targets:
        name = config.target if isinstance(config.target, str) else AIM
        return {}, {name: config.find(config.target), **shared}
    own = {
        name: [config.target_of(row.kind) for row in each.rows] for name, each in policies.items()
    }
    return own, shared


def _distances(
    rated: Rated,
    own: Mapping[str, list[list[float]]],
    targets: Mapping[str, list[float]],
    config: Config,
) -> Values:
    """Return the mean distance of the answers to each request, by target."""
    values = {}
    if own:
        kinds = [config.target_of(row.kind) for row in rated.rows]
        values["own target"] = _by_request(rated, config.far(rated.profiles, kinds))
    for name, target in targets.items():
        values[name] = _by_request(rated, config.far(rated.profiles, [target]))
    return values


def _profile(rated: Rated, config: Config) -> Values:
    """Return the mean score of the answers to each request, by dimension."""
    columns = zip(*rated.profiles, strict=True)
    return {
        name: _by_request(rated, column)
        for name, column in zip(config.theory.dimensions, columns, strict=True)
    }


def _signs(rated: Rated, config: Config) -> Values:
    """Return, by request, the share of dimensions that are not spoken of, and other shares."""
    return {
        "silent dimensions": _by_request(rated, silent_share(rated.profiles, config.threshold)),
        "refusals": _by_request(rated, [refuses(row.response) for row in rated.rows]),
        "different words": _by_request(rated, [_variety(row.response) for row in rated.rows]),
    }


def _nats(rated: Rated, model: Model, context: Context) -> Values:
    """Return, by request, the mean negative log-likelihood of a token of the answers."""
    variables = template_variables(context)
    items = [(row.prompt, row.response) for row in rated.rows]
    with model_session(context):
        logps = answer_logps(model, items, variables=variables)
        tokenizer = load_tokenizer(model, {})
    lengths = [len(tokenizer.encode(text, add_special_tokens=False)) + 1 for _, text in items]
    names = [row.prompt_id for row in rated.rows]
    nats = [None if logp is None else -logp / n for logp, n in zip(logps, lengths, strict=True)]
    return {"nats a token": by_prompt(zip(names, nats, strict=True))}


def _variety(text: str) -> float:
    """Return the share of a text's words that did not stand in it before; 1 of an empty text."""
    words = text.lower().split()
    return len(set(words)) / len(words) if words else 1.0


def _by_request(rated: Rated, values: Any) -> dict[str, float]:
    names = [row.prompt_id for row in rated.rows]
    return by_prompt(zip(names, map(float, values), strict=True))


def _of_profiles(
    policies: Mapping[str, Rated], targets: Mapping[str, list[float]], config: Config
) -> dict[str, dict[str, float]]:
    """Return how far each policy's mean profile is from each target."""
    far = {}
    for policy, rated in policies.items():
        mean = [fmean(column) for column in zip(*rated.profiles, strict=True)]
        far[policy] = {
            name: float(config.far([mean], [target])[0]) for name, target in targets.items()
        }
    return far


def _confusion(
    distances: Mapping[str, Values], config: Config, intervals: Intervals
) -> dict[str, Any]:
    """Return, for each target that a policy was aimed at, whether that policy is nearest to it."""
    confusion = {}
    for policy, values in distances.items():
        target = config.aimed.get(policy, policy)
        if target not in values:
            continue
        differences = {
            other: intervals.difference(each[target], values[target], are_shares=False)
            for other, each in distances.items()
            if other != policy
        }
        known = [each for each in differences.values() if each]
        confusion[target] = {
            "policy": policy,
            "nearest": all(each["value"] <= 0 for each in known),
            "clearly": all(each["high"] < 0 for each in known),
            "differences": differences,
        }
    return confusion


def _confusion_table(step: str, metrics: Mapping[str, Any]) -> Table:
    """A row for each policy, a column for each target that one was aimed at."""
    confusion = metrics["confusion"]
    rows = []
    for policy, values in metrics["distances"]["models"].items():
        cells = []
        for target, each in confusion.items():
            cell = format_estimate(values[target], factor=1, places=2)
            if each["policy"] == policy:
                cell += " nearest" if each["nearest"] else " not nearest"
                cell += ", clearly" if each["clearly"] else ""
            cells.append(cell)
        rows.append([policy, *cells])
    title = f"{step}: distance of every policy from every target"
    return Table(title, ["policy", *confusion], rows)
