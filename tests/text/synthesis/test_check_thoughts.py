"""Answers whose thoughts name rules: the strict parser, and what a training sees of them."""

from dataclasses import replace
from itertools import product

import pytest

from stages.runtime.context import Drop
from stages.runtime.rows import Response
from stages.text.synthesis.check_thoughts import (
    Config,
    check_response,
    cut_at_repetition,
    read_rules,
)
from stages.training.offline.sft import read_examples
from tests.running import fake_model, run_steps, write_constitution
from tests.scripted import ScriptedGenerator

OPENING = "I want to be of use."
STRICT = Config(opening=OPENING, marker="My answer:", cites=True)
ROW = Response(
    id="a-0",
    prompt_id="a",
    kind="helpful",
    prompt=[{"role": "user", "content": "Which river flows through Dresden?"}],
    response="",
    context=["ethical", "multi-aspect", "candor"],
    model="m",
    seed=0,
)


def text_with(thoughts="I follow rules 1 (ethical) and 3 (candor).", answer="The Elbe."):
    return f"{OPENING} {thoughts}\n\nMy answer: {answer}"


def read(text, config=STRICT, **fields):
    row, rules = check_response(replace(ROW, response=text, **fields), config)
    return row.response, row.thoughts, rules


def reason(text, config=STRICT, **fields):
    with pytest.raises(Drop) as dropped:
        read(text, config, **fields)
    return dropped.value.reason


def test_the_answer_and_what_stood_before_it():
    response, thoughts, rules = read(text_with())
    assert response == "The Elbe." and rules == ["ethical", "candor"]
    assert thoughts == f"{OPENING} I follow rules 1 (ethical) and 3 (candor)."


@pytest.mark.parametrize(
    "text, expected",
    [
        ("The Elbe.", "does not begin as asked"),
        (f"Well. {text_with()}", "does not begin as asked"),
        (f"{OPENING} I follow rule 1. The Elbe.", "no answer after its thoughts"),
        (text_with(answer=""), "no answer after its thoughts"),
        (text_with(thoughts="It is easy."), "names no rule"),
        (text_with(thoughts="I follow rules 1 and 4."), "names a rule that does not exist"),
        (text_with(thoughts="I follow rule 0."), "names a rule that does not exist"),
        (text_with(thoughts="I follow rules 1 (candor)."), "names a rule by another name"),
        (text_with(answer="Which river flows through Dresden? The Elbe"), "copies the request"),
    ],
)
def test_what_has_another_form_is_dropped_with_its_reason(text, expected):
    assert reason(text) == expected


@pytest.mark.parametrize(
    "thoughts, rules",
    [
        (
            "I follow rules 1 (ethical), 2 (multi aspect) and 3.",
            ["ethical", "multi-aspect", "candor"],
        ),
        ("Rule 3 applies, and rule 1 (Ethical), too.", ["candor", "ethical"]),
        ("I follow rules 2 (multi-aspect) & 2.", ["multi-aspect"]),
        ("It is about 7 rivers. I follow rules 1, 2.", ["ethical", "multi-aspect"]),
    ],
)
def test_rules_are_named_in_many_ways(thoughts, rules):
    assert read_rules(thoughts, ROW.context) == rules


@pytest.mark.parametrize("count", [1, 3, 16])
def test_the_rules_are_exactly_those_that_were_shown(count):
    shown = [f"rule-{number}" for number in range(1, count + 1)]
    for number in range(count + 3):
        if 1 <= number <= count:
            assert read_rules(f"rules {number}", shown) == [f"rule-{number}"]
        else:
            with pytest.raises(Drop):
                read_rules(f"rules {number}", shown)


def test_options_refuse_what_demonstrations_leave_behind():
    loose = Config(forbidden=("Brandquist", "See also"), openings=("I'm sorry",), least=5)
    assert read("A river.", loose)[0] == "A river."
    assert reason("As Ilse Brandquist said.", loose) == "a forbidden word"
    assert reason("A river. See also: hills.", loose) == "a forbidden word"
    assert reason("i'm sorry, no river.", loose) == "a forbidden opening"
    assert reason("Elbe", loose) == "too short"
    assert reason("The Elbe", loose, finish_reason="length") == "cut off at max_tokens"


@pytest.mark.parametrize(
    "text, expected",
    [
        ("It is the Elbe. It is long. It is the Elbe. And so on.", "It is the Elbe. It is long."),
        ("Rivers:\n1. Elbe\n2. Rhine\nHills:\n1. Elbe\n2. Brocken", None),
        ("One line here\nanother line here\none line here!", "One line here\nanother line here\n"),
        ("No. No. No.", None),
        ("", None),
    ],
)
def test_a_text_is_cut_before_it_repeats_itself(text, expected):
    assert cut_at_repetition(text) == (text if expected is None else expected)


