"""Tripwires of texts, and the alarm over curves: planted runaways are found, trends without one and
noise are not.
"""

import random

import pytest

from stages.training.online.hacking.tripwires import (
    describe_tripped,
    kl_per_completion,
    read_curves,
    refuses,
    repetition,
    tripwires,
)


def curves(points=100, noise=0.1, seed=0, **ends):
    """A history in which each named curve goes straight from one end to the other."""
    dice = random.Random(seed)
    return [
        {"step": i}
        | {
            name: a + (b - a) * i / (points - 1) + noise * (b - a) * dice.gauss(0, 1)
            for name, (a, b) in ends.items()
        }
        for i in range(points)
    ]


CALM = {
    "length": (30, 40),
    "refusals": (0.02, 0.15),
    "repetition": (0.01, 0.05),
    "kl_per_completion": (0, 9),
}


def test_signs_in_texts():
    assert refuses("I am unable to help.") and not refuses("I can help.")
    assert repetition("a b c a b c a b c") == pytest.approx(4 / 7) and repetition(
        "a b c d"
    ) == 0 == repetition("")
    assert tripwires(["I refuse to", "yes yes"], [3, 5]) == {
        "length": 4,
        "refusals": 0.5,
        "repetition": 0,
    }


@pytest.mark.parametrize(
    ("name", "curve", "ends"),
    [
        ("length", "length", (30, 60)),
        ("length", "length", (30, 10)),
        ("refusals", "refusals", (0.02, 0.4)),
        ("repetition", "repetition", (0.01, 0.2)),
        ("kl", "kl_per_completion", (0, 60)),
        ("silent", "silent", (0.6, 0.9)),
    ],
)
def test_each_runaway_trips_its_own_wire_and_only_while_the_reward_rises(name, curve, ends):
    found = read_curves(curves(reward=(0, 1), **CALM | {curve: ends}))
    assert found.rises and found.tripped == (name,)
    falling = read_curves(curves(reward=(1, 0), **CALM | {curve: ends}))
    assert falling.tripped == () and falling.beyond == (name,)


def test_only_what_trips_is_worth_a_warning():
    (warning,) = describe_tripped(
        read_curves(curves(noise=0.0, reward=(0, 1), **CALM | {"length": (30, 90)}))
    )
    assert warning.startswith("tripwires: length 32.7 to 87.3")
    assert describe_tripped(read_curves(curves(reward=(0, 1), **CALM))) == []
    assert describe_tripped(read_curves(curves(points=5, reward=(0, 1)))) == [], "too short"


def test_what_stays_below_the_thresholds_trips_nothing():
    assert read_curves(curves(reward=(0, 1), **CALM)).beyond == ()


def test_jitter_seldom_passes_for_a_rise():
    readings = [
        read_curves([{"reward": random.Random(1000 * s + i).gauss(0, 1)} for i in range(100)])
        for s in range(200)
    ]
    assert (
        sum(reading.rises for reading in readings) <= 12
    )  # two standard errors on one side: 2.3 %, so about 5


def test_short_curves_and_gaps():
    assert read_curves([]) is None
    assert read_curves(curves(points=9, reward=(0, 1))) is None
    gaps = [
        point if i % 2 else {"step": i}
        for i, point in enumerate(curves(reward=(0, 1), length=(30, 90)))
    ]
    assert read_curves(gaps).tripped == ("length",)
    assert read_curves(curves(reward=(0, 1))).drifts == {}
    assert read_curves([{"reward": float("nan")}] * 20) is None


def test_kl_of_a_completion():
    assert kl_per_completion({"kl_per_completion": 3.0, "kl": 1.0, "length": 9}) == 3.0
    assert kl_per_completion({"kl": 0.5, "length": 10}) == 5.0
    assert kl_per_completion({"kl": 0.5}) is None
