"""The pipelines about principles and requests that a model finds, on a real model in small."""

import pytest

from stages.principles.constitution import load
from tests.smollm2 import (
    FEW_REQUESTS,
    NO_FORM,
    ONE_CALL,
    done,  # noqa: F401  (a fixture)
    needs_smollm2,
    preferences,
    write_once,
)

pytestmark = [*needs_smollm2, pytest.mark.long]
FEW = ["data.red_team.limit=2", "data.helpful.limit=1", "data.held_out.limit=1"]
FEW += ["scale.judge_limit=1"]
FEW += [f"model.{name}.per_device_train_batch_size=2" for name in ("sft", "dpo")]
TWO_PRINCIPLES = "constitution.only=[on-point, no-danger]"
STEPS = "pipeline.steps"
SHORT = "sampling.max_tokens=40"
ONE_ROUND = [f"{STEPS}.evolution.repeat=1"]
ONE_ROUND += [f"{STEPS}.answers.inputs.round_{number}=null" for number in (2, 3, 4)]
REQUESTS_WRITTEN = {
    "evol_instruct": (["evolved_1"], [*ONE_ROUND, f"{STEPS}.evolution.steps.evolved.{SHORT}"]),
    "topic_guided": (
        ["topics", "questions"],
        [
            *(*ONE_CALL, *NO_FORM),
            *(f"{STEPS}.{name}.{SHORT}" for name in ("topics", "questions", "new_requests")),
            f"+{STEPS}.first_topics.limit=2",
            f"{STEPS}.engraved_held_out=null",
        ],
    ),
}


@pytest.mark.parametrize(
    "name, policy",
    [("retrieve", "retrieved"), ("self_correction", "reasoned"), ("self_criticism", "revised")],
)
def test_methods_without_training(done, name, policy):
    made = done(name, "scale.judge_limit=1")
    assert list(made["evaluation"].metrics["policies"]) == ["base", "informed", policy]


@pytest.mark.parametrize("name", list(REQUESTS_WRITTEN))
def test_requests_that_the_model_writes(done, name):
    """It learns its own answers to them, in whatever form it wrote them."""
    steps, options = REQUESTS_WRITTEN[name]
    made = done(name, *FEW, *options)
    assert all(made[step].rows() for step in steps)
    assert "engraved" not in made or made["engraved"].metrics["n"]


def test_instructions(done, tmp_path):
    words = ["red", "blue", "green", "white", "black", "brown", "pink", "grey"]
    files = {"train": "Repeat", "new_distribution": "Say", "new_tasks": "Spell"}
    options = []
    for name, verb in files.items():
        rows = [
            {"instruction": f"{verb} the word {word}.", "input": "", "output": word}
            for word in words
        ]
        options.append(f"pipeline.files.{name}={write_once(tmp_path / f'{name}.jsonl', rows)}")
    made = done("instructions", *options, "model.sampling.max_tokens=8")
    levels = made["rouge_l"].metrics["models"]["policy"]
    assert {"held-out samples", "new distribution", "new tasks"} < levels.keys()


@pytest.mark.parametrize("name", ["inverse_constitution", "principle_selection"])
def test_principles_that_agree_with_people(done, tmp_path_factory, name):
    file = preferences(tmp_path_factory.mktemp("preferences"))
    people = f"pipeline.pairs={{stage: human_pairs, source: {file}, limit: 6}}"
    made = done(name, people, TWO_PRINCIPLES)
    assert made["votes"].rows() and made["chosen"].metrics["candidates"]


def test_minimal_constitution(done):
    without = [f"{STEPS}.full=null", f"{STEPS}.full_held_out=null"]
    made = done("minimal_constitution", *FEW, TWO_PRINCIPLES, *without)
    assert load(made["smaller_constitution"].directory / "constitution.yaml").principles


def test_iteralign(done):
    """A model that writes no rule learns nothing, which ends no run."""
    made = done(
        "iteralign",
        *(*FEW, *FEW_REQUESTS),
        "scale.iteralign.rounds=1",
        "scale.iteralign.chunk=4",
    )
    assert made["ratings_1"].rows()


def test_deliberative(done):
    made = done("deliberative", *FEW, TWO_PRINCIPLES, f"{STEPS}.tuned_held_out=null")
    assert "term rating" in made["policy"].metrics["last"]


def test_character_training(done, tmp_path):
    """Its questions are short, since answers to the shipped ones take more tokens than here."""
    questions = ["Who are you? One short sentence.", "Are you a person? Say yes or no."]
    rows = [{"prompt": question} for question in questions]
    source = write_once(tmp_path / "reflection.jsonl", rows)
    options = [f"data.reflection.source={source}", f"{STEPS}.distilled_held_out=null"]
    made = done("character_training", *FEW, *FEW_REQUESTS, *options)
    assert made["distilled"].metrics["n"] and made["policy"].metrics["n"]
