import pytest

from stages.statistics import formatting
from stages.statistics.formatting import DASH, NO_VALUE


def test_shares_are_written_in_per_cent():
    assert formatting.format_percent(0.5821) == "58.2"
    assert formatting.format_percent(0.5821, 0) == "58"
    assert formatting.format_percent(None) == DASH
    assert formatting.format_percent(None, missing=NO_VALUE) == NO_VALUE
    assert formatting.format_percent_range(0.54, 0.623) == "54.0 to 62.3 %"


def test_differences_are_written_in_points_with_a_true_minus_and_no_sign_at_zero():
    written = [formatting.format_points(value) for value in (-0.123, 0.0004, -0.0004, 0.2)]
    assert written == ["\u221212.3", "0.0", "0.0", "+20.0"]
    assert formatting.format_points_range(-0.012, 0.034) == "\u22121.2 to +3.4"


def test_numbers_that_are_not_shares():
    assert formatting.format_number(-0.25) == "\u22120.25"
    assert formatting.format_number(2, 3, "+") == "+2.000"
    assert formatting.format_number(None) == DASH
    shortest = [formatting.format_short(value) for value in (-0.1, 20.0, 0.5)]
    assert shortest == ["\u22120.1", "20", "0.5"]
    assert formatting.format_short(10, "+") == "+10"


@pytest.mark.parametrize(
    ("p", "text"), [(0.0009, "< 0.001"), (0.001, "0.001"), (0.0384, "0.038"), (1.0, "1.000")]
)
def test_small_p_values_have_a_bound_only(p, text):
    assert formatting.format_p_value(p) == text


@pytest.mark.parametrize(
    ("confidence", "text"), [(0.95, "95 %"), (0.9, "90 %"), (0.975, "97.5 %"), (0.999, "99.9 %")]
)
def test_a_confidence_is_not_rounded(confidence, text):
    assert formatting.format_confidence(confidence) == text


def test_counts_and_durations():
    assert formatting.format_count(12345) == "12,345"
    assert formatting.format_count(None) == ""
    assert formatting.format_plural(1, "call") == "1 call"
    assert formatting.format_plural(1200, "call") == "1,200 calls"
    assert formatting.format_seconds(12.34) == "12.3 s"
    assert formatting.format_seconds(1234.5) == "1,234 s"


def test_estimates_in_the_terminal():
    estimate = {"value": 0.5821, "low": 0.54, "high": 0.623}
    assert formatting.format_estimate(estimate) == "58.2 [54.0,62.3]"
    assert formatting.format_estimate(estimate, bound_places=0) == "58.2 [54,62]"
    assert formatting.format_estimate(estimate, 1, 2, sign="+") == "+0.58 [+0.54,+0.62]"
    without_bounds = estimate | {"low": None, "high": None}
    assert formatting.format_estimate(without_bounds, 1, 3) == "0.582"
    assert formatting.format_estimate(None) == NO_VALUE
    assert formatting.format_estimate(estimate | {"value": None}) == NO_VALUE


def test_changes_in_the_terminal_have_a_decimal_only_below_one_point():
    difference = {"value": -0.324, "low": -0.371, "high": 0.004}
    assert formatting.format_change(difference) == "-32 [-37,+0.4]"
    assert formatting.format_change(None) == NO_VALUE


def test_a_zero_in_the_terminal_has_no_minus():
    near = {"value": -0.0004, "low": -0.0003, "high": 0.0001}
    assert formatting.format_estimate(near, factor=1, places=2) == "0.00 [0.00,0.00]"
    assert formatting.format_estimate(near, sign="+") == "+0.0 [+0.0,+0.0]"
    assert formatting.format_change(near) == "+0.0 [+0.0,+0.0]"
    assert formatting.format_percent(-0.0001) == "0.0"
