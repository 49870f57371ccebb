"""Bradley-Terry and Krippendorff's alpha against reference values and statsmodels."""

import math

import numpy as np
import pytest

from stages.guards.errors import UserError
from stages.statistics.agreement import krippendorff
from stages.statistics.ranking import POINTS, ratings


def games(record):
    """{(one, other): (won, tied, lost)} as games, each of a prompt of its own."""
    scores = [
        (pair, s)
        for pair, (w, t, lost) in record.items()
        for s in [1.0] * w + [0.5] * t + [0.0] * lost
    ]
    return [(f"p{i}", *pair, score) for i, (pair, score) in enumerate(scores)]


def elos(results):
    return {rating.model: rating.elo for rating in results}


def test_three_wins_of_four_are_191_points():
    results = ratings(games({("a", "b"): (3, 0, 1)}), imagined=0.0, resamples=10)
    assert results[0].elo - results[1].elo == pytest.approx(190.85, abs=0.01)
    assert (results[0].model, results[0].wins, results[0].losses, results[0].n_prompts) == (
        "a",
        3,
        1,
        4,
    )
    assert results[0].elo + results[1].elo == pytest.approx(2000)


def test_all_ties_are_equal_and_order_and_names_do_not_matter():
    assert set(
        elos(ratings(games({("a", "b"): (0, 9, 0), ("b", "c"): (0, 4, 0)}), resamples=10)).values()
    ) == {1000.0}
    rows = games({("a", "b"): (7, 2, 3), ("b", "c"): (5, 0, 4), ("a", "c"): (6, 1, 1)})
    turned = [(prompt, other, one, 1 - score) for prompt, one, other, score in rows[::-1]]
    assert elos(ratings(turned, resamples=10)) == pytest.approx(elos(ratings(rows, resamples=10)))


def test_several_models_against_a_logistic_regression():
    """Bradley-Terry is logistic regression on who played (statsmodels' binomial GLM)."""
    import statsmodels.api as sm

    record = {
        ("a", "b"): (9, 0, 4),
        ("b", "c"): (8, 0, 6),
        ("a", "c"): (10, 0, 2),
        ("c", "d"): (5, 0, 5),
        ("a", "d"): (3, 0, 3),
    }
    rows = games(record)
    design = np.array(
        [[(m == one) - (m == other) for m in "bcd"] for _, one, other, _ in rows], dtype=float
    )
    reference = (
        sm.GLM([score for *_, score in rows], design, family=sm.families.Binomial()).fit().params
        * POINTS
    )
    results = elos(ratings(rows, anchor="a", imagined=0.0, resamples=10))
    assert results["a"] == 1000
    assert [results[m] - 1000 for m in "bcd"] == pytest.approx(list(reference), abs=0.05)


def test_who_never_lost_has_a_finite_rating_above_the_others():
    results = ratings(games({("a", "b"): (9, 0, 0), ("b", "c"): (9, 0, 0)}), resamples=50)
    assert [rating.model for rating in results] == ["a", "b", "c"]
    assert results[0].elo - results[1].elo == pytest.approx(POINTS * math.log(9.5 / 0.5), abs=0.5)


def test_the_games_of_a_prompt_stay_together():
    """Ten copies of each prompt's game are no more evidence than one."""
    rows = games({("a", "b"): (30, 5, 15)})
    once, often = ratings(rows, imagined=0.0, seed=1), ratings(rows * 10, imagined=0.0, seed=1)
    assert (once[0].low, once[0].high) == pytest.approx((often[0].low, often[0].high))
    assert once[0].n_prompts == often[0].n_prompts == 50


def test_games_that_do_not_connect_are_refused():
    with pytest.raises(UserError, match="connects a with c, d"):
        ratings(games({("a", "b"): (1, 0, 1), ("c", "d"): (1, 0, 1)}))
    with pytest.raises(UserError, match="no games of 'z'"):
        ratings(games({("a", "b"): (1, 0, 1)}), anchor="z")
    assert ratings([]) == []


A = [None, None, None, None, None, 3, 4, 1, 2, 1, 1, 3, 3, None, 3]
B = [1, None, 2, 1, 3, 3, 4, 3, None, None, None, None, None, None, None]
C = [None, None, 2, 1, 3, 4, 4, None, 2, 1, 1, 3, 3, None, 4]


def test_krippendorffs_own_examples():
    """Krippendorff (2011, Computing Krippendorff's alpha-reliability): 3 observers of 15 units; 4
    observers of 12.
    """
    assert krippendorff([A, B, C], resamples=20).value == pytest.approx(0.691358, abs=1e-6)
    assert krippendorff([A, B, C], resamples=20).n == 12
    four = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
        [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
    ]
    assert krippendorff(four, resamples=20).value == pytest.approx(0.743421, abs=1e-6)


def test_alpha_of_judges_that_agree_or_guess():
    rng = np.random.default_rng(0)
    labels = [bool(x) for x in rng.integers(0, 2, 300)]
    same = krippendorff([labels, labels, labels], resamples=50)
    assert (same.value, same.low, same.high) == (1.0, 1.0, 1.0)
    guessed = krippendorff([labels, [bool(x) for x in rng.integers(0, 2, 300)]], resamples=300)
    assert guessed.low < 0 < guessed.high
    assert krippendorff([["yes"] * 5, ["yes"] * 5]) is None
    assert krippendorff([[1, None], [None, 2]]) is None


@pytest.mark.long
def test_coverage_of_ratings():
    """95 % intervals of the distance to the anchor hold it in 91 to 98 %: 50 simulated ablations,
    4 models, 200 prompts.
    """
    rng = np.random.default_rng(3)
    true = np.array([0.0, 0.5, 0.2, -0.6])
    hits = []
    for trial in range(50):
        rows = []
        for prompt in range(200):
            luck = 0.5 * rng.standard_normal(
                4
            )  # some prompts suit some models: games of a prompt hang together
            for other in (1, 2, 3):
                chance = 1 / (1 + np.exp(true[other] + luck[other] - true[0] - luck[0]))
                rows += [
                    (str(prompt), "0", str(other), float(rng.random() < chance)) for _ in range(2)
                ]
        # what the logistic curve becomes once luck is averaged out
        nodes, weights = np.polynomial.hermite_e.hermegauss(40)
        for rating in ratings(rows, anchor="0", resamples=200, seed=trial):
            gap = true[int(rating.model)]
            p = weights @ (1 / (1 + np.exp(-(gap + 0.5 * math.sqrt(2) * nodes)))) / weights.sum()
            if rating.model != "0":
                hits.append(rating.low <= 1000 + POINTS * math.log(p / (1 - p)) <= rating.high)
    assert 0.91 <= np.mean(hits) <= 0.98
