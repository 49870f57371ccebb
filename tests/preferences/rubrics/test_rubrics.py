"""Rubrics from files, constitutions and models, and what is made of them."""

import math

import pytest

from stages.guards.errors import UserError
from stages.guards.templates import render
from stages.preferences.judging.rubric import NO_RUBRIC
from stages.preferences.rubrics.written import NONE_READ, WRITTEN_ALONE, read_criteria
from stages.runtime.rows import Pair, Proposal, Rating, Response
from tests.preferences.rubrics.test_rubric_file import GOOD, prompt_id, write
from tests.running import Seeded, run_steps, text_pipeline
from tests.scripted import ScriptedGenerator

SET = """name: small
principles:
- {id: p-safe, text: It is harmless., weight: 2, tags: [safe]}
- {id: p-river, text: It names a river., situations: [a request number 1]}
- {id: p-sea, text: It names a sea., situations: [the sea]}
"""


def rubric_steps(root, **options):
    """Requests, two answers each, their rubrics, and the ratings by them."""
    steps = text_pipeline(root, prompts=3)
    chosen = {name: steps[name] for name in ("base", "requests", "answers")}
    inputs = {"prompts": "requests"} | options.pop("inputs", {})
    return chosen | {
        "rubrics": {"stage": "rubrics", "inputs": inputs, **options},
        "ratings": {
            "stage": "rate",
            "inputs": {"model": "base", "responses": "answers", "rubrics": "rubrics"},
        },
    }


def constitution(root):
    return {"name": write(root, SET, "small.yaml")}


def criteria_of(artifact):
    rows = {}
    for row in artifact.rows(Proposal):
        rows.setdefault(row.prompt_id, []).append((row.id, row.weight, row.gate))
    return rows


def by_words(messages, options):
    """A judge by the words of a criterion."""
    text = messages[0]["content"]
    chances = {"It names a river.": 0.9, "It is safe.": 0.8, "It lectures.": 0.3}
    yes = next((chance for words, chance in chances.items() if words in text), 0.6)
    if "It is safe." in text and "number 0" in text and "#1" in text:
        yes = 0.1
    return [math.log(yes) if option == "Yes" else math.log1p(-yes) for option in options]


class Numbered(Seeded):
    """Answers that end in the number of the call, so that the two to a request differ."""

    async def complete(self, messages, sampling, seed):
        number = sum(one[0] == list(messages) for one in self.completed)
        made = await super().complete(messages, sampling, seed)
        return type(made)(f"{made.text} #{number}", "stop", 1, 1)


def test_ratings_by_a_file_and_a_gate_that_fails(tmp_path):
    steps = rubric_steps(tmp_path, file=write(tmp_path, GOOD))
    steps["pairs"] = {"stage": "rated_pairs", "inputs": {"ratings": "ratings"}}
    steps["best"] = {"stage": "best_of", "inputs": {"ratings": "ratings", "responses": "answers"}}
    _, done = run_steps(steps, tmp_path, Numbered(scores=by_words))
    rows = done["ratings"].rows(Rating)
    by_hand = 1 + 9 * (2 * 0.9 + 0.8 - 1.5 * 0.3) / 3
    for row in rows:
        if "#1" in row.response and "number 0" in row.response:
            assert row.score == 1, "its gate is not met"
        elif "number 0" in row.response:
            assert row.score == pytest.approx(by_hand)
            assert row.scores == pytest.approx([9.1, 8.2, 3.7])
        else:
            assert row.score == pytest.approx(1 + 9 * 0.6) and len(row.principles) == 1
    assert len(rows) == 4
    reasons = [row.reason for row in done["ratings"].dropped()]
    assert reasons == [NO_RUBRIC] * 2, "request 2 is not in the file, and that is no score of 0"
    (pair,) = done["pairs"].rows(Pair)
    assert "#0" in pair.chosen and "#1" in pair.rejected
    best = done["best"].rows(Response)
    assert [row.response for row in best if "number 0" in row.response] == [pair.chosen]


def test_rescaled_ratings_have_the_least_value_behind_a_gate(tmp_path):
    steps = rubric_steps(tmp_path, file=write(tmp_path, GOOD))
    steps["ratings"] |= {"rescale": "unit"}
    _, done = run_steps(steps, tmp_path, Numbered(scores=by_words))
    assert min(row.score for row in done["ratings"].rows(Rating)) == -1
    steps["ratings"] |= {"gate": 0.05}
    _, again = run_steps(steps, tmp_path, Numbered(scores=by_words))
    assert min(row.score for row in again["ratings"].rows(Rating)) > -1
    assert again["ratings"].manifest.calls.sent == 0, "a gate is arithmetic"


