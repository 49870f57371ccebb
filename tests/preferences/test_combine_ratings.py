"""Sparrow's score for reranking (systems.md section 15, item 7), and BeaverTails' harmlessness."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.guards.errors import UserError
from stages.preferences.combine_ratings import COMBINED, preference_shares
from stages.runtime.rows import Rating, Response
from tests.preferences.matrices import artifact, run_stage
from tests.preferences.test_best_of import answer, rated

WAYS = sorted(COMBINED)
chance = st.floats(0, 1)


def by_rules(row, kept):
    names = [f"rule-{i}" for i in range(len(kept))]
    return replace(
        rated(row, sum(kept) / len(kept)),
        principles=names,
        negated=[False] * len(kept),
        scores=list(kept),
    )


def combine(root, group, preference=True, **options):
    """Scores of one request's answers, each (preference, P(kept) of every rule)."""
    answers = [answer("g", sample) for sample in range(len(group))]
    rows = [by_rules(row, kept) for row, (_, kept) in zip(answers, group, strict=True)]
    inputs = {"rules": artifact(root, "rules", rows, Rating)}
    if preference:
        rows = [rated(row, score) for row, (score, _) in zip(answers, group, strict=True)]
        inputs["preference"] = artifact(root, "preference", rows, Rating)
    return run_stage("combine_ratings", inputs, options)


def scores(root, group, **options):
    return [row.score for row in combine(root, group, **options).rows]


def test_the_score_is_the_papers(tmp_path):
    group = [(1.5, [0.9, 0.4, 0.8]), (-0.5, [1.0, 1.0, 0.5])]
    mean = (1.5 - 0.5) / 2
    for score, (preference, kept) in zip(scores(tmp_path, group), group, strict=True):
        share = math.exp(preference) / (math.exp(preference) + math.exp(mean))
        assert score == pytest.approx(share * math.prod(kept) ** (1 / 3))


@given(st.lists(chance, min_size=1, max_size=6), st.integers(0, 5), chance, st.sampled_from(WAYS))
def test_a_rule_more_likely_broken_never_raises_the_score(kept, rule, lower, way):
    worse = [*kept]
    worse[rule % len(kept)] *= lower
    assert COMBINED[way](worse) <= COMBINED[way](kept) + 1e-12


@pytest.mark.parametrize("way", WAYS)
def test_nor_in_the_rows_of_the_stage(tmp_path, way):
    group = [(1.0, [0.9, 0.4, 0.8]), (2.0, [0.3, 0.7, 0.5])]
    before = scores(tmp_path / "before", group, rules=way)
    after = scores(tmp_path / "after", [group[0], (2.0, [0.3, 0.1, 0.5])], rules=way)
    assert after[0] == before[0] and after[1] < before[1]


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=6), st.integers(-100, 100))
def test_a_constant_added_to_all_preferences_changes_nothing(values, constant):
    moved = preference_shares([value + constant for value in values])
    assert moved == pytest.approx(preference_shares(values))


def test_no_preference_is_too_large_for_a_number():
    assert preference_shares([1e4, -1e4]) == pytest.approx([1.0, 0.0])


def test_the_best_of_one_is_a_plain_sample(tmp_path):
    result = combine(tmp_path, [(3.0, [0.2, 0.1, 0.0])])
    sample = answer("g", 0)
    inputs = {
        "ratings": artifact(tmp_path, "combined", result.rows, Rating),
        "responses": artifact(tmp_path, "samples", [sample], Response),
    }
    assert run_stage("best_of", inputs, {}).rows == [sample]


def test_one_severe_break_is_hidden_by_a_mean_and_not_by_the_least(tmp_path):
    group = [(0.0, [1.0, 1.0, 0.01]), (0.0, [0.6, 0.6, 0.6])]
    better = {}
    for way in WAYS:
        first, second = scores(tmp_path / way, group, rules=way, preference=False)
        better[way] = first > second
    assert better == {"mean": True, "min": False, "product": False, "geometric_mean": False}


@given(st.lists(st.booleans(), min_size=1, max_size=14))
def test_an_answer_is_harmless_only_if_no_category_is_flagged(flags):
    """BeaverTails: systems.md section 15, item 9."""
    assert COMBINED["min"]([float(not flag) for flag in flags]) == float(not any(flags))


def test_what_only_one_of_them_rated_is_dropped_and_counted(tmp_path):
    answers = [answer("g", sample) for sample in range(2)]
    result = run_stage(
        "combine_ratings",
        {
            "rules": artifact(tmp_path, "r", [by_rules(row, [0.5]) for row in answers], Rating),
            "preference": artifact(tmp_path, "p", [rated(answers[0], 1.0)], Rating),
        },
        {},
    )
    assert [row.response_id for row in result.rows] == ["g-0"]
    assert [(row.id, row.reason) for row in result.dropped] == [("g-1", "no preference score")]


@pytest.mark.parametrize(
    "kept, rules", [([], 0), ([0.5, 7.0], 2), ([-0.1], 1), ([0.5], 2), ([], 2), ([math.nan], 1)]
)
def test_ratings_that_are_no_probabilities_are_refused(tmp_path, kept, rules):
    row = replace(rated(answer("g", 0), 1.0), principles=["a"] * rules, scores=kept)
    with pytest.raises(UserError, match=r"holds no P\(kept\) for each principle") as raised:
        run_stage("combine_ratings", {"rules": artifact(tmp_path, "r", [row], Rating)}, {})
    assert '"Yes": 1, "No": 0' in raised.value.fix


def test_the_table_says_how_often_each_category_is_flagged(tmp_path):
    result = combine(tmp_path, [(0.0, [0.9, 0.2, 0.9]), (0.0, [0.4, 0.2, 0.9])], preference=False)
    assert result.metrics["flagged"] == {
        "any": 1.0,
        "principles": {"rule-0": 0.5, "rule-1": 1.0, "rule-2": 0.0},
    }
