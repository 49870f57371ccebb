"""The judge without reasoning: margins of both orders, abstention, weights and pairing."""

from collections import Counter

import pytest

from stages.runtime.errors import UserError
from stages.runtime.rows import Judgement
from tests.running import Seeded, run_steps, text_pipeline


def test_swapping_the_answers_keeps_the_margin_of_an_unbiased_judge(tmp_path):
    def longer_wins(messages, options):
        a, b = (messages[-1]["content"].split(f"Response {x}: ")[1].split("\n")[0] for x in "AB")
        return [-0.1, -2.4] if a > b else [-2.4, -0.1]

    _, done = run_steps(text_pipeline(tmp_path, prompts=10), tmp_path, Seeded(scores=longer_wins))
    rows = done["judgements"].rows(Judgement)
    assert len(rows) == 10 * 16
    for row in rows:  # a judge without position bias gives the same margin in both orders
        assert row.margin_ab == pytest.approx(row.margin_ba)
        assert (row.margin_ab > 0) == (row.response_a > row.response_b)
    assert done["judgements"].metrics["flipped"] == 0


def test_a_judge_that_always_says_a_is_abstained_on(tmp_path):
    _, done = run_steps(text_pipeline(tmp_path, prompts=10), tmp_path, Seeded())
    assert done["judgements"].metrics == {
        "cut_off": 0,
        "cells": 160,
        "flipped": 1.0,
        "first_place_wins": 1.0,
    }
    assert done["pairs"].rows() == []
    assert done["pairs"].manifest["dropped"] == {"the judge abstains": 10}


def test_weights_count_once(tmp_path):
    """Under any number of principles, a weight of 3 has its fraction of the decisions."""
    steps = text_pipeline(tmp_path, prompts=300)
    steps = {name: step for name, step in steps.items() if name != "revisions"}
    weighted = {"name": str(tmp_path / "set.yaml"), "weights": {"p1": 3.0}}
    steps["judgements"] |= {"constitution": weighted, "per_pair": 8}
    steps["pairs"] |= {"constitution": weighted, "aggregate": "random", "orders": "average"}

    _, done = run_steps(steps, tmp_path)
    judged = Counter(row.principle for row in done["judgements"].rows(Judgement))
    assert judged["p1"] / judged.total() == pytest.approx(1 / 16, abs=0.015)


def test_pairs_that_no_principle_of_the_set_has_judged_are_counted(tmp_path):
    steps = text_pipeline(tmp_path, prompts=30)
    steps["judgements"]["per_pair"] = 4
    steps["pairs"]["constitution"] = {"name": str(tmp_path / "set.yaml"), "only": ["p3"]}
    _, done = run_steps(steps, tmp_path)
    dropped = done["pairs"].manifest["dropped"]
    assert dropped["judged under none of these principles"] > 10
    assert len(done["pairs"].rows()) + sum(dropped.values()) == 30


def test_one_response_cannot_be_judged(tmp_path):
    steps = text_pipeline(tmp_path, prompts=3)
    steps["answers"]["n"] = 1
    with pytest.raises(UserError, match="no prompt has two responses"):
        run_steps(steps, tmp_path)
