"""What `value_profile` reads: scores by model, dimension and request, and the targets of groups.

In: Rating and Verdict rows, or a survey. Out: groups of numbers as `compare` takes them, and of
groups of requests with targets of their own the mean target, and the signs that they agree in.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from stages.evaluation.comparison import Groups
from stages.guards.errors import UserError
from stages.runtime.artifacts import Artifact
from stages.runtime.rows import Dropped, Rating, Verdict
from stages.statistics.intervals import by_prompt
from stages.text.refusals import refuses
from stages.values.theory import ValueTheory

SIDE = ("evasive", "helpful", "well_formed", "on_topic")
"""What a verdict says of an answer, besides its values."""


def read_ratings(
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


def read_steps(inputs: Mapping[str, Artifact]) -> tuple[dict[str, int], set[str]]:
    """Return the training step of each model along one training, in order, and which of them are
    snapshots.

    Those are the baseline as the start, the snapshots, and the model at the end. Without snapshots,
    or with those of several trainings, there are none.

    Args:
        inputs: ratings, the baseline first.
    """
    models = {name: _answerer(ratings) for name, ratings in inputs.items()}
    facts = {name: model.metrics for name, model in models.items() if model}
    snapshots = {name for name, metrics in facts.items() if "training_step" in metrics}
    trainings = {facts[name]["training"] for name in snapshots}
    if len(trainings) != 1:
        return {}, set()
    steps = {next(iter(inputs)): 0}
    for name, model in models.items():
        if name in snapshots:
            steps[name] = facts[name]["training_step"]
        elif model and model.fingerprint in trainings:
            steps[name] = facts[name]["steps"]
    in_order = sorted(steps.items(), key=lambda pair: pair[1])
    return dict(in_order), snapshots - {next(iter(inputs))}


def _answerer(ratings: Artifact) -> Artifact | None:
    """Return the step of the model whose answers were rated; its ratings may have another one."""
    for name in ratings.inputs:
        for answers in ratings.input_artifacts(name) if name != "model" else ():
            models = answers.input_artifacts("model")
            if models:
                return models[0]
    return None


def read_survey(
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


def survey_effects(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a survey's changes as effects that nobody asked for."""
    return {name: {**change, "asked": 0} for name, change in changes.items()}


def count_kinds(inputs: Mapping[str, Artifact]) -> Counter[str]:
    """Return the rated requests of each kind."""
    kinds: dict[str, str] = {}
    for artifact in inputs.values():
        rows: list[Any] = list(artifact.rows(Rating, Verdict))
        kinds |= {row.prompt_id: row.kind for row in rows if isinstance(row, Rating)}
    return Counter(kinds.values())


def mean_target(
    groups: Mapping[str, Mapping[str, float]],
    counts: Mapping[str, int],
) -> dict[str, float]:
    """Return the mean of the targets of all requests."""
    total = sum(counts[kind] for kind in groups)
    dimensions = next(iter(groups.values()))
    return {
        name: sum(counts[kind] * target[name] for kind, target in groups.items()) / total
        for name in dimensions
    }


def shared_signs(targets: Mapping[str, Mapping[str, float]]) -> dict[str, int]:
    """Return, by dimension, the sign that targets agree in; none where one wants more, one less."""
    signs = {}
    for name in next(iter(targets.values()), {}):
        wanted = {1 if target[name] > 0 else -1 for target in targets.values() if target[name]}
        if len(wanted) == 1:
            signs[name] = wanted.pop()
    return signs
