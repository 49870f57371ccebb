"""The arithmetic of surveys: distances, reliability, rotations, and the keys by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.evaluation.surveys.asking import asks_of, orders_of
from stages.evaluation.surveys.opinions import likelihood, similarity
from stages.evaluation.surveys.questionnaire import Item, slider_items
from stages.evaluation.surveys.readings import debiased, expected, modal
from stages.evaluation.surveys.scoring import score_answers
from stages.statistics.ranking import strengths
from stages.statistics.reliability import (
    cronbach,
    intraclass,
    js_distance,
    mean_js_distance,
    t_interval,
    t_test,
)

SHARES = st.lists(st.floats(0.01, 1), min_size=4, max_size=4).map(lambda w: [x / sum(w) for x in w])


@pytest.mark.parametrize(
    "first, second, base_2, natural",
    [
        ([0.3, 0.7], [0.3, 0.7], 0, 0),
        ([1, 0], [0, 1], 1, 0.832555),
        ([1, 0], [0.5, 0.5], 0.557923, 0.464501),
        ([0.7, 0.2, 0.1], [0.2, 0.3, 0.5], 0.467294, 0.389048),
    ],
)
def test_reference_values_of_the_jensen_shannon_distance(first, second, base_2, natural):
    assert js_distance(first, second) == pytest.approx(base_2, abs=1e-6)
    assert js_distance(first, second, math.e) == pytest.approx(natural, abs=1e-6)
    assert similarity(first, second) == pytest.approx(1 - base_2, abs=1e-6)
    assert similarity(first, second, math.e) == pytest.approx(1 - natural, abs=1e-6)


@given(SHARES, SHARES, SHARES, st.permutations(range(4)))
def test_the_distance_is_a_distance(first, second, third, order):
    between = js_distance(first, second)
    assert between == pytest.approx(js_distance(second, first))
    assert js_distance(first, second, math.e) == pytest.approx(between * math.sqrt(math.log(2)))
    assert between <= js_distance(first, third) + js_distance(third, second) + 1e-9
    permuted = [[one[i] for i in order] for one in (first, second)]
    assert js_distance(*permuted) == pytest.approx(between)
    assert mean_js_distance([first, second]) == pytest.approx(between)
    assert mean_js_distance([first]) is None


@given(SHARES, SHARES)
def test_likelihood_is_best_for_the_same_answers(model, people):
    """It is the negative divergence of Kullback and Leibler, 0 at best."""
    expected = -sum(p * math.log(p / q) for p, q in zip(people, model, strict=True))
    assert likelihood(model, people) == pytest.approx(expected)
    assert likelihood(model, people) <= 1e-12 and abs(likelihood(people, people)) < 1e-12


def test_an_impossible_answer_costs_much_and_not_an_infinity():
    assert -20 < likelihood([1.0, 0.0], [0.0, 1.0]) < -10


@given(SHARES, SHARES)
def test_rotations_remove_a_bias_of_places_that_multiplies(content, places):
    """And leave nothing of a model that sees only places."""
    item = Item("1", "text", ("a", "b", "c", "d"))
    for worth in (content, [1.0] * 4):
        logs = []
        for order in orders_of(item, "0-test", 7):
            weights = [0.0] * 4
            for place, option in zip(places, order, strict=True):
                weights[option] = worth[option] * place
            logs.append([math.log(weight / sum(weights)) for weight in weights])
        assert debiased(logs) == pytest.approx([each / sum(worth) for each in worth])


def test_each_option_stands_in_each_place_and_each_reading_draws_anew():
    item = Item("1", "text", tuple("abcdef"))
    orders = orders_of(item, "0-test", 0)
    assert all(sorted(column) == list(range(6)) for column in zip(*orders, strict=True))
    assert orders != orders_of(item, "1-test", 0)
    assert orders_of(item, "0-test", 0, shuffle=False)[0] == tuple(range(6))
    both = orders_of(item, "0-test", 0, reverse=True, most=2)
    assert len(both) == 4 and both[2] == both[0][::-1]
    asks = list(asks_of([item], ["One?", "Two?"], 2, 0))
    assert len(asks) == 6 * 4 and len({ask.id for ask in asks}) == 24
    assert {ask.administration for ask in asks} == {"0-test", "1-test", "0-retest0", "0-retest1"}
    turns = [len(ask.messages("evaluation/benchmarks/choice.jinja", "ABCDEF")) for ask in asks]
    assert sorted(set(turns)) == [1, 3]


@given(SHARES)
def test_an_expected_number_lies_on_the_scale(shares):
    """Rounding must not put it beyond the end, which no instrument's key would accept."""
    assert 1 <= expected(shares, (1.0, 1.0, 1.0, 1.0)) <= 1
    assert expected([0.1] * 10 + [1e-17], (6.0,) * 11) == 6


def test_ties_share_the_likeliest_option():
    assert modal([0.4, 0.4, 0.2]) == [0.5, 0.5, 0]


def test_reliability_of_single_readings():
    assert intraclass([[1, 1], [2, 2], [5, 5]]).value == 1
    assert intraclass([[3, 3], [3, 3]]) is None and intraclass([[1, 2]]) is None
    table = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    estimate = intraclass(table)  # Shrout and Fleiss 1979, table 4
    assert estimate.value == pytest.approx(0.166, abs=5e-4)
    assert (estimate.low, estimate.high) == pytest.approx((-0.133, 0.723), abs=2e-3)
    noise = np.random.default_rng(0).normal(size=(200, 4)).tolist()
    assert intraclass(noise).low < 0 < intraclass(noise).high


def test_alpha_of_a_scale():
    """Two parallel items with correlation r have 2 r / (1 + r)."""
    answers = [[1, 2], [2, 1], [3, 4], [4, 3]]
    r = np.corrcoef(np.array(answers).T)[0, 1]
    estimate = cronbach(answers)
    assert estimate.value == pytest.approx(2 * r / (1 + r))
    assert estimate.low < estimate.value < estimate.high
    assert cronbach(answers[:2]) is None and cronbach([[1], [2], [3]]) is None
    assert cronbach([[1, 1]] * 3) is None


def test_student():
    assert t_interval([]) is None and t_interval([1.0]).high == math.inf
    estimate = t_interval([1.0, 2.0, 3.0])
    assert estimate.high - 2 == pytest.approx(4.302653 / math.sqrt(3), rel=1e-5)
    assert t_test([1.0, 2.0, 3.0]) == pytest.approx(0.0741799)
    assert t_test([0.0, 0.0]) == 1 and t_test([0.5, 0.5]) == 0 and t_test([3.0]) == 1


def test_strengths_of_pairs():
    """3 to 1 without an imagined tie is ln 3; all ties are equal; flipped labels negate."""
    wins = {("a", "b"): 3.0, ("b", "a"): 1.0}
    both = strengths(wins, imagined=0)
    assert both["a"] - both["b"] == pytest.approx(math.log(3)) and sum(both.values()) < 1e-9
    flipped = strengths({(b, a): n for (a, b), n in wins.items()}, imagined=0)
    assert flipped["a"] == pytest.approx(-both["a"])
    assert strengths({("a", "b"): 0.5, ("b", "a"): 0.5})["a"] == pytest.approx(0)
    assert strengths({}) == {}


def test_a_slider_with_an_unanswered_item_has_no_angle():
    survey = slider_items()
    answers = {item.id: [1 / 9] * 9 for item in survey.items}
    assert score_answers(survey, answers).values.keys() == {"angle"}
    del answers["3"]
    assert score_answers(survey, answers).values == {}