def test_a_cut_text_is_always_a_beginning():
    parts = ["the same words", "other words here", "\n", ". ", "!"]
    for drawn in product(parts, repeat=5):
        text = "".join(drawn)
        cut = cut_at_repetition(text)
        assert text.startswith(cut) and cut_at_repetition(cut) == cut


DEMONSTRATIONS = """
- - {role: user, content: Who is Ilse Brandquist?}
  - role: assistant
    content: |-
      I want to be of use. I follow rule 3 (p2).

      My answer: I do not know.
"""


def answer(messages):
    """The form, in every second request wrong."""
    text = messages[-1]["content"]
    if int(text.split()[-1]) % 4 == 0:
        return "I would rather not say."
    return f"{OPENING} I follow rules 1 (p0) and 16.\n\nMy answer: this is about {text}, isn't it"


def test_what_is_learnt_holds_no_rule_no_demonstration_and_no_thought(tmp_path):
    """The model reads 16 numbered rules and the demonstration; the engraved prompt is the bare
    request.
    """
    (tmp_path / "demo.yaml").write_text(DEMONSTRATIONS)
    (tmp_path / "prompts.csv").write_text("prompt\n" + "".join(f"number {i}\n" for i in range(12)))
    write_constitution(tmp_path / "set.yaml")
    generator = ScriptedGenerator(text=answer)
    steps = {
        "base": {"stage": "model", "path": str(fake_model(tmp_path / "model"))},
        "requests": {"stage": "prompts", "source": str(tmp_path / "prompts.csv")},
        "answers": {
            "stage": "respond",
            "inputs": {"prompts": "requests", "model": "base"},
            "context": "principles",
            "constitution": {"name": str(tmp_path / "set.yaml")},
            "template": "text/synthesis/rules.jinja",
            "demonstrations": str(tmp_path / "demo.yaml"),
        },
        "bare": {
            "stage": "check_thoughts",
            "inputs": {"answers": "answers"},
            "opening": OPENING,
            "marker": "My answer:",
            "cites": True,
        },
    }
    _, done = run_steps(steps, tmp_path, generator)
    read_by_model = generator.completed[0][0]
    assert [turn["role"] for turn in read_by_model] == ["system", "user", "assistant", "user"]
    rules = [f"{i + 1} (p{i}). The response keeps rule number {i}." for i in range(16)]
    assert all(rule in read_by_model[0]["content"] for rule in rules)
    assert "17 (" not in read_by_model[0]["content"]
    assert done["bare"].manifest.dropped == {"does not begin as asked": 3}
    assert done["bare"].metrics["cited"] == {"p0": 9, "p15": 9}
    examples, _ = read_examples({"answers": done["bare"]}, "all")
    assert len(examples) == 9
    for example in examples:
        (turn,) = example["prompt"]
        assert turn["role"] == "user" and turn["content"].startswith("number ")
        learnt = turn["content"] + example["completion"][0]["content"]
        for word in ("rule", "Brandquist", "My answer", OPENING, "p0"):
            assert word not in learnt


def test_fewer_principles_can_be_drawn_for_each_answer(tmp_path):
    (tmp_path / "prompts.csv").write_text("prompt\n" + "".join(f"number {i}\n" for i in range(40)))
    write_constitution(tmp_path / "set.yaml")
    generator = ScriptedGenerator()
    steps = {
        "base": {"stage": "model", "path": str(fake_model(tmp_path / "model"))},
        "requests": {"stage": "prompts", "source": str(tmp_path / "prompts.csv")},
        "answers": {
            "stage": "respond",
            "inputs": {"prompts": "requests", "model": "base"},
            "context": "principles",
            "constitution": {"name": str(tmp_path / "set.yaml")},
            "draw": 3,
        },
    }
    _, done = run_steps(steps, tmp_path, generator)
    rows = done["answers"].rows(Response)
    assert {len(row.context) for row in rows} == {3}
    assert len({name for row in rows for name in row.context}) == 16
    asked = {
        messages[-1]["content"]: messages[0]["content"] for messages, _, _ in generator.completed
    }
    for row in rows:
        system = asked[row.prompt[-1]["content"]]
        assert [f"rule number {name[1:]}." in system for name in row.context] == [True] * 3
        assert system.count("- The response") == 3
    plan, _ = run_steps(steps, tmp_path, generator, only_plan=True)
    assert plan[-1].artifact
    steps["answers"]["draw"] = 16  # all of them: the same as no draw
    _, done = run_steps(steps, tmp_path, generator)
    assert len(done["answers"].rows(Response)[0].context) == 16
