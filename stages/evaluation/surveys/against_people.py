"""Models beside groups of people: answers to each item, and whole profiles. Arithmetic only."""

from collections.abc import Mapping, Sequence
from typing import Any

from stages.evaluation.comparison import compare, grouped
from stages.evaluation.surveys.estimates import Groups, Profile
from stages.evaluation.surveys.opinions import by_group
from stages.evaluation.surveys.people import People
from stages.evaluation.surveys.questionnaire import Questionnaire
from stages.evaluation.surveys.readings import ItemReading
from stages.evaluation.surveys.scoring import score_ratings
from stages.statistics.intervals import Intervals
from stages.values.profile import mean_absolute_error, pearson


def against_people(
    survey: Questionnaire,
    people: People | None,
    readings: Mapping[str, Sequence[ItemReading]],
    profiles: Mapping[str, Profile],
    groups: Groups,
    base: float,
    intervals: Intervals,
) -> dict[str, Any]:
    """Return how like groups of people each model answers.

    Returns:
        `similarity` and `likelihood` as in `comparison.py`, where questions are the unit; `joint`,
        the likelihoods summed over questions; `profiles`, by model and group, Pearson's correlation
        and the mean absolute error of the scores of a scale; `read`, what was read of the file.
    """
    alike, likely, joint = {}, {}, {}
    for name, each in readings.items():
        answers = {one.item.id: one.distribution for one in each}
        similarities, likelihoods = by_group(
            survey.items,
            answers,
            base,
        )
        alike[name] = grouped(_flat(similarities))
        likely[name] = grouped(_flat(likelihoods))
        joint[name] = {group: sum(values.values()) for group, values in likelihoods.items()}
    facts: dict[str, Any] = {"base": base, "joint": joint}
    if any(item.people for item in survey.items):
        facts["similarity"] = compare(alike, intervals)
        facts["likelihood"] = compare(likely, intervals)
    if people and survey.form.kind == "scale":
        facts["read"] = people.facts()
        facts["profiles"] = _profiles(
            survey,
            people,
            profiles,
            groups,
        )
    return facts


def _flat(values: Mapping[str, Mapping[str, float]]) -> list[tuple[str, str, float | None]]:
    rows: list[tuple[str, str, float | None]] = []
    for group, questions in values.items():
        rows += [(group, question, value) for question, value in questions.items()]
    return rows


def _profiles(
    survey: Questionnaire, people: People, profiles: Mapping[str, Profile], groups: Groups
) -> dict[str, dict[str, Any]]:
    results: dict[str, dict[str, Any]] = {}
    for name, profile in profiles.items():
        scores = profile.metrics["scores"]
        ours = {key: score["value"] for key, score in scores.items() if key not in groups}
        results[name] = {}
        for group, ratings in people.means.items():
            values = score_ratings(
                survey,
                ratings,
                {},
            ).values
            theirs = {key: value for key, value in values.items() if key in ours}
            if len(theirs) > 2:
                results[name][group] = {
                    "pearson": pearson(ours, theirs),
                    "mean_absolute_error": mean_absolute_error(ours, theirs),
                    "dimensions": len(theirs),
                }
    return results
