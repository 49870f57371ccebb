"""Keys of published surveys and their scores, by reference values and identities."""

import pytest

from stages.guards.errors import UserError
from stages.principles.constitution import load
from stages.values.instruments import instrument, instruments, score, score_ranking
from stages.values.profile import group_scores
from stages.values.theory import theory_of

VALUES = ["conformity", "tradition", "benevolence", "universalism", "self-direction", "stimulation"]
VALUES += ["hedonism", "achievement", "power", "security"]
SCHWARTZ_SURVEYS = ["pvq21", "pvq40", "pvq_rr", "twivi"]


def answers(key, formula=lambda item: item % 6 + 1):
    return {item: formula(item) for item in range(1, key.items + 1)}


@pytest.mark.parametrize("name", instruments())
def test_keys_part_the_items_among_the_dimensions_of_their_theory(name):
    key = instrument(name)
    items = sorted([*sum(key.dimensions.values(), ()), *key.catch])
    unindexed = [2, 6, 7, 10, 14, 19, 21, 23, 28, 42, 48] if name == "svs" else []
    assert sorted([*items, *unindexed]) == list(range(1, key.items + 1))
    absent = {"liberty"} if name == "mfq30" else set()
    assert set(key.dimensions) | absent == set(theory_of(load(key.theory)).dimensions)


@pytest.mark.parametrize("name", [*SCHWARTZ_SURVEYS, "svs"])
def test_centring_takes_out_how_people_use_the_scale(name):
    key = instrument(name)
    low, high = key.scale
    for constant in (low, high):
        same = score(key, answers(key, lambda _, rating=constant: rating))
        assert set(same.raw.values()) == {constant} and set(same.centred.values()) == {0}
    usual = score(key, answers(key, lambda item: item % (high - low) + low))
    raised = score(key, answers(key, lambda item: item % (high - low) + low + 1))
    assert raised.centred == pytest.approx(usual.centred)
    turned = score(key, answers(key, lambda item: item % (high - low) + low), is_reversed=True)
    assert turned.centred == pytest.approx({name: -c for name, c in usual.centred.items()})


@pytest.mark.parametrize("name", SCHWARTZ_SURVEYS)
def test_centred_scores_weighted_by_their_items_sum_to_zero(name):
    key = instrument(name)
    result = score(key, answers(key, lambda item: 1 + item * item % 7 % 6)).centred
    weighted = sum(len(items) * result[name] for name, items in key.dimensions.items())
    assert weighted == pytest.approx(0, abs=1e-12)
    has_equal_parts = name in ("pvq_rr", "twivi")
    assert (abs(sum(result.values())) < 1e-12) == has_equal_parts


def test_svs_has_no_such_identity():
    key = instrument("svs")
    result = score(key, answers(key)).centred
    assert sum(len(items) * result[name] for name, items in key.dimensions.items()) != 0


@pytest.mark.parametrize(
    ("name", "mean", "expected"),
    [
        ("pvq40", 3.5, [-0.25, -0.5, -1, 0.8333, 1, -1.5, -0.1667, -0.75, 0.8333, 0.7]),
        (
            "pvq21",
            3.428571,
            [0.0714, 0.0714, -2.4286, -0.4286, 0.5714, -0.9286, 1.0714, 0.0714, 1.0714, 1.0714],
        ),
    ],
)
def test_reference_values_of_the_pvq(name, mean, expected):
    key = instrument(name)
    result = score(key, answers(key))
    assert result.mean == pytest.approx(mean, abs=1e-6)
    assert [result.centred[value] for value in VALUES] == pytest.approx(expected, abs=1e-4)
    assert not result.missing and not result.caught


def test_the_nineteen_values_become_the_ten_and_face_has_no_home():
    theory = theory_of(load("schwartz19"))
    key = instrument("pvq_rr")
    scores = score(key, answers(key))
    ten = group_scores(scores.centred, theory.coarser["schwartz"])
    assert theory.homeless("schwartz") == ["face"] and set(ten) == set(VALUES)
    items = [item for part in ("tradition", "humility") for item in key.dimensions[part]]
    rated = [item % 6 + 1 for item in items]
    assert ten["tradition"] == pytest.approx(sum(rated) / 6 - scores.mean)


@pytest.mark.parametrize("name", ["schwartz19", "moral_foundations2"])
def test_coarser_theories_are_shipped_sets(name):
    for coarser, mapping in theory_of(load(name)).coarser.items():
        dimensions = theory_of(load(coarser.replace("-", "_"))).dimensions
        assert set(dimensions) - set(mapping) <= {"liberty"} and set(mapping) <= set(dimensions)


def test_mfq30_flags_who_answers_everything_alike():
    key = instrument("mfq30")
    result = score(key, answers(key, lambda _: 5))
    assert set(result.raw.values()) == {5} and result.caught == (6,)
    assert [len(items) * 5 for items in key.dimensions.values()] == [30] * 5
    assert result.centred == result.raw and result.mean == 5
    attentive = answers(key, lambda item: 2 if item == 6 else 3)
    assert score(key, attentive).caught == ()
    assert score(key, attentive | {6: 3, 22: 2}).caught == (6, 22)
    assert score(key, attentive | {6: 0}).mean == 3


def test_mfq2_items_cycle_through_its_scales():
    key = instrument("mfq2")
    result = score(key, answers(key, lambda item: (item - 1) % 6 / 2 + 1))
    assert list(result.raw.values()) == [1, 1.5, 2, 2.5, 3, 3.5]


def test_items_without_an_answer_are_left_out_and_named():
    key = instrument("pvq21")
    some = {item: rating for item, rating in answers(key).items() if item not in (7, 16, 9)}
    result = score(key, some)
    assert result.missing == (7, 9, 16)
    assert "conformity" not in result.raw and result.raw["tradition"] == 20 % 6 + 1


@pytest.mark.parametrize("wrong", [{0: 3}, {22: 3}, {1: 0.5}, {1: 6.5}, {1: float("nan")}])
def test_ratings_that_do_not_fit_are_refused(wrong):
    with pytest.raises(UserError, match="does not fit"):
        score(instrument("pvq21"), wrong)


def test_an_empty_survey_and_an_unknown_one_are_refused():
    with pytest.raises(UserError, match="no item is rated"):
        score(instrument("mfq30"), {6: 1})
    with pytest.raises(UserError, match="Did you mean 'pvq40'"):
        instrument("pvq-40")


def test_a_ranking_of_rokeach_is_a_permutation():
    lists = theory_of(load("rokeach")).groups
    assert [len(names) for names in lists.values()] == [18, 18]
    ranks = {name: place + 1 for place, name in enumerate(lists["terminal"])}
    assert sum(ranks.values()) == 171
    scores = score_ranking(ranks, lists["terminal"])
    assert scores["comfortable-life"] == 1 and scores["wisdom"] == -1
    assert sum(scores.values()) == pytest.approx(0)
    for wrong in (ranks | {"wisdom": 1}, {"wisdom": 1}, {}):
        with pytest.raises(UserError, match="no permutation of 1 to 18"):
            score_ranking(wrong, lists["terminal"])
    with pytest.raises(UserError, match="Did you mean 'wisdom'"):
        score_ranking(ranks | {"wisdm": 1}, lists["terminal"])
