"""Arithmetic on profiles, by reference values and identities."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from stages.principles.constitution import load
from stages.values import profile
from stages.values.theory import theory_of

SCHWARTZ = theory_of(load("schwartz"))
NAMES = SCHWARTZ.dimensions
profiles = st.fixed_dictionaries({name: st.floats(-1, 6) for name in NAMES})


def wave(phase, level=0.0, amplitude=1.0):
    return {
        name: level + amplitude * math.cos(math.radians(angle - phase))
        for name, angle in SCHWARTZ.angles.items()
    }


def test_the_survey_map():
    means = {"a": 1, "b": 3.5, "c": 6, "d": 5.13}
    mapped = profile.to_unit(means)
    assert mapped == pytest.approx({"a": -1, "b": 0, "c": 1, "d": 0.652}, abs=1e-12)
    assert profile.to_unit({"a": 0, "b": 5}, 0, 5) == {"a": -1, "b": 1}


@settings(max_examples=50)
@given(scores=profiles, shift=st.floats(-3, 3))
def test_identities_of_centring(scores, shift):
    plain = profile.centred(scores)
    assert sum(plain.values()) == pytest.approx(0, abs=1e-12)
    items = {name: 3 if name == "universalism" else 2 for name in NAMES}
    weighted = profile.centred(scores, items)
    assert sum(items[name] * weighted[name] for name in NAMES) == pytest.approx(0, abs=1e-11)
    moved = profile.centred({name: score + shift for name, score in scores.items()}, items)
    assert moved == pytest.approx(weighted, abs=1e-11)
    turned = profile.centred({name: 7 - score for name, score in scores.items()}, items)
    assert turned == pytest.approx({n: -c for n, c in weighted.items()}, abs=1e-11)


def test_groups_and_axes_are_means_and_their_differences():
    scores = dict(zip(NAMES, range(10), strict=True))
    groups = profile.group_scores(scores, SCHWARTZ.groups)
    assert groups["openness-to-change"] == 1 and groups["conservation"] == 6
    assert groups["self-enhancement"] == 3.5 and groups["self-transcendence"] == 8.5
    axes = profile.axis_scores(scores, SCHWARTZ.groups, SCHWARTZ.axes)
    assert axes == {"openness-conservation": -5, "transcendence-enhancement": 5}


def test_correlations_and_errors():
    target = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}
    same = {name: 2 * value + 1 for name, value in target.items()}
    assert profile.pearson(same, target) == pytest.approx(1)
    assert profile.pearson({n: -v for n, v in same.items()}, target) == pytest.approx(-1)
    curved = {name: math.exp(value) for name, value in target.items()}
    assert profile.spearman(curved, target) == pytest.approx(1)
    assert profile.pearson({"a": 1, "b": 2, "c": 4, "d": 3}, target) == pytest.approx(0.8)
    assert math.isnan(profile.pearson(dict.fromkeys("abcd", 0.1), target))
    assert profile.mean_absolute_error(same, target) == pytest.approx(3.5)


def test_the_error_of_value_injection():
    ones, sixes = dict.fromkeys(NAMES, 1.0), dict.fromkeys(NAMES, 6.0)
    assert profile.normalised_square_error(ones, ones) == 0
    assert profile.normalised_square_error(ones, sixes) == 1


@pytest.mark.parametrize("phase", [0, 36, 123.4, 359])
def test_a_pure_wave_is_found_with_its_phase_and_size(phase):
    fit = profile.circle_fit(wave(phase, level=2, amplitude=0.5), SCHWARTZ.angles)
    assert fit.r_squared == pytest.approx(1)
    assert (fit.level, fit.amplitude, fit.phase) == pytest.approx((2, 0.5, phase))


def test_a_profile_without_a_wave_has_no_fit():
    flat = profile.circle_fit(dict.fromkeys(NAMES, 0.1), SCHWARTZ.angles)
    assert math.isnan(flat.r_squared) and flat.amplitude == pytest.approx(0, abs=1e-12)
    sawtooth = {name: float(place % 2) for place, name in enumerate(NAMES)}
    assert profile.circle_fit(sawtooth, SCHWARTZ.angles).r_squared == pytest.approx(0, abs=1e-12)


def test_the_direction_error_is_the_short_way_round():
    fits = [profile.circle_fit(wave(phase), SCHWARTZ.angles) for phase in (350, 20, 170)]
    assert profile.direction_error(fits[0], fits[1]) == pytest.approx(30)
    assert profile.direction_error(fits[1], fits[0]) == pytest.approx(30)
    assert profile.direction_error(fits[0], fits[2]) == pytest.approx(180)


def test_stochastic_rounding_keeps_the_mean():
    rng = random.Random(0)
    rounded = [
        profile.round_stochastically({"a": 4.7, "b": 3, "c": -0.5}, rng) for _ in range(4000)
    ]
    assert {row["a"] for row in rounded} == {4, 5} and {row["b"] for row in rounded} == {3}
    assert {row["c"] for row in rounded} == {-1, 0}
    assert sum(row["a"] for row in rounded) / 4000 == pytest.approx(4.7, abs=0.03)
    assert sum(row["c"] for row in rounded) / 4000 == pytest.approx(-0.5, abs=0.03)


def test_an_argument_is_supported_by_its_weakest_value():
    target = {"a": 3.0, "b": 2.9, "c": 6.0}
    assert profile.supports(target, ["a", "c"])
    assert not profile.supports(target, ["c", "b"])


def test_jensen_shannon_distances_of_scipy():
    """Its base is natural unless one is named, and it gives the distance, not the divergence."""
    cases = [([1, 0], [0.5, 0.5], 0.557923, 0.464501)]
    cases += [([0.7, 0.2, 0.1], [0.2, 0.3, 0.5], 0.467294, 0.389048), ([1, 0], [0, 1], 1, 0.832555)]
    for first, second, bits, nats in cases:
        assert jensenshannon(first, second, base=2) == pytest.approx(bits, abs=1e-6)
        assert jensenshannon(first, second) == pytest.approx(nats, abs=1e-6)
        assert nats == pytest.approx(bits * math.sqrt(math.log(2)), abs=1e-6)
        assert jensenshannon(second[::-1], first[::-1]) == pytest.approx(nats, abs=1e-6)
        assert jensenshannon(first, first) == 0
    a, b, c = [0.7, 0.2, 0.1], [0.2, 0.3, 0.5], [0.1, 0.1, 0.8]
    assert jensenshannon(a, c) <= jensenshannon(a, b) + jensenshannon(b, c)
