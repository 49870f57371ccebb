"""Rated answers become pairs: the best of a group against its worst."""

import math

import pytest

from stages.guards.errors import UserError
from stages.preferences import rated_pairs
from stages.runtime.rows import Rating
from stages.runtime.typed_config import parse_config
from tests.evaluation import fakes


def rating(group, place, score, text=""):
    return Rating(
        id=f"{group}-{place}",
        response_id=f"{group}-{place}",
        prompt_id=group,
        kind="k",
        prompt=[{"role": "user", "content": group}],
        response=text or f"answer {place}",
        score=score,
        principles=["p"],
        negated=[True],
        scores=[],
        model="m",
    )


def paired(tmp_path, rows, **options):
    from stages.runtime.artifacts import Result

    inputs = {
        "ratings": fakes.artifact(
            tmp_path, "ratings", Result(rows=rows, row_type=Rating), stage="score"
        )
    }
    with fakes.context(tmp_path, None) as context:
        return rated_pairs.run(parse_config(rated_pairs.Config, options, "test"), inputs, context)


def test_the_ends_of_a_group_make_its_pair_whatever_the_order(tmp_path):
    rows = [
        rating("g", 0, 0.5),
        rating("g", 1, 2.0),
        rating("g", 2, -1.0),
        rating("h", 0, 1.0),
        rating("h", 1, 1.0),
    ]
    rows.append(rating("alone", 0, 3.0))
    for name, given in (("a", rows), ("b", rows[::-1])):
        (tmp_path / name).mkdir()
        made = paired(tmp_path / name, given)
        (pair,) = made.rows
        assert (pair.id, pair.chosen, pair.rejected, pair.label, pair.margin) == (
            "g",
            "answer 1",
            "answer 2",
            1.0,
            3.0,
        )
        assert (pair.chosen_id, pair.rejected_id, pair.prompt_id) == ("g-1", "g-2", "g")
        assert pair.principles == ["p"] and pair.negated == [True]
        reasons = {d.id: d.reason for d in made.dropped}
        assert reasons["alone"] == "the only answer to its request" and "min_gap" in reasons["h"]


def test_a_soft_label_is_bradley_terrys_and_a_gap_is_asked_for(tmp_path):
    rows = [rating("g", 0, 0.4), rating("g", 1, -0.6), rating("h", 0, 0.1), rating("h", 1, 0.0)]
    made = paired(tmp_path, rows, label="soft", min_gap=0.5)
    assert [pair.label for pair in made.rows] == [pytest.approx(1 / (1 + math.exp(-1)))]
    assert [d.id for d in made.dropped] == ["h"]


@pytest.mark.parametrize(
    "rows, message",
    [
        ([], "no ratings"),
        ([rating("g", 0, math.nan), rating("g", 1, 1.0)], "is not a number"),
        ([rating("g", 0, 1.0), rating("h", 0, 2.0)], "none of 2 groups has two answers"),
    ],
)
def test_ratings_that_make_no_pair_are_reported(tmp_path, rows, message):
    with pytest.raises(UserError, match=message):
        paired(tmp_path, rows)
