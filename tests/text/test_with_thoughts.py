"""What a model reads, what a judge reads and what is learnt, in the pipelines that train on answers
which were written with the principles in context.
"""

import pytest

from stages.runtime.rows import Pair, Response
from stages.training.offline import sft
from tests.running import fake_model, run_steps, write_constitution
from tests.scripted import ScriptedGenerator
from tests.test_configs import composed_steps
from tests.text.test_respond import Written

THOUGHT = "Rule number 3 applies here."
RULE = "The response keeps rule number 3."


@pytest.fixture
def part_of(tmp_path):
    """Some steps of a pipeline as its file has them, on a stand-in for a model."""
    files = {}
    for name in ("red_team", "helpful", "held_out", "reflection", "documents"):
        files[name] = tmp_path / f"{name}.csv"
        files[name].write_text(f"prompt\nfirst {name} of rule 3\nsecond {name} of rule 3\n")
    overrides = [f"data.{name}.source={file}" for name, file in files.items()]
    model = fake_model(tmp_path / "model")
    chosen = write_constitution(tmp_path / "set.yaml", 4)

    def take(pipeline, *names):
        steps = composed_steps(
            f"pipeline={pipeline}",
            "data=files",
            *overrides,
            f"model.path={model}",
            f"constitution.name={chosen}",
            "scale.traits_read=null",
        )
        taken = {name: steps[name] for name in ("base", "judge", "red_team", "helpful", *names)}
        for step in taken.values():
            for optional in ("examination", "encoder"):
                step.get("inputs", {}).pop(optional, None)
        return taken

    return take


def learnt(artifact):
    examples, _ = sft.read_examples({"answers": artifact}, "all")
    prompts = [turn["content"] for example in examples for turn in example["prompt"]]
    return prompts, [example["completion"][0]["content"] for example in examples]


def test_deliberation_is_learnt_without_the_rules_and_judged_without_the_thoughts(
    part_of, tmp_path
):
    names = ("spec_answers", "spec_ratings", "best_answers", "learnt_answers")
    generator = Written(written=f"<think>{THOUGHT}</think>I keep it.")
    _, done = run_steps(part_of("deliberative", *names), tmp_path, generator)
    read = [messages for messages, _, _ in generator.completed]
    assert all(RULE in messages[0]["content"] for messages in read)
    judged = [messages[-1]["content"] for messages, _ in generator.chosen]
    assert judged and not [text for text in judged if THOUGHT in text]
    assert all("Response: I keep it." in text for text in judged)
    prompts, completions = learnt(done["learnt_answers"])
    assert len(prompts) == 4 and not [text for text in prompts if RULE in text]
    assert set(completions) == {f"<think>\n{THOUGHT}\n</think>\n\nI keep it."}
    assert done["learnt_answers"].manifest.metrics["with_thoughts"] == 4
    assert not done["learnt_answers"].manifest.warnings


def test_a_model_that_does_not_think_learns_its_answers_and_the_page_says_so(part_of, tmp_path):
    names = ("spec_answers", "spec_ratings", "best_answers", "learnt_answers")
    _, done = run_steps(part_of("deliberative", *names), tmp_path, Written(written="I keep it."))
    assert set(learnt(done["learnt_answers"])[1]) == {"I keep it."}
    assert done["learnt_answers"].manifest.warnings == [
        "no answer has thoughts, so only the answers can be learnt"
    ]


def test_a_character_is_learnt_from_a_teacher_that_reads_it(part_of, tmp_path):
    def answer(messages):
        return "in character" if RULE in messages[0]["content"] else "out of character"

    names = ("teacher", "teacher_answers", "student_answers", "pairs", "reflection", "reflections")
    steps = part_of("character_training", *names)
    steps["reflections"]["inputs"]["model"] = "base"  # in place of the trained one
    _, done = run_steps(steps, tmp_path, ScriptedGenerator(text=answer))
    pairs = done["pairs"].rows(Pair)
    assert len(pairs) == 4
    assert {(pair.chosen, pair.rejected) for pair in pairs} == {
        ("in character", "out of character")
    }
    assert not [turn for pair in pairs for turn in pair.prompt if RULE in turn["content"]]
    reflections = done["reflections"].rows(Response)
    assert {row.kind for row in reflections} == {"reflection"} and len(reflections) > 2
    prompts, completions = learnt(done["reflections"])
    assert set(prompts) == {"first reflection of rule 3", "second reflection of rule 3"}
    assert set(completions) == {"in character"}


def test_texts_about_one_principle_each_are_learnt_without_it(part_of, tmp_path):
    steps = part_of("spec_midtraining", "documents", "texts", "spec_answers")
    steps["texts"]["n"] = 6
    generator = ScriptedGenerator(text=lambda messages: "A text.")
    _, done = run_steps(steps, tmp_path, generator)
    texts = done["texts"].rows(Response)
    assert {len(row.context) for row in texts} == {1}
    assert len({row.context[0] for row in texts}) > 1
    prompts, _ = learnt(done["texts"])
    assert set(prompts) == {"first documents of rule 3", "second documents of rule 3"}
