"""Warnings about judged pairs: that they come, and that healthy pairs have none."""

from dataclasses import replace

import pytest

from stages.doubts.preferences import doubt_cells, doubt_pairs
from stages.runtime.rows import Judgement, Pair

MESSAGES = [{"role": "user", "content": "hello"}]


def pairs(count=40):
    """Half of them prefer the longer answer."""
    texts = ["short", "a longer one"]
    return [
        Pair(
            id=str(i),
            prompt_id=str(i),
            chosen_id=f"{i}-a",
            rejected_id=f"{i}-b",
            kind="k",
            prompt=MESSAGES,
            chosen=texts[i % 2],
            rejected=texts[1 - i % 2],
            label=0.8,
            margin=1 + i / 10,
        )
        for i in range(count)
    ]


FIRSTS = {str(i) for i in range(0, 40, 3)}


def test_healthy_pairs_have_no_warnings():
    assert doubt_pairs(pairs(), FIRSTS) == []
    assert doubt_pairs(pairs(8), set()) == [], "too few to tell"


def test_one_side_only():
    (warning,) = doubt_pairs(pairs(), set())
    assert warning == "all 40 pairs prefer the second of their two answers"
    (warning,) = doubt_pairs(pairs(), {pair.id for pair in pairs()})
    assert warning == "all 40 pairs prefer the first of their two answers"


def test_equal_margins():
    (warning,) = doubt_pairs([replace(pair, margin=0.5) for pair in pairs()], FIRSTS)
    assert warning == "all 40 pairs have the same margin, 0.5"


@pytest.mark.parametrize(
    ("chosen", "word"),
    [("a longer one", "longer"), ("short", "shorter")],
    ids=["longer", "shorter"],
)
def test_length_explains_the_labels(chosen, word):
    other = "a longer one" if chosen == "short" else "short"
    rows = [replace(pair, chosen=chosen, rejected=other) for pair in pairs()]
    (warning,) = doubt_pairs(rows, FIRSTS)
    assert f"the {word} answer is preferred: length alone" in warning
    mixed = rows[:34] + pairs()[34:]  # 37 of 40
    assert len(doubt_pairs(mixed, FIRSTS)) == 1
    assert doubt_pairs(rows[:25] + pairs()[25:], FIRSTS) == []


def cells(margins):
    return [
        Judgement(
            id=f"{i}",
            pair_id=f"{i}",
            response_a_id="a",
            response_b_id="b",
            prompt_id=f"{i}",
            kind="k",
            prompt=MESSAGES,
            response_a="x",
            response_b="y",
            principle="p",
            margin_ab=ab,
            margin_ba=ba,
            model="m",
        )
        for i, (ab, ba) in enumerate(margins)
    ]


def test_a_judge_of_places():
    (warning,) = doubt_cells(cells([(1.0, -1.0)] * 30))
    assert warning.startswith("in 100% of 30 cells") and "shown first" in warning
    (warning,) = doubt_cells(cells([(-1.0, 1.0)] * 30))
    assert "shown second" in warning
    guessing = [(1.0, -1.0), (1.0, 1.0)] * 20
    assert doubt_cells(cells(guessing)) == [], "one half is what a guess gives"


def test_a_judge_that_says_nothing():
    (warning,) = doubt_cells(cells([(0.0, 0.0)] * 30))
    assert warning == "all 30 margins of the judge are 0"
