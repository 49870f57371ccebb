"""RAFT's choice: systems.md section 15, item 11."""

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.guards.errors import UserError
from stages.runtime.rows import Rating, Response
from tests.preferences.matrices import artifact, run_stage


def answer(group, sample, text=None):
    return Response(
        id=f"{group}-{sample}",
        prompt_id=group,
        kind="helpful",
        prompt=[{"role": "user", "content": f"do {group}"}],
        response=text or f"answer {sample} to {group}",
        sample=sample,
        context=[],
        model="f" * 16,
        seed=sample,
    )


def rated(row, score):
    return Rating(
        id=row.id,
        response_id=row.id,
        prompt_id=row.prompt_id,
        kind=row.kind,
        prompt=row.prompt,
        response=row.response,
        score=score,
        principles=[],
        negated=[],
        scores=[],
        model="0" * 16,
    )


def best(root, rows, responses=None, **options):
    inputs = {"ratings": artifact(root, "score", rows, Rating)}
    if responses is not None:
        inputs["responses"] = artifact(root, "respond", responses, Response)
    return run_stage("best_of", inputs, options)


@settings(max_examples=20)
@given(
    st.lists(st.lists(st.floats(-5, 5), min_size=1, max_size=5), min_size=1, max_size=5),
    st.integers(1, 3),
    st.randoms(),
)
def test_the_argmax_of_every_group_is_kept(tmp_path_factory, scores, keep, dice):
    answers = [[answer(f"g{g}", s) for s in range(len(group))] for g, group in enumerate(scores)]
    rows = []
    for group, row_scores in zip(answers, scores, strict=True):
        rows += [rated(row, score) for row, score in zip(group, row_scores, strict=True)]
    made = best(
        tmp_path_factory.mktemp("a"), rows, [row for group in answers for row in group], keep=keep
    )
    kept = {row.id for row in made.rows}
    by_id = {row.id: row.score for row in rows}
    for group, values in zip(answers, scores, strict=True):
        inside = sorted((by_id[row.id] for row in group if row.id in kept), reverse=True)
        assert inside == sorted(values, reverse=True)[:keep]
    assert len(made.rows) + len(made.dropped) == len(rows)
    shuffled = best(tmp_path_factory.mktemp("b"), dice.sample(rows, len(rows)), keep=keep)
    assert {row.id for row in shuffled.rows} == kept


def test_one_sample_each_gives_the_samples_back(tmp_path):
    answers = [answer(f"g{g}", 0) for g in range(6)]
    rows = [rated(row, random.Random(row.id).gauss(0, 1)) for row in answers]
    made = best(tmp_path / "1", rows, answers)
    assert made.rows == answers and not made.dropped and made.metrics["gain"] == 0
    without = best(tmp_path / "2", rows)
    assert [(r.id, r.prompt_id, r.prompt, r.response) for r in without.rows] == [
        (r.id, r.prompt_id, r.prompt, r.response) for r in answers
    ]


def test_ties_go_to_the_first_id_and_a_minimum_can_empty_a_group(tmp_path):
    one, two, other = answer("g", 0), answer("g", 1), answer("h", 0)
    made = best(tmp_path / "1", [rated(two, 1.0), rated(one, 1.0), rated(other, -1.0)], minimum=0.0)
    assert [row.id for row in made.rows] == ["g-0"]
    assert {d.id: d.reason for d in made.dropped} == {
        "g-1": "not among the best of its group",
        "h-0": "below the minimum",
    }
    assert (made.metrics["groups"], made.metrics["groups_without_any"]) == (2, 1)
    assert made.metrics["gain"] == pytest.approx(1 - 1 / 3)
    with pytest.raises(UserError, match="reaches the minimum"):
        best(tmp_path / "2", [rated(one, 1.0)], minimum=3.0)


def test_ratings_that_cannot_be_ranked_are_refused(tmp_path):
    row = answer("g", 0)
    with pytest.raises(UserError, match="not a number"):
        best(tmp_path / "1", [rated(row, math.nan)])
    with pytest.raises(UserError, match="no ratings"):
        best(tmp_path / "2", [])
    with pytest.raises(UserError, match="lacks"):
        best(tmp_path / "3", [rated(row, 1.0)], [answer("g", 0, "another text")])
    with pytest.raises(UserError, match="different raters"):
        best(tmp_path / "5", [rated(row, 1.0), replace(rated(answer("g", 1), 7.0), model="1" * 16)])
    twice = best(tmp_path / "4", [rated(row, 1.0), rated(row, 1.0)])
    assert len(twice.rows) == 1 and [d.reason for d in twice.dropped] == ["rated twice"]
