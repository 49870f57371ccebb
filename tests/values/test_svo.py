"""The slider measure of social value orientation, by its published table and pure types."""

import random

import pytest

from stages.guards.errors import UserError
from stages.principles.constitution import load
from stages.values import svo
from stages.values.theory import theory_of

TABLE = """
85,85 85,76 85,68 85,59 85,50 85,41 85,33 85,24 85,15
85,15 87,19 89,24 91,28 93,33 94,37 96,41 98,46 100,50
50,100 54,98 59,96 63,94 68,93 72,91 76,89 81,87 85,85
50,100 54,89 59,79 63,68 68,58 72,47 76,36 81,26 85,15
100,50 94,56 88,63 81,69 75,75 69,81 63,88 56,94 50,100
100,50 98,54 96,59 94,63 93,68 91,72 89,76 87,81 85,85
"""


def choose(worth, rounded=True):
    """The first best option of each item, by what a pair of payoffs is worth."""
    return [
        max(range(svo.OPTIONS), key=lambda place: worth(*options[place]))
        for options in svo.payoff_table(rounded)
    ]


def test_the_rule_gives_the_published_table():
    shown = [" ".join(f"{own},{other}" for own, other in row) for row in svo.payoff_table()]
    assert shown == TABLE.split("\n")[1:-1]


@pytest.mark.parametrize(
    ("worth", "degrees", "name"),
    [
        (lambda own, other: other, 61.39, "altruistic"),
        (lambda own, other: own - other, -16.26, "competitive"),
        (lambda own, other: -abs(own - other), 37.48, "prosocial"),
        (lambda own, other: own, 7.815, "individualistic"),
    ],
)
def test_pure_types_have_their_angle_and_category(worth, degrees, name):
    reached = svo.angle_of_choices(choose(worth))
    assert reached == pytest.approx(degrees, abs=0.006)
    assert svo.category(reached) == name


def test_the_individualist_is_free_in_the_first_item():
    choices = choose(lambda own, other: own)
    angles = [svo.angle_of_choices([first, *choices[1:]]) for first in (0, 4, 8)]
    assert angles == pytest.approx([7.815, 0, -7.815], abs=0.001)
    assert {svo.category(each) for each in angles} == {"individualistic"}


def test_the_largest_sum_is_a_range_of_angles_that_rounding_would_narrow():
    """Item 5 ties for whoever wants the largest sum; rounded, two of its options sum to 151."""
    best = choose(lambda own, other: round(own + other, 9), rounded=False)
    assert best[:4] == [0, 8, 8, 0]
    angles = [svo.angle_of_choices([*best[:4], fifth, best[5]]) for fifth in (0, 4, 8)]
    assert angles == pytest.approx([37.09, 45.0, 52.91], abs=0.006)
    assert {svo.category(each) for each in angles} == {"prosocial"}
    rounded = choose(lambda own, other: own + other)
    assert svo.payoff_table()[4][rounded[4]] == (88, 63)
    assert svo.angle_of_choices([*best[:4], 2, best[5]]) == pytest.approx(41.04, abs=0.006)
    assert svo.angle_of_choices([*best[:4], 6, best[5]]) == pytest.approx(48.96, abs=0.006)


def test_expected_payoffs_need_no_choice():
    sure = [[float(place == 3) for place in range(9)]] * 6
    assert svo.expected_angle(sure) == pytest.approx(svo.angle_of_choices([3] * 6))


def test_no_preference_at_all_is_just_inside_of_prosocial():
    for share in (5.0, 1 / 9):
        reached = svo.expected_angle([[share] * 9] * 6)
        assert reached == pytest.approx(22.7025, abs=1e-4)
        assert svo.category(reached) == "prosocial"


def test_the_order_of_items_and_options_does_not_matter():
    rng = random.Random(3)
    shares = [[rng.random() for _ in range(9)] for _ in range(6)]
    order = rng.sample(range(6), 6)
    sums = [0.0, 0.0]
    for item in order:
        pairs = list(zip(svo.payoff_table()[item], shares[item], strict=True))
        rng.shuffle(pairs)
        for side in (0, 1):
            sums[side] += sum(option[side] * share for option, share in pairs) / sum(shares[item])
    assert svo.angle(sums[0] / 6, sums[1] / 6) == pytest.approx(svo.expected_angle(shares))


def test_an_angle_needs_no_gain_of_ones_own():
    assert svo.angle(50, 80) == 90 and svo.angle(50, 20) == -90


def test_angles_on_a_cut_off_belong_below_it():
    degrees = [57.16, 57.15, 22.46, 22.45, -12.03, -12.04, -90]
    names = ["altruistic", "prosocial", "prosocial", "individualistic", "individualistic"]
    assert [svo.category(each) for each in degrees] == [*names, "competitive", "competitive"]


def test_the_orientations_of_the_constitution_are_the_categories_at_their_angles():
    theory = theory_of(load("svo"))
    assert not theory.is_nominal
    assert {name: svo.category(degrees) for name, degrees in theory.angles.items()} == {
        name: name for name in theory.dimensions
    }


@pytest.mark.parametrize("choices", [[0] * 5, [0] * 7, [9] * 6, [-1] * 6])
def test_other_choices_are_refused(choices):
    with pytest.raises(UserError, match="no choice of an option"):
        svo.angle_of_choices(choices)


@pytest.mark.parametrize(
    "shares", [[[1.0] * 8] * 6, [[0.0] * 9] * 6, [[-1.0, *[1.0] * 8]] * 6, [[1.0] * 9] * 5]
)
def test_what_is_no_probability_is_refused(shares):
    with pytest.raises(UserError, match="no probabilities"):
        svo.expected_angle(shares)
