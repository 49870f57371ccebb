"""The metrics of `reward_accuracy`: every model alone, and the first against each other one.

Pure functions. In: a value for each model, test and what the test counts once. Out: plain data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from stages.evaluation.rewards.cells import Answer, Cell, ask, right
from stages.evaluation.rewards.labelled_pairs import PAIRS, SECTION
from stages.evaluation.rewards.lists import Lists
from stages.evaluation.rewards.reward_tests import TESTS
from stages.statistics.intervals import by_prompt, paired_difference, share

Values = dict[str, dict[str, float]]
"""By test, and what the test counts once."""
PrincipleValues = dict[str, dict[str, dict[str, float]]]
"""By principle, "plain" or "negated", and prompt."""


@dataclass(frozen=True)
class ModelResult:
    """What was found of one model."""

    tests: Values
    principles: PrincipleValues
    facts: dict[str, Any]
    """Further numbers of the model's metrics."""


def values_by_principle(cells: Sequence[Cell], answer: Answer) -> PrincipleValues:
    """Whether the model is right under each principle, and under its opposite."""
    values: dict[str, dict[str, list[tuple[str, float]]]] = {}
    for cell in cells:
        of_principle = values.setdefault(cell.principle.id, {"plain": [], "negated": []})
        plain = right(answer(ask(cell)), cell.better)
        of_principle["plain"].append((cell.prompt_id, plain))
        if cell.principle.opposite:
            negated = right(answer(ask(cell, negated=True)), -cell.better)
            of_principle["negated"].append((cell.prompt_id, negated))
    averaged: PrincipleValues = {}
    for name, of_principle in values.items():
        averaged[name] = {kind: by_prompt(pairs) for kind, pairs in of_principle.items()}
    return averaged


def order_effects(lists: Lists, answer: Answer) -> dict[str, float | None]:
    """How much the order of principles moves the difference in score.

    Returns:
        `order_shift`, the mean move; `order_matters`, how often it turns the verdict.
    """
    if not lists:
        return {"order_shift": None, "order_matters": None}
    shifts, turns = [], []
    for principle_list in lists:
        first, second = (answer(question) for question in principle_list.questions())
        shifts.append(abs(first - second))
        turns.append((first > 0) != (second > 0))
    return {
        "order_shift": round(fmean(shifts), 6),
        "order_matters": round(fmean(turns), 6),
    }


def reward_metrics(
    results: Mapping[str, ModelResult], resamples: int, confidence: float, seed: int
) -> dict[str, Any]:
    """`models` and `differences` of the stage's metrics."""
    first = next(iter(results.values()))
    tests = _test_names(first.tests)
    models = {}
    differences: dict[str, Any] = {}
    for name, result in results.items():
        models[name] = _model_metrics(result, tests, confidence)
        if result is first:
            continue
        differences[name] = {}
        for test in tests:
            differences[name][test] = paired_difference(
                result.tests[test],
                first.tests[test],
                resamples,
                confidence,
                seed,
            )
    return {"models": models, "differences": differences}


def _test_names(values: Values) -> list[str]:
    """The tests in the order of the table: those of sources and kinds come last."""
    own = [test for test in values if test.startswith((PAIRS, SECTION))]
    details = [test for test in own if test.startswith(f"{PAIRS}: ")]
    totals = [test for test in own if test not in details]
    return [test for test in (*TESTS, *totals, *details) if test in values]


def _model_metrics(result: ModelResult, tests: Sequence[str], confidence: float) -> dict[str, Any]:
    section_means = []
    for test in tests:
        if test.startswith(SECTION):
            section_means.append(fmean(result.tests[test].values()))
    principles: dict[str, Any] = {}
    for name, by_kind in result.principles.items():
        principles[name] = {}
        for kind, values in by_kind.items():
            principles[name][kind] = _estimate(values, confidence)
    return {
        **result.facts,
        "tests": {test: _estimate(result.tests[test], confidence) for test in tests},
        "principles": principles,
        "mean_of_sections": fmean(section_means) if section_means else None,
    }


def _estimate(values: Mapping[str, float], confidence: float) -> dict[str, Any] | None:
    estimate = share(values, confidence)
    return estimate.plain() if estimate else None
