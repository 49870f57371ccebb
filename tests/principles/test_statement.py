"""Principles with reasons, examples and levels of authority: what models read of them."""

import pytest

from stages import STAGES
from stages.ablation.levels import _apply_to_steps
from stages.guards.errors import UserError
from stages.guards.templates import render
from stages.principles.constitution import Principle, load
from stages.principles.select import Selection, select
from stages.principles.variants import apply, change_of, enumerate_variants
from stages.runtime.stage import load_stage
from stages.runtime.typed_config import parse_config
from stages.text.system_turn import SYSTEM_TEMPLATE, system_turn

FILE = """name: mine
principles:
  - id: honest
    text: The response is true.
    opposite: The response is false.
    because: People act on what they read.
    examples:
      - {request: Is the moon near?, good: ["No, {{ far }}."], bad: ["Yes.", "Very."]}
      - {good: [I do not know.]}
    authority: root
  - {id: short, text: The response is short.}
"""
STATED = """The response is true.
Example of a request: "Is the moon near?"
This response follows the principle: "No, {{ far }}."
This response breaks it: "Yes."
This response breaks it: "Very."
This response follows the principle: "I do not know."
Explanation: People act on what they read.
Nobody may override this principle."""
PARTS = {"because": "reasons", "examples": "examples", "authority": "authority"}


@pytest.fixture
def chosen(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(FILE)
    return Selection(str(path))


def first(selection):
    return select(selection).principles[0]


def test_the_text_states_all_parts_and_plain_principles_are_unchanged(chosen):
    honest, short = select(chosen).principles
    assert honest.text == STATED
    assert short == load(chosen.name).principles[1]


@pytest.mark.parametrize("name", ["world", "hhh", "cai", "rots", "planted", "self_align"])
def test_sets_without_parts_are_selected_as_they_stand(name):
    assert select(Selection(name)) == load(name)


def test_the_opposite_has_no_reason_and_its_good_examples_are_the_bad_ones(chosen):
    opposite = first(chosen).opposite
    assert opposite.startswith("The response is false.\nExample of a request")
    assert 'This response follows the principle: "Yes."' in opposite
    assert 'This response breaks it: "I do not know."' in opposite
    assert "People act" not in opposite and opposite.endswith("Nobody may override this principle.")
    negated = first(Selection(chosen.name, negate=("honest",)))
    assert (negated.text, negated.opposite.splitlines()[0]) == (opposite, "The response is true.")


@pytest.mark.parametrize("part", PARTS)
def test_each_part_can_be_left_out_and_only_its_words_go(chosen, part):
    less = first(Selection(chosen.name, without=(part,)))
    words = {"because": "People act", "examples": "far", "authority": "Nobody"}
    stated = {name: word in less.text for name, word in words.items()}
    assert stated == {name: name != part for name in words}
    assert getattr(less, part) == Principle.model_fields[part].default
    variant = f"without-{PARTS[part]}"
    assert enumerate_variants(chosen, [variant.replace("-", "_")]) == ["full", variant]
    assert first(apply(change_of(variant, chosen), chosen)) == less
    with pytest.raises(UserError, match=f"no principle has an? `{part}`|`{part}`"):
        enumerate_variants(Selection("hhh"), [variant.replace("-", "_")])


def test_without_all_parts_nothing_but_the_text_is_identified(chosen, tmp_path):
    bare = Selection(chosen.name, without=tuple(PARTS))
    assert first(bare).text == "The response is true."
    lines = FILE.splitlines(keepends=True)
    plain = tmp_path / "plain.yaml"
    plain.write_text("".join([*lines[:5], lines[-1]]))
    assert select(bare).identity() == select(Selection(str(plain))).identity()
    assert select(bare).identity("text") != select(chosen).identity("text")


def test_parts_that_are_not_there_are_refused(chosen):
    with pytest.raises(UserError, match=r"constitution.without.*no part 'becuase'.*'because'"):
        select(Selection(chosen.name, without=("becuase",)))


def test_every_model_reads_the_reason(chosen):
    """The shipped templates of critics, revisers, judges, reward models and system turns."""
    principle = first(chosen)
    answer = {"request": "Hi", "response": "Hello"}
    prompts = [
        render("text/critique.jinja", principle=principle),
        render("text/critique_always.jinja", principle=principle),
        render("text/revise_directly.jinja", principle=principle),
        render("training/reward_models/reward.jinja", **answer, principles=[principle.text]),
        render("preferences/judging/verdict.jinja", **answer, principle=principle.text),
        system_turn((principle,), SYSTEM_TEMPLATE)[0]["content"],
    ]
    assert all(STATED in prompt for prompt in prompts)


def test_what_judges_and_critics_are_identified_by_changes_with_a_reason(chosen):
    for stage, option in (("judge", {}), ("revise", {"only_faulty": True}), ("rate", {})):
        contract = load_stage(STAGES[stage])
        identities = [
            contract.identity(parse_config(contract.config, {"constitution": c, **option}, stage))
            for c in ({"name": chosen.name}, {"name": chosen.name, "without": ["because"]})
        ]
        assert identities[0] != identities[1]


def test_at_level_labels_only_the_judge_reads_less(chosen):
    """Labels are arithmetic on margins, so another wording must reach the steps that judge."""
    pipeline = {
        "steps": {
            "critique": {"stage": "revise", "constitution": {"name": chosen.name}},
            "judgements": {"stage": "judge", "constitution": {"name": chosen.name}},
            "pairs": {"stage": "judged_pairs", "constitution": {"name": chosen.name}},
        }
    }
    _apply_to_steps(pipeline, "labels", change_of("without-reasons", chosen), chosen)
    steps = pipeline["steps"]
    assert steps["judgements"]["constitution"]["without"] == ["because"]
    assert steps["critique"]["constitution"] == {"name": chosen.name}


@pytest.mark.parametrize(
    ("part", "message", "line"),
    [
        ("    because: ' '\n", "'because' is empty", 5),
        ("    authority: rot\n", "'authority' is 'rot'. Did you mean 'root'", 5),
        ("    authority: 3\n", "'authority' is '3'", 5),
        ("    examples: nice\n", "'examples' must be a list", 5),
        ("    examples: [nice]\n", "must be a mapping", 5),
        ("    examples:\n    - {request: Hi}\n", "neither a good nor a bad response", 6),
        ("    examples:\n    - {good: Hi}\n", "'good' must be a list", 6),
        ("    examples:\n    - good: ['']\n", "'good' is empty", 6),
        ("    examples:\n    - {goood: [Hi]}\n", "'goood'. Did you mean 'good'", 6),
    ],
)
def test_faults_of_the_parts_have_their_line(tmp_path, part, message, line):
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nprinciples:\n  - id: kind\n    text: It is kind.\n" + part)
    with pytest.raises(UserError, match=message) as caught:
        load(path)
    assert f"mine.yaml:{line}" in str(caught.value)
