"""EVR, MVP and APV of one matrix of requests and answers: by hand, and their invariants."""

import random
from dataclasses import replace
from statistics import fmean

import pytest

from stages.evaluation.values import violation_rates
from stages.evaluation.values.violation_rates import Config, rates
from stages.guards.errors import UserError
from stages.runtime.artifacts import Result
from stages.runtime.rows import Verdict
from tests.evaluation.fakes import artifact, context
from tests.evaluation.values.test_value_profile import verdicts


def means(matrix):
    return {name: fmean(each.values()) for name, each in rates(matrix).items()}


def test_by_hand():
    matrix = {"x": [0.9, 0.2], "y": [0.5, 0.1], "z": [0.8, 0.6]}
    found = means(matrix)
    assert found["evr"] == pytest.approx(3 / 6)
    assert found["mvp"] == pytest.approx((0.9 + 0.5 + 0.8) / 3)
    assert found["apv"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("seed", range(20))
def test_invariants(seed):
    rng = random.Random(seed)
    count = rng.randint(1, 6)
    matrix = {str(i): [rng.random() for _ in range(count)] for i in range(rng.randint(1, 30))}
    found = means(matrix)
    assert found["evr"] <= found["apv"] + 1e-12
    assert found["mvp"] >= fmean(p for each in matrix.values() for p in each) - 1e-12
    one = means({name: each[:1] for name, each in matrix.items()})
    assert one["evr"] == one["apv"]


def test_from_verdicts(tmp_path):
    rows = verdicts(tmp_path, [("base", True)]).rows(Verdict)[:2]
    rows = [
        replace(rows[0], principles=["a", "b"], judged=[0.9, 0.1]),
        replace(rows[0], id="again", principles=["a", "b"], judged=[0.2, 0.3]),
        replace(rows[1], principles=["a", "b"], judged=[0.1, 0.1]),
    ]
    judged = artifact(tmp_path, "judged", Result(rows=rows, row_type=Verdict), stage="evaluate")
    with context(tmp_path) as here:
        result = violation_rates.run(Config(), {"judged": judged}, here)
    found = result.metrics["models"]["base"]
    assert {name: each["evr"]["value"] for name, each in found.items()} == {
        "a": 0.25,
        "b": 0,
        "all": 0.25,
    }
    assert found["a"]["apv"]["value"] == 0.5 and found["a"]["answers"] == 1.5
    silent = verdicts(tmp_path, [("base", True)])
    with context(tmp_path) as here, pytest.raises(UserError, match="no verdict says"):
        violation_rates.run(Config(), {"evaluation": silent}, here)
