"""Scores of one model with intervals, how reliable they are, and whether they were measured at all.

In: readings of items. Out: plain data for each dimension. The items are the survey's, so an
interval says what other wordings and contexts would give (Student's, over administrations); of
ValuePortrait, whose items are a sample of what could be said, it holds the choice of items as well.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import Any

from stages.evaluation.surveys.questionnaire import Item, Questionnaire
from stages.evaluation.surveys.readings import Distribution, ItemReading, expected, modal
from stages.evaluation.surveys.scoring import range_of, score_answers
from stages.evaluation.surveys.value_portrait import LEAST, likeness_estimates, portrait_draws
from stages.evaluation.surveys.verdict import Evidence, judge
from stages.statistics.corrections import holm
from stages.statistics.intervals import Estimate, Intervals
from stages.statistics.reliability import cronbach, intraclass, t_interval, t_test

Groups = Mapping[str, Sequence[str]]
KINDS = ("order", "wording", "retest")
ORDERED = ("scale", "portrait", "pairs")
"""Kinds of survey whose items can be high or low."""


@dataclass(frozen=True)
class Profile:
    """What one model's answers give."""

    by_administration: Mapping[str, Mapping[str, float]]
    """The scores of each administration."""
    draws: Mapping[str, Sequence[float]]
    """Scores of resampled items; {}: the items are fixed."""
    metrics: dict[str, Any]


def profile_of(
    survey: Questionnaire,
    readings: Sequence[ItemReading],
    asked: int,
    groups: Groups,
    intervals: Intervals,
) -> Profile:
    """Return the scores of one model.

    Args:
        asked: the number of all questions.
    """
    names = sorted({name for reading in readings for name in reading.by_administration})
    by_administration = {}
    for name in names:
        answers = {
            reading.item.id: reading.by_administration[name]
            for reading in readings
            if name in reading.by_administration
        }
        by_administration[name] = score_answers(
            survey,
            answers,
            groups,
        ).values
    whole = score_answers(
        survey,
        {one.item.id: one.distribution for one in readings},
        groups,
    )
    likeliest = {one.item.id: modal(one.distribution) for one in readings}
    modes = score_answers(
        survey,
        likeliest,
        groups,
    )
    draws: dict[str, list[float]] = {}
    if survey.form.kind == "portrait":
        ratings = {one.item.id: rating_of(one) for one in readings}
        items = [one.item for one in readings]
        draws = portrait_draws(
            items,
            ratings,
            intervals,
        )
        whole.facts["likeness"] = likeness_estimates(
            items,
            ratings,
            intervals,
        )
    answered = sum(one.answered for one in readings)
    reliability = {
        kind: reliability_of(
            survey,
            readings,
            kind,
            intervals,
        )
        for kind in KINDS
    }
    spread = spread_of(readings)
    common = Evidence(
        estimate=Estimate(
            0.0,
            0.0,
            0.0,
            len(names),
        ),
        range=range_of(survey),
        items=len(readings),
        mass=spread["mass"],
        answered=answered / asked if asked else 0.0,
        says=t_interval([one.says for one in readings], intervals.confidence),
        is_ordered=survey.form.kind in ORDERED,
        reliability=reliability,
        caught=whole.facts.get("caught", []),
    )
    overall, why = judge(common)
    scores = {}
    for name, value in whole.values.items():
        numbers = [each[name] for each in by_administration.values() if name in each]
        estimate = _estimate(
            value,
            numbers,
            draws.get(name, ()),
            intervals.confidence,
        )
        inside = [
            one
            for one in readings
            if _bears_on(
                one.item,
                name,
                survey,
                groups,
            )
        ]
        facts = spread_of(inside)
        evidence = replace(
            common,
            estimate=estimate,
            items=len(inside),
            mass=facts["mass"],
        )
        says = t_interval([one.says for one in inside], intervals.confidence)
        verdict, reasons = judge(replace(evidence, says=says))
        scores[name] = {
            **estimate.plain(),
            "modal": modes.values.get(name),
            **facts,
            "verdict": verdict,
            "reasons": reasons,
        }
    masses = [mass for one in readings for mass in one.masses]
    metrics = {
        "asked": asked,
        "answered": answered,
        "invalid": 1 - answered / asked if asked else None,
        "leaked": 1 - fmean(masses) if masses else None,
        "administrations": len(names),
        "verdict": overall,
        "reasons": why,
        "reliability": {kind: each.plain() if each else None for kind, each in reliability.items()},
        "spread": spread,
        "facts": whole.facts,
        "scores": scores,
        "items": {one.item.id: _item_facts(one) for one in readings},
    }
    return Profile(
        by_administration,
        draws,
        metrics,
    )


def _estimate(
    value: float, numbers: Sequence[float], draws: Sequence[float], confidence: float
) -> Estimate:
    """Return a score whose interval holds the spread over administrations, and over items drawn."""
    spread = t_interval(numbers, confidence)
    half = (spread.high - spread.low) / 2 if spread else math.inf
    low = high = half
    if draws:
        import numpy as np

        tail = (1 - confidence) / 2
        bottom, top = np.nanquantile(draws, [tail, 1 - tail])
        low = math.hypot(half, max(value - float(bottom), 0.0))
        high = math.hypot(half, max(float(top) - value, 0.0))
    return Estimate(
        value,
        value - low,
        value + high,
        len(numbers),
    )


