"""What the report shows of verdicts: violations of each principle.

In: the metrics of one `evaluate` artifact. Out: plain data for the template, by ground
truth and by the judge.
"""

import math
from collections.abc import Iterator

from stages.evaluation.effect_tables import counted_principles
from stages.evaluation.instrument.doubt import doubt_about
from stages.evaluation.measures import headline_policy
from stages.report.views.marks import Metrics, View, mark_change, place_estimate

SOURCES = ("truth", "judge")


def principle_rows(
    metrics: Metrics,
    texts: dict[str, str],
) -> list[View]:
    """A row for each principle, with estimates of each policy; `texts` by the principle's id."""
    names = list(metrics["policies"])
    changes: Metrics = {}
    if len(names) > 1:
        changes = metrics["differences"][headline_policy(metrics)][names[0]]["principles"]
    by_judge = doubt_about("any_violation_judge", metrics)
    judge = metrics.get("judge") or {}
    verdicts = judge.get("verdicts", {}).get("principles", {})
    counted = counted_principles(metrics)
    rows = []
    for principle in metrics["policies"][names[0]]["principles"]:
        estimates = []
        for name in names:
            of_policy = metrics["policies"][name]["principles"]
            estimates.append(of_policy[principle])
        rows.append(
            {
                "id": principle,
                "text": texts.get(principle, ""),
                "is_counted": principle in counted,
                "cells": [_place_estimates(each, by_judge) for each in estimates],
                "change": mark_change(
                    changes.get(principle), -1, doubt_about("violates ", metrics)
                ),
                "kappa": (verdicts.get(principle) or {}).get("kappa"),
            }
        )
    return rows


def sources_of(metrics: Metrics) -> list[str]:
    """The sources of measurement: ground truth, the judge, or both."""
    measured = []
    for source in SOURCES:
        if any(estimates[source] for estimates in _all_estimates(metrics)):
            measured.append(source)
    return measured


def scale_of_bars(metrics: Metrics) -> int:
    """Per cent at which a principle's bar is full: the highest share, rounded up to tens."""
    highest = 0.0
    for estimates in _all_estimates(metrics):
        for source in SOURCES:
            estimate = estimates[source]
            if estimate:
                highest = max(highest, estimate["value"])
    return max(10, 10 * math.ceil(10 * highest - 1e-9))


def _all_estimates(metrics: Metrics) -> Iterator[Metrics]:
    for facts in metrics["policies"].values():
        yield from facts["principles"].values()


def _place_estimates(estimates: Metrics, by_judge: str) -> View:
    places: View = dict.fromkeys(SOURCES)
    for source in SOURCES:
        estimate = estimates[source]
        if estimate:
            doubt = by_judge if source == "judge" else ""
            places[source] = place_estimate(estimate, doubt=doubt)
    return places
