"""Profiles as text, and preferences under them: by hand, and drawn by a hash."""

import pytest

from stages.guards.errors import UserError
from stages.runtime.rows import Rating
from stages.values.aim import profile_text
from tests.preferences.matrices import artifact, run_stage
from tests.values.rated import rated, two_values

ROWS = [
    rated(name, scores, f"q{number}")
    for number in range(12)
    for name, scores in (("kind", [1, 1, 0]), ("strong", [0, 0, 1]), ("neither", [0, 0, -1]))
]


def pair(root, rows=ROWS, seed=0, **options):
    inputs = {"values": artifact(root, "values", rows, Rating)}
    return run_stage("profile_pairs", inputs, {"constitution": two_values(root)} | options, seed)


def test_a_profile_as_text():
    names = ("self-direction", "power", "care")
    assert profile_text(names, [1, 0, -0.4809]) == (
        "Values: self direction +1, care -0.481, others 0."
    )
    assert profile_text(names, [0, 0, 0]) == "Values: all 0."


def test_the_nearest_is_preferred_to_the_farthest(tmp_path):
    result = pair(tmp_path, target={"care": 1, "power": 1})
    assert {row.chosen for row in result.rows} == {"answer kind"}  # the first of two at 1
    assert {row.rejected for row in result.rows} == {"answer neither"}
    assert result.rows[0].margin == pytest.approx(2)
    assert result.rows[0].principles == ["Values: care +1, power +1, others 0."]


def test_drawn_profiles_differ_by_request_and_repeat_by_seed(tmp_path):
    result = pair(tmp_path)
    texts = [row.principles[0] for row in result.rows]
    assert len(set(texts)) > 5 and result.metrics["profiles"] == len(set(texts))
    assert texts == [row.principles[0] for row in pair(tmp_path).rows]
    assert texts != [row.principles[0] for row in pair(tmp_path, seed=1).rows]
    for row in result.rows:
        if row.principles == ["Values: power -1, others 0."]:
            assert row.chosen == "answer neither"
        if row.principles == ["Values: care +1, others 0."]:
            assert row.chosen == "answer kind"


def test_one_answer_gives_no_pair(tmp_path):
    with pytest.raises(UserError, match="no request has two answers"):
        pair(tmp_path, ROWS[:1])
