"""What principles do to labels, on judge matrices whose answers are known."""

import numpy as np
import pytest

from stages.preferences.label_rule import Rule
from stages.principles.constitution import Principle
from stages.statistics.equivalence import Finding
from stages.statistics.redundancy import agreements, attributions, redundancies


class Weighted(dict):
    """Principles by id, with these weights; all others have a weight of 1."""

    def __missing__(self, name):
        return Principle(id=name, text=name)


def by_aggregate(how, weights=None):
    """The decision of stage `judged_pairs`."""
    principles = Weighted(
        {n: Principle(id=n, text=n, weight=w) for n, w in (weights or {}).items()}
    )
    return Rule(principles, frozenset(), 0, "agree", None, how).decide


def matrix(pairs, columns):
    return {
        f"p{i}": {name: float(values[i]) for name, values in columns.items()} for i in range(pairs)
    }


def test_agreement_is_cohens_and_pearsons():
    """The table [[20, 5], [10, 15]]: kappa 0.40; phi = (20 * 15 - 5 * 10) / sqrt(25 * 25 * 30 *
    20).
    """
    one = [2.0] * 25 + [-2.0] * 25
    other = [1.0] * 20 + [-1.0] * 5 + [1.0] * 10 + [-1.0] * 15
    result = agreements(matrix(60, {"a": [*one, *[0.0] * 10], "b": [*other, *[3.0] * 10]}))[0]
    assert (result.first, result.second, result.both) == ("a", "b", 50)
    assert result.agree.value == pytest.approx(0.7)
    assert result.covered.value == pytest.approx(50 / 60)
    assert result.kappa == pytest.approx(0.4)
    assert result.phi == pytest.approx(250 / np.sqrt(25 * 25 * 30 * 20))


def test_principles_that_never_meet_or_never_differ():
    apart = agreements(matrix(2, {"a": [1, 0], "b": [0, 1]}))[0]
    assert (apart.both, apart.agree, apart.kappa) == (0, None, None)
    assert apart.covered.value == 0
    same = agreements(matrix(9, {"a": [1] * 9, "b": [2] * 9}))[0]
    assert (same.agree.value, same.kappa, same.phi) == (1.0, None, None)
    silent = agreements(matrix(9, {"a": [0] * 9, "b": [0] * 9}))[0]
    assert (silent.both, silent.covered) == (0, None)


def test_attribution_by_hand():
    """The strongest decides: a the first pair, b the second (without it none does), a the third
    (without it c turns it).
    """
    rows = {
        "1": {"a": 3.0, "b": 1.0},
        "2": {"b": 2.0},
        "3": {"a": 2.0, "c": -1.0},
        "4": {"a": 0.0, "c": 0.0},
    }
    result = attributions(rows, by_aggregate("max_abs"))
    assert [result[name].decides for name in "abc"] == [0.5, 0.25, 0.0]
    assert [result[name].speaks for name in "abc"] == [
        2 / 3,
        1.0,
        0.5,
    ]  # of the pairs for which it was asked
    assert (result["a"].flips, result["a"].loses, result["a"].gains) == (0.25, 0.0, 0.0)
    assert (result["b"].flips, result["b"].loses) == (0.0, 0.25)
    assert result["c"].pivotal.value == 0.0
    assert result["a"].pivotal.n == 4


def test_several_deciders_share_a_pair():
    rows = {"1": {"a": 3.0, "b": 1.0}, "2": {"a": 1.0, "b": -1.0}, "3": {"a": 2.0, "b": 0.0}}
    result = attributions(rows, by_aggregate("sum"))
    assert result["a"].decides == pytest.approx(0.5)
    assert result["b"].decides == pytest.approx(0.5 / 3)
    assert (result["b"].gains, result["b"].flips) == (pytest.approx(1 / 3), 0.0)
    weighted = attributions(rows, by_aggregate("sum", {"b": 2.0}))
    assert weighted["b"].flips == pytest.approx(1 / 3)  # a - 2 b prefers the other side


def verdicts(table, **more):
    return redundancies(agreements(table), attributions(table, by_aggregate("max_abs")), **more)


def principles(rng, pairs=600):
    """Five that decide their own pairs, a near copy of the first, and one that never speaks."""
    own = rng.normal(0, 3, (5, pairs)) * (rng.random((5, pairs)) < 0.4)
    columns = {f"own{i}": column for i, column in enumerate(own)}
    columns["copy"] = own[0] * rng.uniform(0.9, 1.1, pairs)
    columns["silent"] = np.zeros(pairs)
    return matrix(pairs, columns)


def test_a_copy_is_redundant_and_the_others_are_not():
    result = {(r.principle, r.beside): r for r in verdicts(principles(np.random.default_rng(0)))}
    assert result["copy", "own0"].verdict == result["own0", "copy"].verdict == "redundant"
    assert result["own1", "own2"].verdict == "distinct"
    assert not any("silent" in key for key in result)  # it agrees with none: it says nothing
    assert all(
        r.verdict != "redundant" for key, r in result.items() if set(key) != {"copy", "own0"}
    )
    assert (
        attributions(principles(np.random.default_rng(0)), by_aggregate("max_abs"))[
            "silent"
        ].pivotal.value
        == 0.0
    )


def test_too_few_pairs_leave_it_undecided():
    result = verdicts(principles(np.random.default_rng(1), 25))
    assert {r.verdict for r in result if {r.principle, r.beside} == {"copy", "own0"}} == {
        "undecided"
    }


def test_the_outcomes_of_models_decide_redundancy():
    def outcome(verdict):
        return {
            "copy": Finding(
                "copy",
                verdict,
                verdict == "differs",
                verdict == "equivalent",
                0.05,
                0.5,
                0.5,
                "prompts",
            )
        }

    table = principles(np.random.default_rng(2))
    for verdict, expected in (
        ("equivalent", "redundant"),
        ("differs", "distinct"),
        ("undecided", "undecided"),
    ):
        result = verdicts(table, outcomes=outcome(verdict))
        assert {r.verdict for r in result if (r.principle, r.beside) == ("copy", "own0")} == {
            expected
        }


@pytest.mark.long
def test_a_planted_copy_is_called_redundant_nearly_always():
    right = wrong = 0
    for seed in range(30):
        for r in verdicts(principles(np.random.default_rng(seed), 400)):
            planted = {r.principle, r.beside} == {"copy", "own0"}
            right += planted and r.verdict == "redundant"
            wrong += not planted and r.verdict == "redundant"
    assert right >= 54  # of 60
    assert wrong == 0
