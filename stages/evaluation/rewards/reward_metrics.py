"""The metrics of `reward_accuracy`: every model alone, and the first against each other one.

Pure functions. In: a value for each model, test and unit (a prompt). Out: plain data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from stages.evaluation.comparison import Groups
from stages.evaluation.rewards.cells import Answer, Cell, ask, is_right
from stages.evaluation.rewards.labelled_pairs import PAIRS, SECTION
from stages.evaluation.rewards.lists import Lists
from stages.evaluation.rewards.reward_tests import TESTS
from stages.statistics.intervals import Intervals, by_prompt

PrincipleValues = dict[str, Groups]
"""By principle, "plain" or "negated", and prompt."""


@dataclass(frozen=True)
class ModelResult:
    """The results of one model."""

    tests: Groups
    """By test and unit: a prompt, or what a section counts once."""
    principles: PrincipleValues
    facts: dict[str, Any]
    """Further numbers of the model's metrics."""


def values_by_principle(cells: Sequence[Cell], answer: Answer) -> PrincipleValues:
    """Whether the model is right under each principle, and under its opposite."""
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.principle.id, []).append(cell)
    values = {}
    for name, group in groups.items():
        plain, negated = [], []
        for cell in group:
            plain.append((cell.row.prompt_id, is_right(ask(cell), answer)))
            if cell.principle.opposite:
                value = is_right(ask(cell, negated=True), answer)
                negated.append((cell.row.prompt_id, value))
        values[name] = {"plain": by_prompt(plain), "negated": by_prompt(negated)}
    return values


def order_effects(lists: Lists, answer: Answer) -> dict[str, float | None]:
    """How much the order of principles changes the difference in score.

    Returns:
        `order_shift`, the mean change; `order_matters`, how often the sign changes.
    """
    if not lists:
        return {"order_shift": None, "order_matters": None}
    shifts, flips = [], []
    for principle_list in lists:
        first, second = (answer(question) for question in principle_list.questions())
        shifts.append(abs(first - second))
        flips.append((first > 0) != (second > 0))
    return {
        "order_shift": round(fmean(shifts), 6),
        "order_matters": round(fmean(flips), 6),
    }


def reward_metrics(results: Mapping[str, ModelResult], intervals: Intervals) -> dict[str, Any]:
    """`models` and `differences` of the stage's metrics."""
    first = next(iter(results.values()))
    tests = _test_names(first.tests)
    models = {}
    differences: dict[str, Any] = {}
    for name, result in results.items():
        models[name] = _model_metrics(result, tests, intervals)
        if result is first:
            continue
        differences[name] = {}
        for test in tests:
            differences[name][test] = intervals.difference(
                result.tests[test],
                first.tests[test],
            )
    return {"models": models, "differences": differences}


def doubt_about_test(test: str, metrics: Mapping[str, Any]) -> str:
    """Why a test's preferences are no evidence; "" where they may be believed."""
    doubts = metrics["doubts"]
    if test.startswith((PAIRS, SECTION)):
        return str(doubts["pairs"])
    return str(doubts["cells"])


def _test_names(values: Groups) -> list[str]:
    """The tests in the order of the table: those of one input or one kind come last."""
    label_tests = [test for test in values if test.startswith((PAIRS, SECTION))]
    details = [test for test in label_tests if test.startswith(f"{PAIRS}: ")]
    totals = [test for test in label_tests if test not in details]
    return [test for test in (*TESTS, *totals, *details) if test in values]


def _model_metrics(
    result: ModelResult, tests: Sequence[str], intervals: Intervals
) -> dict[str, Any]:
    sections = [result.tests[test] for test in tests if test.startswith(SECTION)]
    section_means = [fmean(values.values()) for values in sections]
    principles = {}
    for name, kinds in result.principles.items():
        principles[name] = {
            "plain": intervals.estimate(kinds["plain"]),
            "negated": intervals.estimate(kinds["negated"]),
        }
    return {
        **result.facts,
        "tests": {test: intervals.estimate(result.tests[test]) for test in tests},
        "principles": principles,
        "mean_of_sections": fmean(section_means) if section_means else None,
    }
