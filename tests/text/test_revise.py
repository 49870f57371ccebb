"""Respond, critique and revise, judge: the invariants of systems.md section 15, items 1 and 2."""

from collections import Counter

import pytest
from scipy.stats import chisquare

from stages.runtime.errors import UserError
from stages.runtime.rows import Judgement, Response, Revision
from tests.running import Seeded, run_steps, text_pipeline, write_constitution


def test_a_chain_has_k_revisions_and_collapses(tmp_path):
    generator = Seeded()
    _, done = run_steps(text_pipeline(tmp_path, prompts=30, rounds=4), tmp_path, generator)
    chains = {}
    for row in done["revisions"].rows(Revision):
        chains.setdefault(row.response_id, []).append(row)
    assert all([row.round for row in chain] == [1, 2, 3, 4] for chain in chains.values())
    for chain in chains.values():
        assert chain[0].previous == chain[0].original
        assert [row.previous for row in chain[1:]] == [row.response for row in chain[:-1]]
    for messages, _, _ in generator.completed:
        if (
            len(messages) >= 3
        ):  # a later round sees the request and the latest text, and no older critique
            assert len(messages) in (3, 5)
            assert messages[0]["content"].startswith("request number")


def test_append_keeps_the_conversation(tmp_path):
    generator = Seeded()
    run_steps(text_pipeline(tmp_path, prompts=2, rounds=2, context="append"), tmp_path, generator)
    assert {len(messages) for messages, _, _ in generator.completed} == {1, 3, 5, 7, 9}


def test_principles_are_drawn_uniformly_and_independently(tmp_path):
    _, done = run_steps(text_pipeline(tmp_path, prompts=200, rounds=2), tmp_path)
    rows = done["revisions"].rows(Revision)
    counts = Counter(row.principle for row in rows)
    assert len(counts) == 16 and chisquare(list(counts.values())).pvalue > 1e-4
    by_parent = {}
    for row in rows:
        by_parent.setdefault(row.response_id, []).append(row.principle)
    same = sum(a == b for a, b in by_parent.values())
    assert same < 0.15 * len(by_parent), "the second round's draw does not repeat the first's"


def test_only_faulty_spares_what_is_fine(tmp_path):
    def text(messages):
        fine = (
            "No fault. All is well."
            if "rule number 1." in messages[-1]["content"]
            else "Fault: something."
        )
        return fine if "begin with" in messages[-1]["content"] else "text"

    generator = Seeded(text=text)
    _, done = run_steps(text_pipeline(tmp_path, only_faulty=True), tmp_path, generator)
    rows = done["revisions"].rows(Revision)
    fine = [row for row in rows if row.principle == "p1"]
    assert fine and all(
        not row.faulty and row.response == row.previous and not row.revision_request for row in fine
    )
    assert all(row.faulty for row in rows if row.principle != "p1")


def test_a_critique_that_finds_nothing_is_noted_even_where_the_text_is_rewritten(tmp_path):
    generator = Seeded(
        text=lambda messages: (
            "No fault. Good." if "begin with" in messages[-1]["content"] else "text"
        )
    )
    _, done = run_steps(text_pipeline(tmp_path, prompts=3), tmp_path, generator)
    assert all(not row.faulty and row.revision_request for row in done["revisions"].rows(Revision))


def test_roles_take_turns_whatever_the_critique_finds(tmp_path):
    def text(messages):
        return (
            "No fault."
            if "begin with" in messages[-1]["content"] and len(str(messages)) % 2
            else "Fault: x"
        )

    generator = Seeded(text=text)
    run_steps(
        text_pipeline(tmp_path, rounds=3, context="append", only_faulty=True), tmp_path, generator
    )
    for messages, _, _ in generator.completed:
        assert [m["role"] for m in messages] == ["user", "assistant"] * (len(messages) // 2) + [
            "user"
        ]


def test_direct_revision_asks_once(tmp_path):
    generator = Seeded()
    _, done = run_steps(
        text_pipeline(tmp_path, prompts=5, rounds=1, critique=False), tmp_path, generator
    )
    rows = done["revisions"].rows(Revision)
    assert all(
        row.critique == "" and "follows this principle" in row.revision_request for row in rows
    )
    assert len(generator.completed) == 10 + 10


def test_preambles_go_and_empty_texts_are_dropped_with_a_reason(tmp_path):
    def text(messages):
        if "Rewrite" in messages[-1]["content"]:
            return "Here is the revised response:\n\nBetter."
        return (
            ""
            if "begin with" in messages[-1]["content"] and "number 3" in messages[0]["content"]
            else "fine"
        )

    class Plain(Seeded):
        async def complete(self, messages, sampling, seed):
            return await super(Seeded, self).complete(messages, sampling, seed)

    steps = text_pipeline(tmp_path, prompts=5, rounds=1)
    judging = ("judgements", "pairs")
    _, done = run_steps(
        {name: step for name, step in steps.items() if name not in judging},
        tmp_path,
        Plain(text=text),
    )
    assert {row.response for row in done["revisions"].rows(Revision)} == {"Better."}
    assert done["revisions"].manifest["dropped"] == {"empty critique": 2}


def test_hostile_principles_stay_literal(tmp_path):
    hostile = ["{{ ''.__class__ }}", "{% raw %}", "{{ 7 * 7 }} {# x #}"]
    write_constitution(
        tmp_path / "set.yaml", 3, **{f"p{i}": text for i, text in enumerate(hostile)}
    )
    generator = Seeded()
    run_steps(text_pipeline(tmp_path, prompts=20), tmp_path, generator)
    asked = " ".join(m[-1]["content"] for m, _, _ in generator.completed) + " ".join(
        m[-1]["content"] for m, _ in generator.chosen
    )
    assert all(text in asked for text in hostile)


def test_context_of_principles_is_not_trained_on(tmp_path):
    steps = text_pipeline(tmp_path, prompts=3)
    steps = {name: steps[name] for name in ("base", "requests", "answers")}
    steps["answers"] |= {
        "context": "principles",
        "constitution": {"name": str(tmp_path / "set.yaml"), "only": ["p1", "p2"]},
    }
    generator = Seeded()
    _, done = run_steps(steps, tmp_path, generator)
    assert all(
        m[0]["role"] == "system" and "rule number 2" in m[0]["content"]
        for m, _, _ in generator.completed
    )
    rows = done["answers"].rows(Response)
    assert all(
        row.context == ["p1", "p2"] and [m["role"] for m in row.prompt] == ["user"] for row in rows
    )


def test_swapping_the_answers_turns_the_margin_over(tmp_path):
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
    assert done["judgements"].metrics == {"cells": 160, "flipped": 1.0, "first_place_wins": 1.0}
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