def test_every_principle_or_those_that_apply_are_criteria(tmp_path):
    steps = rubric_steps(tmp_path, constitution=constitution(tmp_path), gates=["safe"])
    _, done = run_steps(steps, tmp_path)
    whole = [("p-safe", 2, True), ("p-river", 1, False), ("p-sea", 1, False)]
    assert list(criteria_of(done["rubrics"]).values()) == [whole] * 3
    assert done["rubrics"].metrics["gates"] == 3 and done["ratings"].metrics["criteria"] == 3
    steps["rubrics"]["retrieve"] = {"top": 1}
    steps["requests"]["limit"] = 2
    _, done = run_steps(steps, tmp_path)
    (found,) = set(map(tuple, criteria_of(done["rubrics"]).values()))
    assert found == (("p-river", 1, False),)
    steps["rubrics"] |= {"retrieve": None, "file": write(tmp_path, GOOD)}
    _, done = run_steps(steps, tmp_path)
    first = criteria_of(done["rubrics"])[prompt_id("request number 0")]
    assert len(first) == 6 and first[3:] == whole, "a request has the criteria of both"


WRITTEN = """Here are the criteria:
1. [5] The response names a river.
- **[must]** The response is harmless
[-2] The response lectures the user.
[0] The response is there at all.
[5] The response names a river.
Explanation: [1]
"""


def test_what_a_model_writes_is_read_line_by_line():
    rows = read_criteria(WRITTEN, "p", 7)
    assert [(row.text, row.weight, row.gate) for row in rows] == [
        ("The response names a river.", 5, False),
        ("The response is harmless.", 1, True),
        ("The response lectures the user.", -2, False),
    ]
    assert len(read_criteria(WRITTEN, "p", 2)) == 2
    assert read_criteria("[-2] The response lectures the user.", "p", 7) == []
    assert read_criteria("I cannot do that.", "p", 7) == []


def test_what_a_model_repeats_of_the_question_is_no_criterion():
    """SmolLM2 wrote the instruction's own example of a gate in place of a criterion."""
    question = render(WRITTEN_ALONE, request="q", reference="", count=7)
    echo = "[must] for what every  acceptable response does.\n[5] for what matters most, [1]"
    assert read_criteria(echo, "p", 7)
    assert read_criteria(echo, "p", 7, question) == []
    assert len(read_criteria(WRITTEN, "p", 7, question)) == 3


def test_a_model_writes_criteria_from_a_reference_answer(tmp_path):
    def text(messages):
        words = messages[-1]["content"]
        if not words.startswith("An assistant's answers"):
            return f"answer to: {words}"
        assert "A good answer: answer to: request" in words
        return "I would rather not." if "number 2" in words else WRITTEN

    inputs = {"model": "base", "answers": "answers"}
    steps = rubric_steps(tmp_path, inputs=inputs, count=3)
    _, done = run_steps(steps, tmp_path, ScriptedGenerator(text=text, scores=by_words))
    rows = done["rubrics"].rows(Proposal)
    assert len(rows) == 6 and all("written by the model" in row.origin for row in rows)
    assert done["rubrics"].metrics["written"] == {"requests": 2, "unread": 1}
    assert {row.reason for row in done["rubrics"].dropped()} == {NONE_READ}
    assert {row.reason for row in done["ratings"].dropped()} == {NO_RUBRIC}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "neither a file nor a constitution"),
        ({"file": "none.yaml"}, "none.yaml"),
        ({"file": None, "retrieve": {"top": 1}, "inputs": {"model": "base"}}, "need a const"),
        ({"constitution": {"name": "hhh"}, "gates": ["no-crme"]}, "Did you mean 'no-crime'"),
        ({"file": "x.txt"}, "x.txt"),
    ],
)
def test_options_that_cannot_work_are_refused(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        run_steps(rubric_steps(tmp_path, **options), tmp_path, only_plan=True)


def test_a_rater_has_one_source_of_criteria(tmp_path):
    steps = rubric_steps(tmp_path, file=write(tmp_path, GOOD))
    steps["ratings"]["constitution"] = constitution(tmp_path)
    with pytest.raises(UserError, match="both a constitution and an input `rubrics`"):
        run_steps(steps, tmp_path, only_plan=True)
    del steps["ratings"]["constitution"], steps["ratings"]["inputs"]["rubrics"]
    with pytest.raises(UserError, match="neither a constitution nor an input `rubrics`"):
        run_steps(steps, tmp_path, only_plan=True)
