"""What the report shows of a `reward_accuracy` step: its models by test and by principle.

In: the metrics of one artifact. Out: plain data for the template, in the terms of `marks.py`.
"""

from collections.abc import Mapping

from stages.evaluation.instrument.doubt import explain_mark
from stages.evaluation.rewards.reward_metrics import doubt_about_test
from stages.report.views.marks import Metrics, View, mark_change, place_estimate

TESTS = {
    "all": ("the better side of a pair scores higher, under each principle", True),
    "flipped": (
        "the same on pairs that one principle ranks one way and another the other way",
        True,
    ),
    "both right": ("both verdicts on such a pair; without reading principles none", False),
    "negated": ("under a principle's opposite the other side scores higher", True),
    "turned": (
        "right both under a principle and under its opposite; without reading principles none",
        False,
    ),
    "held out": ("all and negated, on principles that were not trained with", True),
    "held out, flipped": ("flipped, on those alone", True),
    "lists": ("under several principles at once that agree on the pair", True),
    "lists, permuted": ("the same in another order", True),
    "one of a list, last": ("one principle that has a verdict, behind others that have none", True),
    "one of a list, first": ("the same with that principle first", True),
    "the pairs' labels": ("the side that a held-out pair's label prefers", True),
}
"""By test: its question, and whether guessing without the principles is right in one half."""


def reward_models_view(
    step: str,
    metrics: Metrics,
    texts: Mapping[str, str],
) -> View:
    """The data of one step for the template; `texts` are the principles' texts by id."""
    models = metrics["models"]
    first = next(iter(models.values()))
    return {
        "step": step,
        "metrics": metrics,
        "models": [{"name": name, "index": _colour(i)} for i, name in enumerate(models)],
        "headline": _lead_headline(metrics),
        "doubt": explain_mark(doubt_about_test(test, metrics) for test in first["tests"]),
        "tests": [_test(test, metrics) for test in first["tests"]],
        "principles": [_principle(p, metrics, texts) for p in first["principles"]],
    }


def _colour(place: int) -> int:
    """The colour of a model; the second model is the baseline, which is grey."""
    return {0: 1, 1: 0}.get(place, place)


def _lead_headline(metrics: Metrics) -> View | None:
    """The first model's result and lead on the test that needs the principles."""
    names = list(metrics["models"])
    first = metrics["models"][names[0]]
    flipped = first["tests"].get("flipped")
    if not flipped:
        return None
    rival = ""
    lead = None
    if len(names) > 1:
        rival = names[1]
        difference = metrics["differences"][rival]["flipped"]
        lead = mark_change(difference, 1, doubt_about_test("flipped", metrics))
    right = place_estimate(flipped, doubt=doubt_about_test("flipped", metrics))
    return {"model": names[0], "rival": rival, "lead": lead, "right": right}


def _test(test: str, metrics: Metrics) -> View:
    meaning, half = TESTS.get(test, ("", True))
    doubt = doubt_about_test(test, metrics)
    largest = 0
    cells = []
    for facts in metrics["models"].values():
        estimate = facts["tests"].get(test)
        cells.append(place_estimate(estimate, doubt=doubt) if estimate else None)
        largest = max(largest, estimate["n"] if estimate else 0)
    differences = metrics["differences"].values()
    changes = [mark_change(tests.get(test), 1, doubt) for tests in differences]
    return {
        "name": test,
        "meaning": meaning,
        "half": half,
        "n": largest,
        "cells": cells,
        "changes": changes,
    }


def _principle(principle: str, metrics: Metrics, texts: Mapping[str, str]) -> View:
    cells = []
    largest = 0
    for facts in metrics["models"].values():
        estimates = facts["principles"].get(principle, {})
        cell = {}
        for kind in ("plain", "negated"):
            estimate = estimates.get(kind)
            doubt = doubt_about_test(principle, metrics)
            cell[kind] = place_estimate(estimate, 0, doubt) if estimate else None
            largest = max(largest, estimate["n"] if estimate else 0)
        cells.append(cell)
    return {
        "id": principle,
        "text": texts.get(principle, ""),
        "held_out": principle in metrics["held_out"],
        "n": largest,
        "cells": cells,
    }
