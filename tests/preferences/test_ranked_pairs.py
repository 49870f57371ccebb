"""ALMoST's ranking: systems.md section 15, item 10."""

from itertools import combinations

import pytest

from stages.guards.errors import UserError
from stages.runtime.rows import Rating, Response
from tests.preferences.matrices import artifact, run_stage
from tests.preferences.test_best_of import answer, rated

RANKS = ["30b-5-shots", "13b-3-shots", "7b-3-shots", "7b-1-shot"]


def answers(name, prompts=3, words=5):
    return [answer(f"g{g}", 0, " ".join([f"{name}-says-{g}"] * words)) for g in range(prompts)]


def ranked(root, rows, ratings=None, **options):
    inputs = {name: artifact(root, name, given, Response) for name, given in rows.items()}
    if ratings is not None:
        inputs["ratings"] = artifact(root, "score", ratings, Rating)
    return run_stage("ranked_pairs", inputs, options)


def test_before_any_filter_the_order_is_that_of_the_inputs(tmp_path):
    made = ranked(tmp_path / "1", {name: answers(name) for name in RANKS}, max_length_ratio=None)
    found = {(row.chosen.split("-says-")[0], row.rejected.split("-says-")[0]) for row in made.rows}
    assert found == set(combinations(RANKS, 2)) and len(made.rows) == 3 * 6 and not made.dropped
    assert (
        all(row.label == 1 and row.margin == 0 for row in made.rows)
        and len({row.id for row in made.rows}) == 18
    )
    turned = ranked(
        tmp_path / "2", {name: answers(name) for name in RANKS[::-1]}, max_length_ratio=None
    )
    assert {(row.chosen, row.rejected) for row in turned.rows} == {
        (row.rejected, row.chosen) for row in made.rows
    }


def test_only_neighbours_and_answerers_that_lack_a_prompt_are_passed_over(tmp_path):
    rows = {name: answers(name) for name in RANKS}
    rows["13b-3-shots"] = rows["13b-3-shots"][1:]
    made = ranked(tmp_path, rows, pairing="adjacent")
    assert {row.id for row in made.rows if row.id.startswith("g0")} == {
        "g0-0|30b-5-shots>7b-3-shots",
        "g0-0|7b-3-shots>7b-1-shot",
    }
    assert len(made.rows) == 2 + 2 * 3


def test_the_heuristic_filter(tmp_path):
    rows = {"large": answers("large", words=4), "small": answers("small", words=6)}
    assert len(ranked(tmp_path / "1", rows, max_length_ratio=1.5).rows) == 3
    shorter = ranked(tmp_path / "2", rows, max_length_ratio=1.4)
    assert not shorter.rows and {d.reason for d in shorter.dropped} == {
        "the worse response is much longer"
    }
    phrase = ranked(tmp_path / "3", rows, unwanted_phrases=["LARGE-says-1"])
    assert [d.reason for d in phrase.dropped] == [
        "the better response holds an unwanted phrase"
    ] and len(phrase.rows) == 2
    rows["small"][0] = rows["large"][0]
    assert [d.reason for d in ranked(tmp_path / "4", rows).dropped] == ["equal responses"]


def test_the_ratings_must_agree(tmp_path):
    rows = {"large": answers("large"), "small": answers("small")}
    given = [
        rated(row, score)
        for row, score in zip(
            rows["large"] + rows["small"], [2.0, 2.0, 0.5, 1.0, 3.0, 0.0], strict=True
        )
    ]
    made = ranked(tmp_path / "1", rows, given)
    assert {row.id: row.margin for row in made.rows} == {
        "g0-0|large>small": 1.0,
        "g2-0|large>small": 0.5,
    }
    assert [d.reason for d in made.dropped] == ["the ratings disagree"]
    assert made.metrics["ratings_agree"] == pytest.approx(2 / 3)
    assert made.metrics["ranks"] == {"large>small": {"claimed": 3, "kept": 2}}
    assert len(ranked(tmp_path / "2", rows, given, min_gap=0.7).rows) == 1
    assert (
        ranked(tmp_path / "3", rows, given[1:]).dropped[0].reason == "a response without a rating"
    )


def test_an_input_that_is_not_a_ranking_is_refused(tmp_path):
    one = answers("one")
    with pytest.raises(UserError, match="two answerers"):
        ranked(tmp_path / "1", {"one": one})
    with pytest.raises(UserError, match="'two' holds no responses"):
        ranked(tmp_path / "2", {"one": one, "two": []})
    with pytest.raises(UserError, match="no prompt has two"):
        ranked(tmp_path / "3", {"one": one, "two": [answer("other", 0)]})
