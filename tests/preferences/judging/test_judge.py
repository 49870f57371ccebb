"""The judge without reasoning: margins of both orders, abstention, weights and pairing."""

from collections import Counter
from dataclasses import replace

import pytest

from stages.guards.errors import UserError
from stages.runtime.rows import Judgement, Pair
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
    assert done["pairs"].manifest.dropped == {"the judge abstains": 10}


def test_weights_count_once(tmp_path):
    """Under any number of principles, a weight of 3 has its fraction of the decisions."""
    steps = text_pipeline(tmp_path, prompts=300)
    steps = {name: step for name, step in steps.items() if name != "revisions"}
    weighted = {"name": str(tmp_path / "set.yaml"), "weights": {"p1": 3.0}}
    steps["judgements"] |= {"constitution": weighted, "per_pair": 8}
    steps["pairs"] |= {"constitution": weighted, "aggregate": "random", "orders": "average"}

    def longest_wins(messages, options):
        a, b = (messages[-1]["content"].split(f"Response {x}: ")[1].split("\n")[0] for x in "AB")
        return [-0.1, -2.4] if a > b else [-2.4, -0.1]

    _, done = run_steps(steps, tmp_path, Seeded(scores=longest_wins))
    judged = Counter(row.principle for row in done["judgements"].rows(Judgement))
    assert judged["p1"] / judged.total() == pytest.approx(1 / 16, abs=0.015)
    # Half of the pairs are judged under p1, and there it decides 3 of 3 + 7: not 3 of 3 + 15 of
    # all, and not 9 of 9 + 15, as if the weight counted in both draws.
    decided = Counter(row.deciding for row in done["pairs"].rows(Pair))
    assert decided.total() == 300
    assert decided["p1"] / 300 == pytest.approx(0.5 * 3 / 10, abs=0.04)


@pytest.mark.parametrize("aggregate", ["mean", "sum"])
def test_a_weight_counts_once_in_a_mean_of_drawn_principles(tmp_path, aggregate):
    """The margin of a pair is recomputed from its cells."""

    def by_principle(messages, options):
        number = int(messages[-1]["content"].split("rule number ")[1].split(".")[0])
        return [0.0, -0.5 * number - 1.0]

    steps = text_pipeline(tmp_path, prompts=30)
    weighted = {"name": str(tmp_path / "set.yaml"), "weights": {"p1": 3.0}}
    steps["judgements"] |= {"constitution": weighted, "per_pair": 8}
    steps["pairs"] |= {"constitution": weighted, "aggregate": aggregate, "orders": "average"}

    class OneSided(Seeded):
        async def choose(self, messages, options):
            scores = await super().choose(messages, options)
            text = messages[-1]["content"]
            a, b = (text.split(f"Response {x}: ")[1].split("\n")[0] for x in "AB")
            return scores if a < b else replace(scores, logprobs=scores.logprobs[::-1])

    _, done = run_steps(steps, tmp_path, OneSided(scores=by_principle))
    cells = {}
    for row in done["judgements"].rows(Judgement):
        cells.setdefault(row.pair_id, {})[row.principle] = (row.margin_ab + row.margin_ba) / 2
    pairs = done["pairs"].rows(Pair)
    assert len(pairs) == 30 and all(len(margins) == 8 for margins in cells.values())
    for pair in pairs:
        margins = cells[pair.id]
        weights = {name: 3.0 if name == "p1" else 1.0 for name in margins}
        total = sum(weights[name] * margin for name, margin in margins.items())
        expected = total / sum(weights.values()) if aggregate == "mean" else total
        assert pair.margin == pytest.approx(abs(expected))


def test_pairs_that_no_principle_of_the_set_has_judged_are_counted(tmp_path):
    steps = text_pipeline(tmp_path, prompts=30)
    steps["judgements"]["per_pair"] = 4
    steps["pairs"]["constitution"] = {"name": str(tmp_path / "set.yaml"), "only": ["p3"]}
    _, done = run_steps(steps, tmp_path)
    dropped = done["pairs"].manifest.dropped
    assert dropped["judged under none of these principles"] > 10
    assert len(done["pairs"].rows()) + sum(dropped.values()) == 30


def test_one_response_cannot_be_judged(tmp_path):
    steps = text_pipeline(tmp_path, prompts=3)
    steps["answers"]["n"] = 1
    with pytest.raises(UserError, match="no prompt has two responses"):
        run_steps(steps, tmp_path)
