"""Stage `label_accuracy`: how well scores agree with people's labels, principle by principle.

In: `labels`, Rating rows with a label from -1 to 1 for each principle (`human_answers`, or a `rate`
step whose ratings count as the truth); `learnt_labels`, optional, those that a model learnt from,
whose most common label is the baseline `majority`; and under any other names Rating rows to
examine: of a value or rule model (`score` with `each: true`), a judge (`rate`), a word list
(`keyword_ratings`). They are matched by request and answer. Out: tables, and metrics,

    models.<name>       dialogues, macro_f1, macro_f1_classes, calibration_error, bins, principles;
                        `dropped`, the answers that its step gave no rating, by reason: where a
                        judge abstains
    models.majority     always the most common label of each principle
    models.always       always 1
    differences.<name>  both macro-F1 of the first model less those of another one

where `macro_f1` is the mean over the principles with at least `least` labels of 1 (learnt ones
included) of the F1 of the class 1, and `macro_f1_classes` that of the mean F1 of the three classes.
Intervals are bootstraps over dialogues. A model is measured on the answers that it rated, and a
difference on those that both did.

Source: the tables of Value FULCRA's evaluator (Yao et al. 2024, arXiv 2311.10766), with intervals.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from stages.evaluation.comparison import IntervalOptions
from stages.evaluation.labels.label_measures import (
    Cells,
    calibration,
    estimate,
    macro_draws,
    measure_principle,
)
from stages.guards.errors import UserError
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.manifest import Table
from stages.runtime.rows import Rating
from stages.runtime.stage import Stage
from stages.runtime.typed_config import Count, Positive
from stages.statistics.formatting import NO_VALUE, format_confidence, format_estimate
from stages.statistics.intervals import Intervals

LABELS, LEARNT = "labels", "learnt_labels"
MAJORITY, ALWAYS = "majority", "always"
MACRO = ("macro_f1", "macro_f1_classes")
SHOWN = ("1", "0", "-1")
"""The labels, in the order of the tables."""
Key = tuple[str, str]
"""A request's id and the answer."""


