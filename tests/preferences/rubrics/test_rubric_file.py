"""Files of rubrics: every fault with its line, before anything is asked."""

import json
import re
from pathlib import Path

import pytest

from stages.guards.errors import UserError
from stages.preferences.rubrics.rubric_file import read_rubric_file
from stages.sources.conversations import content_id
from tests.running import run_steps, text_pipeline
from tests.scripted import ScriptedGenerator

GOOD = """
- prompt: request number 0
  criteria:
  - {text: It names a river., weight: 2}
  - {id: safe, text: It is safe., gate: true}
  - {text: It lectures., weight: -1.5}
- prompt: request number 1
  criteria: [It is short.]
"""


def prompt_id(text):
    return content_id([{"role": "user", "content": text}], "")


def write(folder, text, name="rubrics.yaml"):
    path = folder / name
    path.write_text(text)
    return str(path)


def test_a_file_in_our_form(tmp_path):
    first, second = read_rubric_file(write(tmp_path, GOOD))
    assert first.prompt_id == prompt_id("request number 0")
    assert [(row.weight, row.gate) for row in first.criteria] == [
        (2, False),
        (1, True),
        (-1.5, False),
    ]
    assert first.criteria[1].id == "safe" and first.where.endswith("rubrics.yaml:2")
    assert [row.text for row in second.criteria] == ["It is short."]


HEALTH = {
    "prompt": [{"role": "user", "content": "My head aches."}],
    "prompt_id": "",
    "rubrics": [
        {"criterion": "Asks since when.", "points": 7, "tags": ["level:example"]},
        {"criterion": "Names a dose for a child.", "points": -9, "tags": []},
    ],
    "canary": "x",
}
REWARDS = {
    "question": "My head aches.",
    "reference_answer": "...",
    "rubric": [{"title": "Duration", "description": "Asks since when.", "weight": 5}],
}


@pytest.mark.parametrize(
    ("record", "weights", "ids"),
    [(HEALTH, [7, -9], None), (REWARDS, [5], ["duration"])],
    ids=["HealthBench", "Rubrics as Rewards"],
)
def test_published_forms(tmp_path, record, weights, ids):
    path = write(tmp_path, json.dumps(record) + "\n", "rubrics.jsonl")
    (rubric,) = read_rubric_file(path)
    assert rubric.prompt_id == prompt_id("My head aches.")
    assert [row.weight for row in rubric.criteria] == weights
    assert ids is None or [row.id for row in rubric.criteria] == ids


PAGE = Path(__file__).resolve().parents[3] / "docs" / "data.md"


def test_the_examples_of_the_page_are_read(tmp_path):
    section = PAGE.read_text().partition("\n## Rubrics\n")[2].partition("\n## ")[0]
    examples = re.findall(r"^```(yaml|json)\n(.+?)^```", section, re.MULTILINE | re.DOTALL)
    read = {}
    for kind, text in examples:
        suffix = {"yaml": "yaml", "json": "jsonl"}[kind]
        read[kind] = read_rubric_file(write(tmp_path, text, f"page.{suffix}"))
    door, other = read["yaml"]
    assert [(row.weight, row.gate) for row in door.criteria] == [(1, True), (2, False), (-1, False)]
    assert other.prompt_id == "0f3a9c2b71de"
    assert read["json"][0].prompt_id == prompt_id("My head aches.")


