"""The statistics against published and textbook values (values_eval.md section 7), and by
simulation.
"""

import math

import numpy as np
import pytest

from stages.statistics.agreement import kappa
from stages.statistics.intervals import (
    bonett_price,
    by_prompt,
    imagined_changes,
    mcnemar_exact,
    mean_interval,
    paired_difference,
    share,
)


def test_wilson_interval_of_45_out_of_60():
    estimate = share({str(i): float(i < 45) for i in range(60)})
    assert (round(estimate.low, 4), round(estimate.high, 4), estimate.n) == (0.6277, 0.8422, 60)


def test_several_samples_count_as_one_prompt():
    values = by_prompt([("a", 1.0), ("a", 0.0), ("b", 1.0), ("b", None), ("c", None)])
    assert values == {"a": 0.5, "b": 1.0}
    assert share(values).n == 2


@pytest.mark.parametrize(
    ("fell", "rose", "p"), [(1, 9, 0.021484), (9, 1, 0.021484), (5, 5, 1.0), (0, 0, 1.0)]
)
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
    estimate = paired_difference(before, after)
    assert estimate["value"] == pytest.approx(-2 / 3)
    assert (estimate["n"], estimate["fell"], estimate["rose"]) == (3, 2, 0)
    assert estimate["p"] == pytest.approx(0.5)
    assert -1 <= estimate["low"] <= estimate["value"] <= estimate["high"] <= 1


def table(fell, rose, both, n):
    """Yes/no outcomes of n prompts, before and after."""
    before = {str(i): float(i < fell or fell + rose <= i < fell + rose + both) for i in range(n)}
    after = {str(i): float(fell <= i < fell + rose + both) for i in range(n)}
    return before, after


def test_paired_difference_of_many_changes():
    """40 of 200 fall and 10 rise: Wald's interval is -0.15 +- 1.96 * sqrt(0.25 - 0.15 ** 2) /
    sqrt(200) = 0.066.
    """
    estimate = paired_difference(*table(40, 10, 50, 200), resamples=5000)
    assert estimate["value"] == pytest.approx(-0.15)
    assert estimate["low"] == pytest.approx(-0.216, abs=0.008)
    assert estimate["high"] == pytest.approx(-0.084, abs=0.008)


def test_paired_difference_of_few_changes():
    """Worked by hand: (2 - 10) / 52 +- 1.96 * sqrt((12 / 52 - (8 / 52) ** 2) / 52), and McNemar's
    reference p.
    """
    estimate = paired_difference(*table(9, 1, 10, 50))
    assert estimate["value"] == pytest.approx(-0.16)
    assert (estimate["low"], estimate["high"]) == pytest.approx((-0.2776, -0.0301), abs=1e-4)
    assert estimate["p"] == pytest.approx(0.021484, abs=1e-6)
    few = paired_difference(*table(3, 0, 10, 200))
    assert few["p"] == 0.25
    assert few["high"] > 0


def test_no_difference_at_all_is_no_proof():
    same = {str(i): 1.0 for i in range(100)}
    estimate = paired_difference(same, same)
    assert estimate["value"] == 0
    assert estimate["low"] == pytest.approx(-estimate["high"])
    assert 0.02 < estimate["high"] < 0.04
    assert estimate["p"] == 1.0
    graded = mean_interval([0.5] * 100)
    assert (
        graded.high - 0.5 == pytest.approx(0.5 - graded.low) == pytest.approx(0.0370, abs=1e-4)
    )  # Wilson's bound of 0 in 100


def test_swapping_the_policies_turns_the_sign():
    before = {str(i): float(i % 3 == 0) for i in range(60)}
    after = {str(i): float(i % 5 == 0) for i in range(60)}
    there, back = paired_difference(before, after), paired_difference(after, before)
    assert there["value"] == pytest.approx(-back["value"])
    assert there["p"] == back["p"]


def test_graded_values_have_no_mcnemar():
    assert paired_difference({"a": 0.5, "b": 1.0}, {"a": 0.0, "b": 1.0})["p"] is None


def small_everywhere(rng, n):
    before = rng.beta(2, 2, n)
    return before, before + rng.normal(0.03, 0.1, n)


def large_everywhere(rng, n):
    return rng.beta(2, 2, n), rng.beta(2, 3, n)


def saturated(rng, n):
    return rng.beta(0.2, 0.8, n), rng.beta(0.2, 0.5, n)


def halves(rng, n):
    return rng.choice([0, 0.5, 1], n, p=[0.5, 0.3, 0.2]), rng.choice([0, 0.5, 1], n)


def skewed(rng, n):
    before = rng.beta(1, 5, n)
    return before, before + (1 - before) * rng.beta(0.3, 3, n)


def sparse(rng, n):
    before = rng.beta(0.5, 0.5, n)
    return before, np.where(rng.random(n) < 0.1, rng.random(n), before)


def sparse_one_way(rng, n):
    before = rng.beta(0.5, 1, n)
    return before, np.where(rng.random(n) < 0.05, 0.0, before)


def sparse_and_skewed(rng, n):
    before = rng.beta(1, 2, n)
    return before, before - before * (rng.random(n) < 0.2) * rng.beta(0.6, 3, n)


def tiny_and_a_few_whole(rng, n):
    before = rng.beta(0.3, 1, n)
    after = before + rng.normal(0, 0.02, n)
    return before, np.where(rng.random(n) < 0.05, 1.0, after)


