"""Requests that a model rewrites: the operators, what fails, and what becomes of the parent."""

import re
from collections import Counter
from dataclasses import dataclass
from math import log

import pytest

from stages.guards.errors import UserError
from stages.runtime.generation import Completion
from stages.runtime.rows import Prompt
from stages.text.synthesis.rewrite_prompts import find_answer_fault
from tests.running import fake_model, run_steps
from tests.scripted import ScriptedGenerator

OPERATORS = {"deeper": "Ask in more depth.", "rarer": "Write a rarer one."}
ANSWER = "The tides follow the moon and the sun."


@dataclass
class Rewrites(ScriptedGenerator):
    """Rewrites "request number 3" to "new request number 3", unless a test has another text."""

    texts: dict[int, str] | None = None
    answers: dict[int, str] | None = None
    finish: str = "stop"

    async def complete(self, messages, sampling, seed):
        self.completed.append((list(messages), sampling, seed))
        await self._pretend(messages)
        content = messages[-1]["content"]
        number = int(re.findall(r"number (\d+)", content)[-1])
        if "Rewrite" in content:
            text = (self.texts or {}).get(number, f"explain the new number {number} please")
            return Completion(text, self.finish, 1, 1)
        return Completion((self.answers or {}).get(number, ANSWER), "stop", 1, 1)


def rewritten(folder, generator, prompts=8, **options):
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"tell me of number {i}" for i in range(prompts)]
    (folder / "prompts.csv").write_text("\n".join(["prompt", *lines]) + "\n")
    steps = {
        "base": {"stage": "model", "path": str(fake_model(folder / "model"))},
        "requests": {"stage": "prompts", "source": str(folder / "prompts.csv")},
        "new": {
            "stage": "rewrite_prompts",
            "inputs": {"prompts": "requests", "model": "base"},
            **options,
        },
    }
    _, done = run_steps(steps, folder, generator)
    return done


def texts_of(artifact):
    return [row.messages[-1]["content"] for row in artifact.rows(Prompt)]


def test_each_row_is_rewritten_by_an_operator(tmp_path):
    generator = Rewrites()
    done = rewritten(tmp_path, generator, prompts=40, operators=OPERATORS)
    assert texts_of(done["new"]) == [f"explain the new number {i} please" for i in range(40)]
    drawn = done["new"].metrics["operators"]
    assert drawn.keys() == OPERATORS.keys() and min(op["drawn"] for op in drawn.values()) > 8
    sources = Counter(row.source.split(" of ")[0] for row in done["new"].rows(Prompt))
    assert sources == {name: entry["drawn"] for name, entry in drawn.items()}
    for (messages, _, _), row in zip(generator.completed, done["new"].rows(Prompt), strict=True):
        assert OPERATORS[row.source.split(" of ")[0]] in messages[-1]["content"]


FAILURES = [
    ("", "empty rewriting"),
    ("Tell me of number 3!", "the same words as before"),
    ("number 3 please", "too few words"),
    ("Here is the new request: tell number 3", "a forbidden word"),
    ("word " * 151 + "number 3", "too many words"),
]


@pytest.mark.parametrize("text, reason", FAILURES)
def test_a_failed_evolution_returns_the_parent(tmp_path, text, reason):
    generator = Rewrites(texts={3: text})
    filters = {"forbidden": ["new request", "request below"], "openings": []}
    done = rewritten(tmp_path, generator, operators=OPERATORS, filters=filters)
    if reason == "a forbidden word" and not done["new"].metrics["failed"]:
        pytest.fail("the announcement was taken for a part of the request")
    parents = {row.id: row for row in done["requests"].rows(Prompt)}
    rows = done["new"].rows(Prompt)
    assert len(rows) == 8 and not done["new"].manifest.dropped
    assert [row for row in rows if row.id in parents] == [done["requests"].rows(Prompt)[3]]
    assert done["new"].metrics["failed"] == {reason: 1} and done["new"].metrics["rewritten"] == 7


@pytest.mark.parametrize("text, reason", FAILURES[:3])
def test_or_it_is_dropped(tmp_path, text, reason):
    done = rewritten(tmp_path, Rewrites(texts={3: text}), failed="drop")
    assert len(done["new"].rows()) == 7 and done["new"].manifest.dropped == {reason: 1}


def test_a_text_that_was_cut_off_fails(tmp_path):
    done = rewritten(tmp_path, Rewrites(finish="length"), prompts=2)
    assert done["new"].metrics["failed"] == {"rewriting cut off at max_tokens": 2}
    assert done["new"].rows() == done["requests"].rows()


def test_what_adds_nothing_fails_by_the_models_own_word(tmp_path):
    def same(messages, options):
        return (
            [log(0.9), log(0.1)] if "number 3" in messages[-1]["content"] else [log(0.1), log(0.9)]
        )

    template = "text/synthesis/same_request.jinja"
    generator = Rewrites(scores=same)
    done = rewritten(tmp_path, generator, same_template=template)
    assert done["new"].metrics["failed"] == {"asks for the same, says the model": 1}
    asked = generator.chosen[0][0][-1]["content"]
    assert "tell me of number 0" in asked and "explain the new number 0 please" in asked


def test_what_the_model_cannot_answer_fails(tmp_path):
    answers = {
        1: "I am sorry, I cannot.",
        2: "It is. And so: of the...",
        3: f"Sorry! {ANSWER * 20}",
    }
    done = rewritten(tmp_path, Rewrites(answers=answers), answerable=True)
    assert done["new"].metrics["failed"] == {
        "the model says sorry in place of an answer": 1,
        "an answer without content": 1,
    }
    assert find_answer_fault("Sorry " * 80) == "" and find_answer_fault("!!") != ""


def test_rounds_rewrite_what_was_rewritten(tmp_path):
    """As a loop in a pipeline does; a parent that was returned is tried again."""
    step = {"stage": "rewrite_prompts", "operators": OPERATORS}
    (tmp_path / "prompts.csv").write_text("prompt\ntell me of number 1\ntell me of number 2\n")
    loop = {
        "repeat": 2,
        "carry": {"parents": "requests"},
        "give": "evolved",
        "steps": {"evolved": {**step, "inputs": {"prompts": "parents", "model": "base"}}},
    }
    steps = {
        "base": {"stage": "model", "path": str(fake_model(tmp_path / "model"))},
        "requests": {"stage": "prompts", "source": str(tmp_path / "prompts.csv")},
        "evolution": loop,
    }
    generator = Rewrites(texts={1: "no number 1"})
    _, done = run_steps(steps, tmp_path, generator)
    assert texts_of(done["evolved_1"])[0] == texts_of(done["evolved_2"])[0] == "tell me of number 1"
    asked = [messages[-1]["content"] for messages, _, _ in generator.completed]
    assert sum("explain the new number 2" in text for text in asked) == 1


def test_two_rows_that_become_the_same_fail_once(tmp_path):
    generator = Rewrites(texts={1: "one and the same", 2: "one and the same"})
    done = rewritten(tmp_path, generator)
    assert len(done["new"].rows()) == 8 and not done["new"].manifest.dropped
    assert texts_of(done["new"])[1:3] == ["one and the same", "tell me of number 2"]
    assert done["new"].metrics["failed"] == {"a duplicate": 1}
    done = rewritten(tmp_path, generator, failed="drop")
    assert len(done["new"].rows()) == 7 and done["new"].manifest.dropped == {"a duplicate": 1}


def test_bounds_that_no_text_keeps_are_refused(tmp_path):
    with pytest.raises(UserError, match="at least 9 and at most 3 words"):
        rewritten(tmp_path, Rewrites(), filters={"words": [9, 3]})
