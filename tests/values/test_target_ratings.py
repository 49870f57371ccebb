"""Answers by how near they are to a target: by hand, with another rating, and what is dropped."""

from dataclasses import replace

import pytest

from stages.guards.errors import UserError
from stages.runtime.rows import Rating
from tests.preferences.matrices import artifact, run_stage
from tests.values.rated import rated, two_values


def rate(root, rows, quality=None, **options):
    inputs = {"values": artifact(root, "values", rows, Rating)}
    if quality is not None:
        inputs["quality"] = artifact(root, "quality", quality, Rating)
    options = {"constitution": two_values(root), "target": "calm"} | options
    return run_stage("target_ratings", inputs, options)


ROWS = [
    rated("meets", [1, 1, -1]),
    rated("half", [0.5, 0.5, -1]),
    rated("silent", [0, 0, 0]),
    rated("opposed", [-1, -1, 1]),
]


def test_the_score_is_minus_the_distance(tmp_path):
    result = rate(tmp_path, ROWS)
    assert [row.score for row in result.rows] == pytest.approx([0, -0.5, -2, -4])
    assert [row.scores for row in result.rows] == [row.scores for row in ROWS]
    assert result.metrics["distance"] == pytest.approx(1.625)
    assert result.metrics["silent"] == pytest.approx(0.25) and not result.warnings


def test_the_published_mask_likes_silence_best_and_says_so(tmp_path):
    result = rate(tmp_path, ROWS, mask="published")
    assert [row.score for row in result.rows] == pytest.approx([0, -0.5, 0, -4])
    assert "says nothing of any value" in result.warnings[0]


def test_targets_are_those_of_the_kinds(tmp_path):
    rows = [rated("a", [1, 1, -1], kind="old"), rated("b", [1, 1, -1], kind="young")]
    result = rate(tmp_path, rows, targets={"young": "bold"})
    assert [row.score for row in result.rows] == pytest.approx([0, -4])


def test_another_rating_is_added_by_its_weight(tmp_path):
    quality = [replace(row, score=place, scores=[]) for place, row in enumerate(ROWS[:3])]
    result = rate(tmp_path, ROWS, quality, quality_weight=2.0)
    assert [row.score for row in result.rows] == pytest.approx([0, 1.5, 2])
    assert [row.reason for row in result.dropped] == ["no rating of its quality"]


def test_an_answer_without_a_score_of_each_dimension_is_dropped(tmp_path):
    rows = [*ROWS[:1], rated("partly", [1, 1], principles=["care-1", "care-2"])]
    result = rate(tmp_path, rows)
    assert len(result.rows) == 1
    assert [row.reason for row in result.dropped] == ["no score for each dimension"]
    with pytest.raises(UserError, match="there are no ratings of values"):
        rate(tmp_path / "again", rows[1:])
