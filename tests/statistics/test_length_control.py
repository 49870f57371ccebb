"""Win rates at equal length, against what must hold of them (AlpacaEval 2) and against planted
answers.
"""

import math
import random

import pytest

from stages.statistics.length_control import LEAST, length_controlled


def duels(n, chance, length, seed=0):
    """`chance` of winning by how much longer the answer is; ties do not happen."""
    rng = random.Random(seed)
    lengths = [length(rng) for _ in range(n)]
    return [(str(i), float(rng.random() < chance(by)), by) for i, by in enumerate(lengths)]


def test_a_model_against_itself_is_one_half():
    estimate = length_controlled([(str(i), 0.5, 0.0) for i in range(50)])
    assert estimate.value == pytest.approx(0.5) and estimate.low == pytest.approx(0.5, abs=0.03)


def test_equal_lengths_leave_the_raw_rate():
    rows = [(str(i), float(i < 70), 0.0) for i in range(100)]
    estimate = length_controlled(rows)
    assert estimate.value == pytest.approx((70 + 0.5) / 101)
    assert (estimate.low, estimate.high) == pytest.approx(
        (0.60, 0.78), abs=0.02
    )  # as Wilson's interval of 70 of 100


def test_without_an_effect_of_length_the_raw_rate_stays():
    rows = duels(2000, lambda by: 0.7, lambda rng: rng.gauss(0, 100))
    raw = sum(score for _, score, _ in rows) / len(rows)
    assert length_controlled(rows).value == pytest.approx(raw, abs=0.005)


def test_a_win_by_length_alone_is_taken_away():
    rows = duels(2000, lambda by: 1 / (1 + math.exp(-by / 100)), lambda rng: rng.gauss(100, 100))
    raw = sum(score for _, score, _ in rows) / len(rows)
    estimate = length_controlled(rows)
    assert raw > 0.65 and estimate.low <= 0.5 <= estimate.high


def test_winning_always_stays_finite():
    estimate = length_controlled([(str(i), 1.0, float(i % 7)) for i in range(40)])
    assert 0.9 < estimate.value < 1 and 0 < estimate.low <= estimate.value <= estimate.high <= 1


def test_the_interval_covers():
    hits = 0
    for seed in range(200):
        rows = duels(
            150,
            lambda by: 1 / (1 + math.exp(-0.6 - math.tanh(by / 100))),
            lambda rng: rng.gauss(30, 100),
            seed,
        )
        estimate = length_controlled(rows)
        hits += estimate.low <= 1 / (1 + math.exp(-0.6)) <= estimate.high
    assert 0.91 <= hits / 200 <= 0.985


def test_samples_of_a_prompt_are_no_evidence_of_their_own():
    rows = duels(60, lambda by: 0.7, lambda rng: rng.gauss(0, 100))
    one, four = length_controlled(rows), length_controlled(rows * 4)
    assert four.n == one.n == 60 and four.high - four.low == pytest.approx(
        one.high - one.low, rel=0.1
    )


def test_too_few_say_nothing():
    assert length_controlled([(str(i), 1.0, 1.0) for i in range(LEAST - 1)]) is None
