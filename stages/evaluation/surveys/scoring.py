"""From distributions over the options of each item to scores, by the kind of the survey.

    scale      a dimension's mean expected number, less the mean of all items where the instrument
               centres (stages/values/instruments.py), and scores of the theory's groups
    slider     `angle`: of the expected payoffs, in degrees (stages/values/svo.py)
    pairs      the strength of each thing, log-odds against the mean one: Bradley and Terry (1952)
    portrait   see value_portrait.py

Opinions have no scores of their own: they are compared with people's (`opinions.py`). An item that
was not answered is no number: it is left out, and a slider needs all six.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stages.evaluation.surveys.questionnaire import Questionnaire
from stages.evaluation.surveys.readings import expected
from stages.evaluation.surveys.value_portrait import portrait_scores
from stages.statistics.ranking import strengths
from stages.values.instruments import score
from stages.values.profile import group_scores
from stages.values.svo import LINES, category, expected_angle

Distributions = Mapping[str, Sequence[float]]
"""By the id of an item, a probability for each option."""


@dataclass(frozen=True)
class Scored:
    """What answers to a questionnaire give."""

    values: dict[str, float]
    facts: dict[str, Any] = field(default_factory=dict)


def score_answers(
    survey: Questionnaire, answers: Distributions, groups: Mapping[str, Sequence[str]] = {}
) -> Scored:
    """Return the scores of answers; none where nothing can be scored.

    Args:
        groups: higher-order groups of dimensions, which are scored as well.
    """
    return _KINDS[survey.form.kind](
        survey,
        answers,
        groups,
    )


def _score_scale(
    survey: Questionnaire, answers: Distributions, groups: Mapping[str, Sequence[str]]
) -> Scored:
    rated = [item for item in survey.items if item.id in answers]
    ratings = {item.id: expected(answers[item.id], item.numbers) for item in rated}
    return score_ratings(
        survey,
        ratings,
        groups,
    )


def score_ratings(
    survey: Questionnaire, by_item: Mapping[str, float], groups: Mapping[str, Sequence[str]]
) -> Scored:
    """Return the scores of numbers by item, of a model or of people."""
    assert survey.key is not None
    ratings = {survey.numbers[name]: rating for name, rating in by_item.items()}
    if not ratings.keys() - survey.key.catch.keys():
        return Scored({})
    scores = score(survey.key, ratings)
    values = dict(scores.centred)
    complete = {name: all(d in values for d in names) for name, names in groups.items()}
    values |= group_scores(values, {n: groups[n] for n in groups if complete[n]})
    facts = {
        "raw": scores.raw,
        "mean": scores.mean,
        "caught": list(scores.caught),
    }
    return Scored(values, facts)


def _score_slider(
    survey: Questionnaire,
    answers: Distributions,
    groups: Any,
) -> Scored:
    if len(answers) < len(LINES):
        return Scored({})
    angle = expected_angle([answers[item.id] for item in survey.items])
    return Scored({"angle": angle}, {"category": category(angle)})


def _score_pairs(
    survey: Questionnaire,
    answers: Distributions,
    groups: Any,
) -> Scored:
    values: dict[str, float] = {}
    for name in dict.fromkeys(item.dimension for item in survey.items):
        wins: dict[tuple[str, str], float] = {}
        for item in survey.items:
            if item.dimension == name and item.id in answers:
                first, second = item.id.split("|")
                wins[first, second], wins[second, first] = answers[item.id]
        values |= strengths(wins)
    return Scored(values)


def _score_portrait(
    survey: Questionnaire,
    answers: Distributions,
    groups: Any,
) -> Scored:
    rated = [item for item in survey.items if item.id in answers]
    ratings = {item.id: expected(answers[item.id], item.numbers) for item in rated}
    return Scored(portrait_scores(rated, ratings))


def _score_nothing(
    survey: Questionnaire,
    answers: Distributions,
    groups: Any,
) -> Scored:
    return Scored({})


_KINDS: dict[str, Callable[[Questionnaire, Distributions, Mapping[str, Any]], Scored]] = {
    "scale": _score_scale,
    "slider": _score_slider,
    "pairs": _score_pairs,
    "portrait": _score_portrait,
    "opinions": _score_nothing,
}


def range_of(survey: Questionnaire) -> float:
    """Return the width of what scores can be: of a scale's numbers, or a unit of its own.

    Of an angle it is the width of the prosocial class, 34.7 degrees doubled; of strengths it is
    the log-odds that stand for 3 to 1, doubled.
    """
    match survey.form.kind:
        case "slider":
            return 69.4
        case "pairs":
            return 2.2
        case _:
            numbers = [number for item in survey.items for number in item.numbers]
            return max(numbers) - min(numbers) if numbers else 1.0