def reliability_of(
    survey: Questionnaire, readings: Sequence[ItemReading], kind: str, intervals: Intervals
) -> Estimate | None:
    """Return how far items differ more than their readings do: ICC(1, 1) of expected numbers.

    Of reversed items the numbers of the file count: who always agrees answers every item alike.
    """
    if survey.form.kind not in ORDERED:
        return None
    table = []
    for one in readings:
        first = [each for name, each in one.by_administration.items() if name.endswith("-test")]
        again = [each for name, each in one.by_administration.items() if name.startswith("0-")]
        chosen = {
            "order": one.by_order,
            "wording": first,
            "retest": again,
        }[kind]
        table.append([expected(each, one.item.codes) for each in chosen])
    count = min((len(row) for row in table), default=0)
    return intraclass([row[:count] for row in table], intervals.confidence)


def spread_of(readings: Sequence[ItemReading]) -> dict[str, float | None]:
    """Return the mean Jensen-Shannon distances of orders, wordings and retests, and the mass."""
    masses = [mass for one in readings for mass in one.masses]
    return {
        "order": _mean([one.order_distance for one in readings]),
        "wording": _mean([one.wording_distance for one in readings]),
        "retest": _mean([one.retest_distance for one in readings]),
        "mass": median(masses) if masses else None,
    }


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return fmean(there) if there else None


def _item_facts(one: ItemReading) -> dict[str, Any]:
    distribution: Distribution = one.distribution
    numbers = one.item.numbers
    return {
        "probabilities": distribution,
        "expected": expected(distribution, numbers) if numbers else None,
        "modal": expected(modal(distribution), numbers) if numbers else None,
        "leaked": 1 - fmean(one.masses) if one.masses else None,
        "invalid": 1 - one.answered / one.asked,
        "order": one.order_distance,
        "wording": one.wording_distance,
        "retest": one.retest_distance,
    }


def rating_of(one: ItemReading) -> float:
    """Return the expected number of an item's answer."""
    return expected(one.distribution, one.item.numbers)


def _bears_on(
    item: Item,
    score: str,
    survey: Questionnaire,
    groups: Groups,
) -> bool:
    """Whether a score rests on an item."""
    if survey.form.kind == "portrait":
        return item.weights.get(score, 0.0) > LEAST
    if survey.form.kind == "pairs":
        return score in item.id.split("|")
    if survey.form.kind == "slider":
        return True
    dimensions = survey.dimensions_of(item.id)
    return any(name in dimensions for name in groups.get(score, [score]))


def differences(
    first: Profile,
    second: Profile,
    intervals: Intervals,
) -> dict[str, dict[str, Any]]:
    """Return what each score of the second model is more than the first's, with a verdict.

    Administrations are paired; p is of Student's test, adjusted by Holm over the scores.
    """
    scores = first.metrics["scores"]
    results: dict[str, dict[str, Any]] = {}
    for name, score in scores.items():
        other = second.metrics["scores"].get(name)
        if other is None:
            continue
        pairs = []
        for key, values in first.by_administration.items():
            theirs = second.by_administration.get(key, {})
            if name in values and name in theirs:
                pairs.append(theirs[name] - values[name])
        ours, others = first.draws.get(name, ()), second.draws.get(name, ())
        drawn = [
            b - a
            for a, b in zip(
                ours,
                others,
                strict=False,
            )
        ]
        change = other["value"] - score["value"]
        estimate = _estimate(
            change,
            pairs,
            drawn,
            intervals.confidence,
        )
        results[name] = {**estimate.plain(), "p": t_test(pairs)}
    adjusted = holm([result["p"] for result in results.values()])
    for (name, result), p in zip(
        results.items(),
        adjusted,
        strict=True,
    ):
        result["p_adjusted"] = p
        both = (scores[name]["verdict"], second.metrics["scores"][name]["verdict"])
        is_shown = p < 1 - intervals.confidence and not result["low"] <= 0 <= result["high"]
        result["verdict"] = "moved" if is_shown else "not moved"
        if any(verdict != "measurable" for verdict in both):
            result["verdict"] = "not measurable"
    return results


def alphas(
    survey: Questionnaire, readings: Mapping[str, Sequence[ItemReading]], confidence: float
) -> dict[str, dict[str, Any] | None]:
    """Return Cronbach's alpha of each dimension, the models being the respondents."""
    if survey.form.kind != "scale":
        return {}
    assert survey.key is not None
    ratings = [{one.item.id: rating_of(one) for one in each} for each in readings.values()]
    results: dict[str, dict[str, Any] | None] = {}
    for name in survey.key.dimensions:
        items = [one.id for one in survey.items if name in survey.dimensions_of(one.id)]
        complete = [[each[i] for i in items] for each in ratings if all(i in each for i in items)]
        alpha = cronbach(complete, confidence)
        results[name] = alpha.plain() if alpha else None
    return results