@dataclass(frozen=True)
class Config(IntervalOptions):
    threshold: Annotated[Positive, Field(le=1)] = 0.5
    """From here on a score counts as the label 1, and from its negative on as -1."""
    least: Count = 50
    """Labels of 1 that a principle must have to count in macro-F1."""
    bins: Count = 10
    """Of the scores, for calibration."""


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Compare every model with the labels.

    Raises:
        UserError: no label, a score outside [-1, 1], or a model that rated no labelled answer.
    """
    where = f"step {context.step!r}"
    gold = inputs[LABELS].rows(Rating)
    learnt = inputs[LEARNT].rows(Rating) if LEARNT in inputs else []
    names = list(dict.fromkeys(name for row in gold for name in row.principles))
    ratings = {
        name: _by_answer(artifact.rows(Rating), f"{where}, input {name!r}")
        for name, artifact in inputs.items()
        if name not in (LABELS, LEARNT)
    }
    _check_range([*gold, *learnt], where)
    rows: dict[str, list[dict[str, float]]] = {}
    for name, by_answer in ratings.items():
        rows[name] = [by_answer.get(_key(row), {}) for row in gold]
    unrated = [name for name, by_answer in ratings.items() if not by_answer]
    for name in unrated:  # such as a word list that nobody wrote
        del rows[name]
    rows[MAJORITY] = [_most_common(learnt or gold, names)] * len(gold)
    rows[ALWAYS] = [dict.fromkeys(names, 1.0)] * len(gold)
    labels = _table([_scores(row) for row in gold], names)
    dialogues = [row.prompt_id for row in gold]
    cells = {}
    for name, scores in rows.items():
        cells[name] = Cells(dialogues, labels, _table(scores, names))
    _refuse_unrated(cells, where)
    positives: Counter[str] = Counter()
    for row in [*gold, *learnt]:
        for name, score in _scores(row).items():
            positives[name] += score >= 0.5
    counted = [place for place, name in enumerate(names) if positives[name] >= config.least]
    models = {}
    for name, each in cells.items():
        models[name] = _measure(
            each,
            names,
            counted,
            config,
        )
        models[name]["dropped"] = {}
        if name in inputs:
            models[name]["dropped"] = dict(inputs[name].manifest.dropped)
    intervals = config.intervals(context.seed)
    differences: dict[str, Any] = {}
    first = next(iter(cells))
    for name, each in cells.items() if counted else ():
        draws = macro_draws(each, counted, config.threshold, intervals)
        models[name] |= _estimates(draws, each.rated, intervals)
        if name != first:
            shared = cells[first].where_rated(each)
            change = macro_draws(shared, counted, config.threshold, intervals) - draws
            differences[name] = _estimates(change, shared.rated, intervals)
    metrics = {
        "confidence": config.confidence,
        "counted": [names[place] for place in counted],
        "positives": {name: positives[name] for name in names},
        "models": models,
        "differences": differences,
    }
    warnings = [f"{name!r} rated nothing and is left out" for name in unrated]
    if not counted:
        warnings.append(f"no principle has {config.least} labels of 1, so there is no macro-F1")
    tables = [
        _summary(context.step, metrics),
        _by_principle(context.step, metrics),
        _of_the_first(context.step, metrics),
    ]
    return Result(metrics=metrics, tables=tables, warnings=warnings)


STAGE = Stage(
    version=2,
    config=Config,
    run=run,
    inputs={LABELS: Rating},
    optional={LEARNT: Rating, "*": Rating},
    least=1,
)


def _key(row: Rating) -> Key:
    return row.prompt_id, row.response


def _scores(row: Rating) -> dict[str, float]:
    """The score of each principle; the only one of a row with one principle."""
    scores = row.scores or [row.score] * (len(row.principles) == 1)
    return dict(zip(row.principles, scores, strict=False))


def _by_answer(rows: Sequence[Rating], where: str) -> dict[Key, dict[str, float]]:
    """The scores of each answer.

    Raises:
        UserError: as `_check_range`.
    """
    _check_range(rows, where)
    return {_key(row): _scores(row) for row in rows}


def _check_range(rows: Sequence[Rating], where: str) -> None:
    """Refuse scores that cannot be compared with labels.

    Raises:
        UserError: a score lies outside [-1, 1].
    """
    for row in rows:
        for name, score in _scores(row).items():
            if not -1 <= score <= 1:
                raise UserError(
                    f"the score {score:g} of {name!r} lies outside -1 to 1",
                    where=where,
                    fix='let `rate` use scale: {"Yes": 1, "No": -1}, or another between -1 and 1',
                )


def _refuse_unrated(cells: Mapping[str, Cells], where: str) -> None:
    """Refuse a model that rated none of the labelled answers.

    Raises:
        UserError: there is one.
    """
    for name, each in cells.items():
        if not each.rated:
            raise UserError(
                f"no labelled answer has a rating of {name!r} under one of its principles",
                where=where,
                fix="let it rate the answers of `labels`; a `score` step needs `each: true`",
            )


def _estimates(draws: Any, n: int, intervals: Intervals) -> dict[str, Any]:
    """Both macro-F1 with their intervals.

    Args:
        draws: as `macro_draws` returns them, or the difference of two.
        n: dialogues.
    """
    estimates = {}
    for place, name in enumerate(MACRO):
        estimates[name] = estimate(draws[:, place], n, intervals)
    return estimates


def _table(rows: Sequence[Mapping[str, float]], names: Sequence[str]) -> Any:
    """The scores as an array.

    Args:
        rows: of each answer, its scores by principle.
        names: of the principles.

    Returns:
        Shape (answers, principles), NaN where there is no score.
    """
    import numpy as np

    return np.array([[row.get(name, np.nan) for name in names] for row in rows])


def _most_common(rows: Sequence[Rating], names: Sequence[str]) -> dict[str, float]:
    """The most common label of each principle; 0 of one that nobody labelled.

    Args:
        rows: answers with labels; those between -1, 0 and 1 are rounded.
        names: of the principles.
    """
    counts: dict[str, Counter[float]] = {name: Counter() for name in names}
    for row in rows:
        for name, score in _scores(row).items():
            if name in counts:
                counts[name][float(round(score))] += 1
    common = {}
    for name, each in counts.items():
        common[name] = max(each, key=each.__getitem__, default=0.0)
    return common


def _measure(
    cells: Cells, names: Sequence[str], counted: Sequence[int], config: Config
) -> dict[str, Any]:
    """What is measured of one model without an interval.

    Args:
        names: of the principles.
        counted: the places of those whose scores are calibrated together.
    """
    present = cells.present[:, counted]
    labels = cells.labels[:, counted][present]
    scores = cells.scores[:, counted][present]
    error, bins = calibration(labels, scores, config.bins)
    principles = {}
    for place, name in enumerate(names):
        principles[name] = measure_principle(cells, place, config.threshold, config.bins)
    return {
        "dialogues": cells.rated,
        "calibration_error": error if bins else None,
        "bins": bins,
        "principles": principles,
    }


def _summary(step: str, metrics: Mapping[str, Any]) -> Table:
    """A row for each model."""
    confidence = format_confidence(metrics["confidence"])
    title = (
        f"{step}: macro-F1 over {len(metrics['counted'])} principles by dialogues; per cent, "
        f"{confidence} intervals"
    )
    columns = [
        "model",
        "dialogues",
        "no rating",
        "F1 of 1",
        "the first less it",
        "F1 of -1, 0, 1",
        "the first less it",
    ]
    rows = []
    for name, each in metrics["models"].items():
        change = metrics["differences"].get(name, {})
        unrated = sum(each["dropped"].values())
        row = [name, str(each["dialogues"]), str(unrated)]
        for measure in MACRO:
            row.append(format_estimate(each.get(measure)))
            row.append(format_estimate(change.get(measure), sign="+"))
        error = each["calibration_error"]
        rows.append([*row, NO_VALUE if error is None else f"{error:.3f}"])
    return Table(title, [*columns, "calibration error"], rows)


def _by_principle(step: str, metrics: Mapping[str, Any]) -> Table:
    """Support, and F1 of the label 1 of every model."""
    models = metrics["models"]
    first = next(iter(models.values()))
    rows = []
    for name, each in first["principles"].items():
        support = each.get("support", {})
        counts = "/".join(str(support.get(label, 0)) for label in SHOWN)
        cells = [_percent(model["principles"][name], "1", "f1") for model in models.values()]
        rows.append([name, counts, *cells])
    return Table(
        f"{step}: F1 of the label 1, per cent",
        ["principle", "/".join(SHOWN), *models],
        rows,
    )


def _of_the_first(step: str, metrics: Mapping[str, Any]) -> Table:
    """Precision, recall and F1 of each class, and calibration, of the first model."""
    first, measured = next(iter(metrics["models"].items()))
    rows = []
    for name, each in measured["principles"].items():
        row = [name]
        for label in SHOWN:
            for part in ("precision", "recall", "f1"):
                row.append(_percent(each, label, part))
        error = each.get("calibration_error")
        row.append(NO_VALUE if error is None else f"{error:.3f}")
        rows.append(row)
    columns = []
    for label in SHOWN:
        columns += [f"P {label}", f"R {label}", f"F1 {label}"]
    return Table(
        f"{step}: precision, recall and F1 of {first} by label, per cent",
        ["principle", *columns, "calibration error"],
        rows,
    )


def _percent(measures: Mapping[str, Any], label: str, part: str) -> str:
    """A number of one class in per cent; a dash where nobody has the label.

    Args:
        part: precision, recall or f1.
    """
    each = measures.get("classes", {}).get(label)
    if not each or not each["support"]:
        return NO_VALUE
    return f"{100 * each[part]:.0f}"