FAULTS = {
    "- prompt: q\n  criteria:\n  - {text: a b c, weight: heavy}": (3, "not a number"),
    "- prompt: q\n  criteria:\n  - {text: a b c, weight: .inf}": (3, "not a number"),
    "- prompt: q\n  criteria:\n  - {text: a b c, weight: true}": (3, "not a number"),
    "- prompt: q\n  criteria:\n  - {text: a b c, weight: 0}": (3, "counts for nothing"),
    "- prompt: q\n  criteria:\n  - {text: a b c, weight: -1}": (2, "every answer has the score 0"),
    "- prompt: q\n  criteria:\n  - {text: a, weight: -1, gate: true}": (3, "a gate must hold"),
    "- prompt: q\n  criteria:\n  - {text: a, gate: maybe}": (3, "gate is 'maybe'"),
    "- prompt: q\n  criteria:\n  - {text: a}\n  - {text: ' '}": (4, "without a text"),
    "- prompt: q\n  criteria:\n  - {weight: 2}": (3, "without a text"),
    "- prompt: q\n  criteria:\n  - {text: a, wieght: 2}": (3, "Did you mean 'weight'"),
    "- prompt: q\n  criteria:\n  - It is A.\n  - it is  a.": (4, "appears twice"),
    "- prompt: q\n  criteria:\n  - {id: x, text: a}\n  - {id: x, text: b}": (
        4,
        "'x' appears twice",
    ),
    "- prompt: q\n  criteria: []": (2, "not a list of any"),
    "- prompt: q\n  criteria: none": (2, "not a list of any"),
    "- prompt: q\n  critera: [a]": (1, "Did you mean 'critera'"),
    "- prompt: q\n  criteria:\n  - 5": (3, "a text or a mapping"),
    "- criteria: [a]": (1, "the prompt is missing"),
    "- prompt: ''\n  criteria: [a]": (1, "the prompt is missing"),
    "- prompt: q\n  prompt_id: '1'\n  criteria: [a]": (1, "two names"),
    "- prompt: [1]\n  criteria: [a]": (1, "cannot be read"),
    "- q": (1, "must have prompt and criteria"),
    "- prompt: q\n  criteria: [a]\n- prompt: q\n  criteria: [b]": (3, "second rubric"),
    "- prompt: q\n  prompt: r\n  criteria: [a]": (2, "appears twice"),
    "prompt: q": (None, "must be a list"),
    "[]": (None, "holds no rubric"),
}


@pytest.mark.parametrize("text", FAULTS)
def test_what_is_wrong_with_a_file_has_a_line(tmp_path, text):
    line, words = FAULTS[text]
    with pytest.raises(UserError) as fault:
        read_rubric_file(write(tmp_path, text))
    assert words in str(fault.value)
    assert f"rubrics.yaml{f':{line}' if line else ''}" in str(fault.value)


def test_all_faults_are_shown_at_once(tmp_path):
    text = "- prompt: q\n  criteria: [{text: a, weight: x}, {text: b, gate: 1}]\n- criteria: [c]\n"
    with pytest.raises(UserError, match=r"3 faults") as fault:
        read_rubric_file(write(tmp_path, text))
    assert "rubrics.yaml:2" in str(fault.value) and "rubrics.yaml:3" in str(fault.value)


def steps_with(root, file, **more):
    steps = text_pipeline(root, prompts=3)
    source = steps["requests"]
    return {
        "requests": source,
        "rubrics": {
            "stage": "rubrics",
            "inputs": {"red_team": "requests"},
            "file": file,
            "prompts": {"red_team": dict(source), "helpful": None},
            **more,
        },
    }


def test_a_plan_refuses_rubrics_of_unknown_prompts_with_their_lines(tmp_path):
    text = GOOD + "- prompt: request number 7\n  criteria: [a]\n- prompt_id: abc\n  criteria: [a]\n"
    generator = ScriptedGenerator()
    file = write(tmp_path, text)
    with pytest.raises(UserError, match="no request of the run has this prompt") as fault:
        run_steps(steps_with(tmp_path, file), tmp_path, generator, only_plan=True)
    assert "rubrics.yaml:9" in str(fault.value) and "rubrics.yaml:11" in str(fault.value)
    assert generator.calls == 0
    run_steps(steps_with(tmp_path, write(tmp_path, GOOD)), tmp_path, only_plan=True)


def test_a_request_that_limit_leaves_out_is_no_unknown_one(tmp_path):
    steps = steps_with(tmp_path, write(tmp_path, GOOD))
    steps["requests"] = steps["requests"] | {"limit": 1}
    _, done = run_steps(steps, tmp_path)
    assert done["rubrics"].metrics["unused"] == 1
    assert any("1 rubrics of" in text for text in done["rubrics"].manifest.warnings)
