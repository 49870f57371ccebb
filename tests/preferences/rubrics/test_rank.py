"""Rankings of several answers: places, orders, and replies that are no ranking."""

import asyncio
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.preferences.rubrics.listwise import (
    NO_RANKING,
    RANK_TEMPLATE,
    list_orders,
    rank_answers,
    read_ranking,
)
from stages.preferences.rubrics.rank import ONE_ANSWER
from stages.runtime.context import Drop
from stages.runtime.generation import Sampling
from stages.runtime.rows import Proposal, Rating
from tests.preferences.rubrics.test_rubrics import Numbered, constitution
from tests.running import run_steps, text_pipeline
from tests.scripted import ScriptedGenerator

REQUEST = [{"role": "user", "content": "q"}]
CRITERIA = [Proposal(id="a", prompt_id="p", text="It is long.", weight=2.0)]
ANSWERS = ["four", "a", "seven letters", "nine"]


def shown_answers(text):
    return re.findall(r"^\[\d+\] (.*)$", text, re.MULTILINE)


def by_length(messages):
    """A judge that ranks longer answers higher; equal ones as they stand."""
    shown = shown_answers(messages[-1]["content"])
    order = sorted(range(len(shown)), key=lambda place: -len(shown[place]))
    return "My ranking: " + " > ".join(f"[{place + 1}]" for place in order)


def first_is_best(messages):
    count = len(shown_answers(messages[-1]["content"]))
    return " > ".join(f"[{place + 1}]" for place in range(count))


def rank(judge, answers=ANSWERS, orders=4, seed=3):
    return asyncio.run(
        rank_answers(
            judge,
            REQUEST,
            answers,
            CRITERIA,
            template=RANK_TEMPLATE,
            orders=orders,
            sampling=Sampling(),
            seed=seed,
        )
    )


def test_scores_are_mean_places():
    judge = ScriptedGenerator(text=by_length)
    ranked = rank(judge)
    assert ranked.scores[2] == 1 and ranked.scores[1] == 0 and ranked.unread == 0
    assert ranked.scores[0] + ranked.scores[3] == pytest.approx(1 / 3 + 2 / 3)
    assert "- It is long. (weight 2.0)" in judge.completed[0][0][0]["content"]


def test_a_judge_that_takes_the_first_sees_no_difference():
    ranked = rank(ScriptedGenerator(text=first_is_best))
    assert ranked.scores == pytest.approx([0.5] * 4) and ranked.first_wins == ranked.orders == 4


@given(st.integers(2, 9), st.integers(1, 12), st.integers(0, 99))
def test_places_are_permuted_evenly(count, orders, seed):
    texts = [f"answer {number}" for number in range(count)]
    shown = list_orders(texts, orders, seed)
    assert len(shown) == min(orders, count)
    assert all(sorted(order) == list(range(count)) for order in shown)
    for place in range(count):
        seen = Counter(order[place] for order in shown)
        assert max(seen.values()) == 1, "no answer stands in a place twice"


def test_equal_answers_share_a_place_and_are_shown_once():
    judge = ScriptedGenerator(text=by_length)
    ranked = rank(judge, ["long one", "a", "long one"])
    assert ranked.scores == [1, 0, 1] and ranked.orders == 2
    assert rank(judge, ["same", "same"]).scores == [0.5, 0.5]


@pytest.mark.parametrize(
    ("reply", "places"),
    [
        ("[2] > [1] > [3]", [1, 0, 2]),
        ("2, 1, 3", [1, 0, 2]),
        ("First I thought [1] > [2] > [3]. But no:\n[3] > [1] > [2]", [2, 0, 1]),
        ("[2] > [1]", None),
        ("[2] > [2] > [1]", None),
        ("[2] > [1] > [4]", None),
        ("[2] > [1] = [3]", None),
        ("[0] > [1] > [2]", None),
        ("Responses 1, 2 and 3 are all fine.", None),
        ("I cannot rank these.", None),
        ("", None),
    ],
)
def test_a_reply_that_does_not_name_every_answer_once_is_no_ranking(reply, places):
    assert read_ranking(reply, 3) == places


def test_unread_replies_count_for_nothing():
    def sometimes(messages):
        judge = by_length(messages)
        first = shown_answers(messages[-1]["content"])[0]
        return "I cannot say." if first in ("a", "four") else judge

    ranked = rank(ScriptedGenerator(text=sometimes))
    assert ranked.unread == 2 and ranked.scores[2] == 1 and ranked.scores[1] == 0
    with pytest.raises(Drop, match=NO_RANKING):
        rank(ScriptedGenerator(text=lambda messages: "All are good."))


def test_the_stage(tmp_path):
    steps = text_pipeline(tmp_path, prompts=4)
    chosen = {name: steps[name] for name in ("base", "requests", "answers")}
    chosen["answers"]["n"] = 3
    chosen["ranks"] = {
        "stage": "rank",
        "inputs": {"model": "base", "responses": "answers"},
        "constitution": constitution(tmp_path),
    }
    chosen["pairs"] = {"stage": "rated_pairs", "inputs": {"ratings": "ranks"}}

    def text(messages):
        words = messages[-1]["content"]
        if "Rank them" not in words:
            return words if "number 3" not in words else "always the same"
        if "number 2" in words:
            return "none"
        shown = shown_answers(words)
        best = sorted(range(len(shown)), key=lambda place: shown[place][-1], reverse=True)
        return " > ".join(f"[{place + 1}]" for place in best)

    class Same(Numbered):
        async def complete(self, messages, sampling, seed):
            made = await super().complete(messages, sampling, seed)
            words = made.text
            return type(made)("same" if words.startswith("always") else words, "stop", 1, 1)

    _, done = run_steps(chosen, tmp_path, Same(text=text))
    rows = done["ranks"].rows(Rating)
    scores = {row.response.rpartition("#")[2]: row.score for row in rows}
    assert len(rows) == 6 and scores == {"0": 0, "1": 0.5, "2": 1}
    assert {row.reason for row in done["ranks"].dropped()} == {ONE_ANSWER, NO_RANKING}
    metrics = done["ranks"].metrics
    assert metrics["orders"] == 6 and metrics["unread"] == 0
    assert [row.chosen.rpartition("#")[2] for row in done["pairs"].rows()] == ["2", "2"]
