"""A function of the user's as a rater: by id or dimension, and what is no number."""

import pytest

from stages.guards.errors import UserError
from stages.preferences.model_free import function_ratings
from stages.principles.select import Selection
from stages.runtime.rows import Rating
from tests.preferences.matrices import artifact, run_stage
from tests.values.rated import rated, two_values

HERE = "tests.preferences.model_free.test_function_ratings:"


def by_dimension(request, response):
    return {"care": len(response), "power": int("strong" in response), "care-2": -1}


def lacking(request, response):
    return {"care": 1}


def odd(request, response):
    return {"care": 1, "power": float("nan")}


def rate(root, function):
    rows = [rated("x", [], response="be strong", principles=[])]
    inputs = {"answers": artifact(root, "answers", rows, Rating)}
    options = {"function": HERE + function, "constitution": two_values(root)}
    return run_stage("function_ratings", inputs, options)


def test_numbers_by_id_then_by_dimension(tmp_path):
    (row,) = rate(tmp_path, "by_dimension").rows
    assert row.principles == ["care-1", "care-2", "power"]
    assert row.scores == [9, -1, 1] and row.score == 3 and row.negated == [False] * 3


@pytest.mark.parametrize("function", ["lacking", "odd"])
def test_a_principle_without_a_number_is_refused(tmp_path, function):
    with pytest.raises(UserError, match="no number for 'power'"):
        rate(tmp_path, function)


def test_an_unknown_function_is_refused_before_anything_runs(tmp_path):
    config = function_ratings.Config(HERE + "nothing", Selection(**two_values(tmp_path)))
    with pytest.raises(UserError, match="names no function"):
        function_ratings.check(config)
