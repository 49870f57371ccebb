"""Shares of changed labels: Wilson's intervals, and a question that can be answered either way."""

import numpy as np
import pytest

from stages.statistics.shares import changes


def runs(changed, n=400, seeds=1):
    return {str(s): {f"q{i}": float(i < changed) for i in range(n)} for s in range(seeds)}


def test_some_changed_labels_are_no_news():
    effects, verdicts = changes(
        {"few": runs(6, 2000), "many": runs(300, 2000), "near": runs(100, 2000)}, margin=0.05
    )
    assert {name: f.verdict for name, f in verdicts.items()} == {
        "few": "equivalent",
        "many": "differs",
        "near": "undecided",
    }
    assert (
        effects["few"].value == 0.003
        and 0 < effects["few"].low < 0.003 < effects["few"].high < 0.007
    )
    assert (
        effects["few"].p > 0.99
        and effects["many"].p_adjusted < 1e-6
        and effects["near"].p == pytest.approx(0.515, abs=0.02)
    )


def test_wilsons_interval():
    """Newcombe 1998, table I: 81 of 263 is 0.2553 to 0.3662."""
    effect = changes({"v": runs(81, 263)}, margin=0.05)[0]["v"]
    assert (effect.low, effect.high) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert effect.low_all == effect.low


def test_seeds_of_a_prompt_are_one_observation():
    one, three = (changes({"v": runs(40, seeds=s)}, margin=0.05)[0]["v"] for s in (1, 3))
    assert (
        (one.low, one.high) == (three.low, three.high)
        and three.n_seeds == 3
        and three.by_seed["2"] == 0.1
    )


@pytest.mark.long
def test_false_claims_are_rare():
    """Twelve variants whose true share is the margin: a claim of more, or of fewer, in 5 % of
    sweeps at most, each.
    """
    rng = np.random.default_rng(1)
    more = fewer = 0
    for _ in range(100):
        cells = {
            f"v{i}": {
                "0": dict(zip(map(str, range(300)), (rng.random(300) < 0.05) * 1.0, strict=True))
            }
            for i in range(12)
        }
        verdicts = changes(cells, margin=0.05)[1].values()
        more += any(f.verdict == "differs" for f in verdicts)
        fewer += any(f.verdict == "equivalent" for f in verdicts)
    assert more <= 9 and fewer <= 9  # of 100, at most 5 expected


def test_nothing_measured_says_nothing():
    assert changes({"v": {}}, margin=0.05) == ({}, {})
