"""A rubric's score against sums by hand, and answers that have none."""

import asyncio
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.preferences.judging.ask import VERDICT_TEMPLATE
from stages.preferences.judging.rating import YES_NO
from stages.preferences.judging.rubric import grade, rubric_score
from stages.runtime.context import Drop
from stages.runtime.generation import Choice
from stages.runtime.rows import Proposal
from tests.scripted import ScriptedGenerator

REQUEST = [{"role": "user", "content": "q"}]


def criterion(name, weight=1.0, gate=False):
    return Proposal(id=name, prompt_id="p", text=f"It does {name}.", weight=weight, gate=gate)


def by_hand(met, weights, gates, threshold):
    """The formula in exact fractions, written again and on its own."""
    for value, gate in zip(met, gates, strict=True):
        if gate and value < threshold:
            return Fraction(0)
    gained = sum(Fraction(v) * Fraction(w) for v, w in zip(met, weights, strict=True))
    possible = sum(Fraction(w) for w in weights if w > 0)
    return min(max(gained / possible, Fraction(0)), Fraction(1))


CRITERIA = st.lists(
    st.tuples(st.floats(0, 1), st.floats(-5, 5).filter(lambda w: abs(w) > 1e-3), st.booleans()),
    min_size=1,
    max_size=8,
).filter(lambda rows: any(weight > 0 for _, weight, _ in rows))


@given(CRITERIA, st.floats(0, 1))
def test_the_score_is_the_weighted_mean_behind_its_gates(rows, threshold):
    met = [value for value, *_ in rows]
    weights = [weight for _, weight, _ in rows]
    gates = [gate and weight > 0 for _, weight, gate in rows]
    criteria = [
        criterion(f"c{i}", w, g) for i, (w, g) in enumerate(zip(weights, gates, strict=True))
    ]
    score = rubric_score(met, criteria, threshold)
    assert 0 <= score <= 1
    assert score == pytest.approx(float(by_hand(met, weights, gates, threshold)), abs=1e-9)


def test_cases():
    essential, nice, fault = criterion("a", 3), criterion("b", 1), criterion("c", -2)
    assert rubric_score([1, 0], [essential, nice]) == pytest.approx(3 / 4)
    assert rubric_score([1, 1, 1], [essential, nice, fault]) == pytest.approx(2 / 4)
    assert rubric_score([0, 1, 1], [essential, nice, fault]) == 0, "no score is below 0"
    gate = criterion("g", 0, gate=True)
    assert rubric_score([1, 1, 0.49], [essential, nice, gate]) == 0
    assert rubric_score([1, 1, 0.5], [essential, nice, gate]) == 1, "a gate may weigh nothing"


@given(CRITERIA, st.data())
def test_more_of_a_criterion_is_never_worse_and_only_ratios_of_weights_count(rows, data):
    """systems.md section 15, item 13."""
    met = [value for value, *_ in rows]
    criteria = [
        criterion(f"c{i}", weight, gate and weight > 0) for i, (_, weight, gate) in enumerate(rows)
    ]
    score = rubric_score(met, criteria)
    place = data.draw(st.integers(0, len(rows) - 1))
    more = [*met[:place], data.draw(st.floats(met[place], 1)), *met[place + 1 :]]
    sign = math.copysign(1, criteria[place].weight)
    assert sign * (rubric_score(more, criteria) - score) >= -1e-9
    factor = data.draw(st.floats(0.1, 10))
    scaled = [criterion(one.id, one.weight * factor, one.gate) for one in criteria]
    assert rubric_score(met, scaled) == pytest.approx(score, abs=1e-9)
    best = [float(one.weight > 0) for one in criteria]
    assert rubric_score(best, criteria) == pytest.approx(1)


def says(answers):
    """A judge that meets criteria by their names."""

    def scores(messages, options):
        name = messages[0]["content"].partition("It does ")[2].partition(".")[0]
        yes = answers[name]
        if yes is None:
            return Choice([math.log(0.5)] * 2, mass=1e-6, instead="Well")
        return [math.log(yes) if option == "Yes" else math.log1p(-yes) for option in options]

    return ScriptedGenerator(scores=scores)


def graded(answers, criteria, scale=YES_NO):
    judge = says(answers)
    return asyncio.run(grade(judge, REQUEST, "r", criteria, scale, VERDICT_TEMPLATE))


def test_a_grade_lies_on_the_judges_scale():
    criteria = [criterion("a", 3), criterion("b", 1), criterion("g", 1, gate=True)]
    score, ratings = graded({"a": 0.9, "b": 0.2, "g": 0.8}, criteria)
    assert ratings == pytest.approx([9.1, 2.8, 8.2])
    assert score == pytest.approx(1 + 9 * (3 * 0.9 + 0.2 + 0.8) / 5)
    reversed_scale = {"Yes": 0.0, "No": 1.0}  # the options' order and worth are the scale's
    assert graded({"a": 0.9}, [criterion("a")], reversed_scale)[0] == pytest.approx(0.1)
    assert graded({"a": 0.9, "b": 0.9, "g": 0.1}, criteria)[0] == 1, "the least value of the scale"


def test_a_criterion_without_a_verdict_is_not_one_that_is_not_met():
    with pytest.raises(Drop, match="next to no probability"):
        graded({"a": 0.9, "b": None}, [criterion("a"), criterion("b")])