def close_to_no(rng, n):
    before = 0.02 + 0.08 * rng.beta(1, 3, n)
    return before, before - 0.02 * (rng.random(n) < 0.5)


def all_alike_but_a_few(rng, n):
    before = rng.normal(0.02, 0.005, n)
    return before, np.where(rng.random(n) < 0.02, 0.98, before + rng.normal(0, 0.005, n))


SHAPES = (
    small_everywhere,
    large_everywhere,
    saturated,
    halves,
    skewed,
    sparse,
    sparse_one_way,
    sparse_and_skewed,
    tiny_and_a_few_whole,
    close_to_no,
)
RUNS = 250


def coverage(shape, n):
    """How often the interval holds the mean, and its mean width."""
    rng = np.random.default_rng(7)
    before, after = shape(rng, 100_000)
    mean = float((np.clip(after, 0, 1) - before).mean())
    hits = width = 0.0
    for _ in range(RUNS):
        before, after = (dict(enumerate(np.clip(side, 0, 1).tolist())) for side in shape(rng, n))
        change = paired_difference(before, after)
        hits += change["low"] <= mean <= change["high"]
        width += change["high"] - change["low"]
    return hits / RUNS, width / RUNS


@pytest.mark.parametrize("n", [5, 40, 200])
@pytest.mark.parametrize("shape", SHAPES)
def test_coverage_of_graded_changes(shape, n):
    """However few, sparse or skewed the changes are, and without the width of yes and no."""
    held, width = coverage(shape, n)
    assert held >= 0.92
    rng = np.random.default_rng(8)
    before, after = shape(rng, 100_000)
    wald = 2 * 1.96 * float((after - before).std()) / math.sqrt(n)
    assert width <= wald + 4 * 1.96 * math.sqrt(2) / (n + 2)


def test_what_no_interval_of_a_sample_shows():
    """2 % of prompts jump, all others are alike: of 40, nearly half of the samples have no jump."""
    assert 0.4 < coverage(all_alike_but_a_few, 40)[0] < 0.7
    assert coverage(all_alike_but_a_few, 200)[0] > 0.93


def test_graded_changes_are_not_counted_as_whole_ones():
    """Of 40 prompts 12 rise and 9 fall by a few points: the newcomer's run had [-38, +14]."""
    before = {str(i): 0.4 for i in range(40)}
    moves = [0.06] * 12 + [-0.04] * 9 + [0.0] * 19
    after = {str(i): 0.4 + move for i, move in enumerate(moves)}
    estimate = paired_difference(before, after)
    assert estimate["value"] == pytest.approx(sum(moves) / 40)
    assert estimate["low"] > -0.02 and estimate["high"] < 0.03
    spread = before | {"0": 0.05, "39": 0.95}
    wider = paired_difference(spread, spread | {str(i): after[str(i)] for i in range(1, 21)})
    assert -0.08 < wider["low"] < -0.04 and 0.04 < wider["high"] < 0.09, "values far apart"
    low, high = bonett_price(9, 12, 40)
    assert high - low > 2 * (wider["high"] - wider["low"])
    alike = paired_difference(before, before)
    assert alike["high"] > 0.06, "values that are all alike show no size of a change"


@pytest.mark.parametrize(("fell", "rose", "n"), [(0, 0, 40), (3, 0, 200), (9, 1, 50)])
def test_of_yes_and_no_it_is_bonett_and_prices(fell, rose, n):
    changes = [-1.0] * fell + [1.0] * rose + [0.0] * (n - fell - rose)
    assert imagined_changes(changes) == pytest.approx(bonett_price(fell, rose, n))


def test_nothing_to_estimate():
    assert share({}) is None
    assert mean_interval([]) is None
    assert paired_difference({"a": 1.0}, {"b": 1.0}) is None


def test_the_same_seed_gives_the_same_interval():
    values = [0.0, 1.0, 0.5, 1.0, 0.0, 1.0]
    assert mean_interval(values, seed=3) == mean_interval(values, seed=3)
    assert math.isclose(mean_interval(values).value, 3.5 / 6)


RARER = [(0.12, 0.09, 500), (0.08, 0.05, 1500), (0.03, 0.01, 1500)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("falls", "rises", "trials"),
    [(0.35, 0.05, 500), *(pytest.param(*case, marks=pytest.mark.long) for case in RARER)],
)
def test_coverage_of_the_paired_interval(falls, rises, trials):
    """95 % intervals hold the true difference in 93 to 97 % of simulated experiments with 200
    prompts.
    """
    rng = np.random.default_rng(11)
    hits = 0
    for trial in range(trials):
        fell, rose, _ = rng.multinomial(200, [falls, rises, 1 - falls - rises])
        estimate = paired_difference(*table(fell, rose, 0, 200), resamples=1000, seed=trial)
        hits += estimate["low"] <= rises - falls <= estimate["high"]
    assert 0.93 <= hits / trials <= 0.97


def test_few_changes_are_rarely_called_an_effect():
    """Without a true difference, and few changes, 0 is excluded in at most 1 of 20 experiments."""
    rng = np.random.default_rng(5)
    for rate in (0.005, 0.01, 0.03):
        counts = rng.multinomial(200, [rate, rate, 1 - 2 * rate], size=2000)
        wrong = sum(
            low > 0 or high < 0 for low, high in (bonett_price(f, r, 200) for f, r, _ in counts)
        )
        assert wrong / 2000 < 0.05
