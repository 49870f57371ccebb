"""The statistics against published and textbook values (values_eval.md section 7), and by simulation."""

import math

import pytest

from stages.evaluation.statistics import by_prompt, kappa, mcnemar_exact, mean_interval, paired_difference, share


def test_wilson_interval_of_45_out_of_60():
    found = share({str(i): float(i < 45) for i in range(60)})
    assert (round(found.low, 4), round(found.high, 4), found.n) == (0.6277, 0.8422, 60)


def test_several_samples_count_as_one_prompt():
    values = by_prompt([("a", 1.0), ("a", 0.0), ("b", 1.0), ("b", None), ("c", None)])
    assert values == {"a": 0.5, "b": 1.0}
    assert share(values).n == 2


@pytest.mark.parametrize(("fell", "rose", "p"), [(1, 9, 0.021484), (9, 1, 0.021484), (5, 5, 1.0), (0, 0, 1.0)])
def test_exact_mcnemar(fell, rose, p):
    assert mcnemar_exact(fell, rose) == pytest.approx(p, abs=1e-6)


def test_kappa_of_a_known_table():
    pairs = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    assert kappa(pairs) == pytest.approx(0.4)
    assert kappa([(True, True)] * 9) is None
    assert kappa([]) is None
    assert kappa([(True, True), (False, False)]) == pytest.approx(1.0)


def test_paired_difference_counts_only_common_prompts():
    before = {"a": 1.0, "b": 1.0, "c": 0.0, "only before": 1.0}
    after = {"c": 0.0, "b": 0.0, "a": 0.0, "only after": 1.0}
    found = paired_difference(before, after)
    assert found["value"] == pytest.approx(-2 / 3)
    assert (found["n"], found["fell"], found["rose"]) == (3, 2, 0)
    assert found["p"] == pytest.approx(0.5)
    assert -1 <= found["low"] <= found["value"] <= found["high"] <= 1


def test_paired_difference_of_a_known_table():
    """50 prompts, 1 rises and 9 fall: the normal approximation gives -0.16 +- 1.96 * 0.0585 (sd of d 0.4180, n - 1)."""
    after = {str(i): float(10 <= i < 20 or i == 9) for i in range(50)}
    before = {str(i): float(i < 9 or 10 <= i < 20) for i in range(50)}
    found = paired_difference(before, after, resamples=5000)
    assert found["value"] == pytest.approx(-0.16)
    assert found["low"] == pytest.approx(-0.276, abs=0.03)
    assert found["high"] == pytest.approx(-0.044, abs=0.03)
    assert found["p"] == pytest.approx(0.021484, abs=1e-6)


def test_no_difference_at_all_is_no_proof():
    same = {str(i): 1.0 for i in range(100)}
    found = paired_difference(same, same)
    assert found["value"] == 0
    assert found["low"] == pytest.approx(-found["high"])
    assert 0.03 < found["high"] < 0.04  # Wilson's bound of 0 out of 100
    assert found["p"] == 1.0


def test_swapping_the_policies_turns_the_sign():
    before = {str(i): float(i % 3 == 0) for i in range(60)}
    after = {str(i): float(i % 5 == 0) for i in range(60)}
    there, back = paired_difference(before, after), paired_difference(after, before)
    assert there["value"] == pytest.approx(-back["value"])
    assert there["p"] == back["p"]


def test_graded_values_have_no_mcnemar():
    assert paired_difference({"a": 0.5, "b": 1.0}, {"a": 0.0, "b": 1.0})["p"] is None


def test_nothing_to_estimate():
    assert share({}) is None
    assert mean_interval([]) is None
    assert paired_difference({"a": 1.0}, {"b": 1.0}) is None


def test_the_same_seed_gives_the_same_interval():
    values = [0.0, 1.0, 0.5, 1.0, 0.0, 1.0]
    assert mean_interval(values, seed=3) == mean_interval(values, seed=3)
    assert math.isclose(mean_interval(values).value, 3.5 / 6)


@pytest.mark.slow
@pytest.mark.parametrize(("falls", "rises"), [(0.35, 0.05), (0.08, 0.05)])
def test_coverage_of_the_paired_interval(falls, rises):
    """95 % intervals hold the true difference in 93 to 97 % of simulated experiments with 200 prompts."""
    import numpy as np

    rng = np.random.default_rng(11)
    trials, hits = 2000, 0
    for trial in range(trials):
        differences = rng.choice([-1.0, 1.0, 0.0], p=[falls, rises, 1 - falls - rises], size=200)
        found = mean_interval(list(differences), resamples=1000, seed=trial)
        hits += found.low <= rises - falls <= found.high
    assert 0.93 <= hits / trials <= 0.97
