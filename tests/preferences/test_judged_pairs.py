"""From the judge matrix to pairs: invariants of systems.md section 15, items 2 and 5."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.preferences.aggregate import aggregate, combine_orders, soft_label
from stages.runtime.errors import UserError
from tests.running import run_steps, text_pipeline
from tests.scripted import ScriptedGenerator

margin = st.floats(-20, 20, allow_nan=False)
margins = st.lists(margin, min_size=1, max_size=8)


@given(margin, margin)
def test_orders_that_contradict_each_other_count_as_nothing(ab, ba):
    agreed = combine_orders(ab, ba, "agree")
    assert agreed == (0.0 if ab * ba <= 0 else (ab + ba) / 2)
    assert combine_orders(-ab, -ba, "agree") == -agreed
    assert combine_orders(ab, ba, "average") == (ab + ba) / 2


@given(st.floats(0, 50), st.floats(0, 50))
def test_soft_label_is_a_probability_and_clamping_keeps_the_verdict(one, other):
    assert 0.5 <= soft_label(one, None) <= 1
    assert soft_label(one, None) + 1 / (1 + math.exp(one)) == pytest.approx(1)
    clamped = soft_label(one, (0.4, 0.6))
    assert 0.5 <= clamped <= 0.6
    if one < other:
        assert soft_label(one, None) <= soft_label(other, None)
    assert soft_label(0.0, (0.4, 0.6)) == 0.5


@given(margins, st.sampled_from(["mean", "sum", "vote", "max_abs"]))
def test_swapping_the_outputs_turns_the_label_over(values, how):
    weights = [1.0] * len(values)
    forward, deciding = aggregate(values, weights, how)
    backward, same = aggregate([-v for v in values], weights, how)
    assert backward == pytest.approx(-forward)
    assert deciding == same


@given(margins, st.sampled_from(["mean", "sum", "vote", "max_abs"]), st.randoms())
def test_the_order_of_principles_changes_nothing(values, how, random):
    mixed = list(values)
    random.shuffle(mixed)
    one, two = aggregate(values, [1.0] * len(values), how)[0], aggregate(mixed, [1.0] * len(values), how)[0]
    assert abs(one) == pytest.approx(abs(two))
    if how != "max_abs" or len({abs(v) for v in values}) == len(values):
        assert one == pytest.approx(two)


def test_max_abs_is_salmons():
    assert aggregate([1.0, -3.0, 2.0], [1, 1, 1], "max_abs") == (-3.0, [1])
    assert aggregate([1.0, -3.0, 2.0, 0.5], [1, 1, 1, 1], "max_abs")[0] == -3.0  # a weaker principle changes nothing
    assert aggregate([1.0, 3.0, 2.0], [1, 1, 1], "max_abs")[0] == 3.0  # negating the deciding one flips the label


def test_a_drawn_principles_weight_does_not_count_again():
    assert aggregate([1.0], [3.0], "random") == (1.0, [0])


@pytest.mark.parametrize("options", [{"clamp": [0.3, 0.6]}, {"clamp": [0.1, 0.4]}, {"clamp": [0.4, 0.6], "label": "hard"}])
def test_a_clamp_that_cannot_be_meant_is_refused(tmp_path, options):
    steps = text_pipeline(tmp_path, prompts=3)
    steps["pairs"] |= options
    with pytest.raises(UserError, match="clamp"):
        run_steps(steps, tmp_path)


def test_an_empty_judge_matrix_is_told_with_its_reason(tmp_path):
    same = ScriptedGenerator(text=lambda messages: "one answer to all")
    with pytest.raises(
        UserError, match=r"(?s)'judgements': the judge step holds no rows: 3 dropped \(equal responses\).*parquet"
    ):
        run_steps(text_pipeline(tmp_path, prompts=3), tmp_path, same)


def test_vote_and_weights():
    assert aggregate([1, 2, -9], [1, 1, 1], "vote")[0] > 0
    assert aggregate([1, -9], [1, 1], "vote")[0] == 0
    assert aggregate([1, -9], [3, 1], "vote")[0] > 0
    assert aggregate([2, -1], [1, 4], "sum")[0] == -2
    assert aggregate([2, -1], [1, 1], "mean")[0] == 0.5
    assert aggregate([0.0, 0.0], [1, 1], "mean") == (0.0, [])
