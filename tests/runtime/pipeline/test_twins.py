"""Early cut-off: a training that would read what an earlier one has read takes its result over."""

import copy
import errno
import io
import json
import os
from dataclasses import fields, replace

import pytest

from stages import STAGES
from stages.guards.console import open_console
from stages.guards.errors import UserError
from stages.report.views.steps import steps_of
from stages.runtime.artifacts import Artifact, look_up
from stages.runtime.generation import CallFailed
from stages.runtime.models import Model
from stages.runtime.pipeline import plan as planning
from stages.runtime.row_files import Unread, hash_rows, read_rows, write_rows
from stages.runtime.rows import Revision
from stages.runtime.stage import load_stage
from stages.training.offline import sft
from tests.running import ScriptedGenerator, fake_model, run_steps, text_pipeline
from tests.tiny_model import build_tiny_model

ARGS = {"max_steps": 1, "per_device_train_batch_size": 2, "max_length": 128, "warmup_steps": 0}
CRITIQUE = "Critique the answer: {{ principle.text }}"


def write(messages):
    """Critiques repeat what asked for them; revisions and answers do not depend on critiques."""
    last = messages[-1]["content"]
    if last.startswith("Critique"):
        return f"a fault ({last})"
    text = f"kind answer {len(messages)} to {messages[0]['content']}"
    return text.upper() if "shout" in last else text


@pytest.fixture
def steps(tmp_path):
    """Critiques and revisions, what learns from them, and what samples from that."""
    (tmp_path / "critique.jinja").write_text(CRITIQUE)
    steps = text_pipeline(
        tmp_path, prompts=4, rounds=1, critique_template=str(tmp_path / "critique.jinja")
    )
    train = {"args": ARGS, "inputs": {"model": "base", "revisions": "revisions"}}
    wanted = ("base", "requests", "answers", "revisions")
    return {name: steps[name] for name in wanted} | {
        "tuned": {"stage": "sft", **train},
        "tuned_answers": {**steps["answers"], "inputs": {"prompts": "requests", "model": "tuned"}},
    }


class Trainings:
    """How often each step was really trained."""

    def __init__(self, monkeypatch):
        self.steps = []
        original = sft.run_training

        def count(config, inputs, context, build, **options):
            self.steps.append(context.step)
            return original(config, inputs, context, build, **options)

        monkeypatch.setattr(sft, "run_training", count)


@pytest.fixture
def trainings(monkeypatch):
    return Trainings(monkeypatch)


def run(steps, root, seed=0, failure=None):
    """Plan and run; returns plans and artifacts by step, the terminal, and the calls sent."""
    generator, terminal = ScriptedGenerator(text=write, failure=failure), io.StringIO()
    console = open_console(file=terminal, width=200)
    planned, done = run_steps(copy.deepcopy(steps), root, generator, seed, console=console)
    return {p.step.name: p for p in planned}, done, terminal.getvalue(), generator.calls


def reword(root, text="Critique it at more length: {{ principle.text }}"):
    (root / "critique.jinja").write_text(text)


def test_other_critiques_of_equal_revisions_train_and_sample_nothing(tmp_path, steps, trainings):
    """With a real training."""
    steps["base"]["path"] = str(build_tiny_model(tmp_path / "tiny"))
    _, before, _, _ = run(steps, tmp_path)
    reword(tmp_path)
    plans, after, shown, calls = run(steps, tmp_path)
    old, new = before["revisions"].rows(Revision), after["revisions"].rows(Revision)
    assert [row.critique for row in old] != [row.critique for row in new]
    assert [row.response for row in old] == [row.response for row in new]
    assert trainings.steps == ["tuned"], "once in both runs"
    assert calls == 8 * 2, "a critique and a revision of every answer, no sample of the model"
    assert plans["tuned"].reason == "inputs.revisions changed; reused if it reads the same"
    first = before["tuned"].directory.name
    assert f"reused: reads the same as {first} did" in shown
    took_over, trained = after["tuned"].manifest, before["tuned"].manifest
    assert took_over.copy_of == first and took_over.fingerprint != trained.fingerprint
    for name in ("metrics", "warnings", "dropped", "tables", "files", "seconds", "content"):
        assert getattr(took_over, name) == getattr(trained, name), name
    assert after["tuned"].model().content == before["tuned"].model().content
    assert after["tuned_answers"].rows() == before["tuned_answers"].rows()
    assert after["tuned"].input_artifacts("revisions") == [after["revisions"]], (
        "a report shows the critiques of this run"
    )
    (shown_step,) = steps_of([after["tuned"]], {"revisions"})
    assert f"taken over from {first}, which read the same" in shown_step.details
    plans, _, _, calls = run(steps, tmp_path)
    assert all(plan.artifact for plan in plans.values()) and not calls


def test_without_the_cut_off_it_is_trained_again(tmp_path, steps, seen, monkeypatch):
    monkeypatch.setattr("stages.runtime.pipeline.runner.find_twin", lambda *_: None)
    run(steps, tmp_path)
    reword(tmp_path)
    run(steps, tmp_path)
    assert seen == ["tuned", "tuned"]


def stand_in(monkeypatch):
    """A training in no time: its model holds what it read, so that a wrong reuse shows."""
    seen = []

    def train(config, inputs, context):
        examples, dropped = sft.read_examples(inputs, config.rounds)
        seen.append(context.step)
        folder = context.directory / "model"
        base = inputs["model"].model()
        read = [base.content, context.seed, config.args, examples]
        fake_model(folder, json.dumps(read).encode())
        return sft.Result(dropped=dropped, metrics={"n": len(examples)})

    monkeypatch.setattr(sft, "STAGE", replace(sft.STAGE, run=train))
    return seen


@pytest.fixture
def seen(monkeypatch):
    return stand_in(monkeypatch)


def test_a_further_training_on_top_is_not_repeated_either(tmp_path, steps, seen):
    steps["twice"] = {**steps["tuned"], "inputs": {"model": "tuned", "revisions": "revisions"}}
    run(steps, tmp_path)
    reword(tmp_path)
    _, done, _, _ = run(steps, tmp_path)
    assert seen == ["tuned", "twice"]
    assert done["twice"].inputs["model"] == done["tuned"].fingerprint
    reword(tmp_path, "Critique it a third time: {{ principle.text }}")
    _, third, _, _ = run(steps, tmp_path)
    assert seen == ["tuned", "twice"]
    assert third["twice"].manifest.copy_of == done["twice"].manifest.copy_of, "of the first one"


@pytest.mark.parametrize("change", ["option", "seed", "model", "rows", "order", "fewer"])
def test_anything_that_is_read_trains_again(tmp_path, steps, seen, change):
    run(steps, tmp_path)
    seed = 0
    reword(tmp_path)
    if change == "option":
        steps["tuned"]["args"] = ARGS | {"max_steps": 2}
    elif change == "seed":
        seed = 1
    elif change == "model":
        fake_model(tmp_path / "model", b"retrained")
    elif change == "rows":
        (tmp_path / "revise.jinja").write_text("Revise it, and shout.")
        steps["revisions"]["revise_template"] = str(tmp_path / "revise.jinja")
    elif change == "order":
        lines = (tmp_path / "prompts.csv").read_text().splitlines()
        (tmp_path / "prompts.csv").write_text("\n".join([lines[0], *reversed(lines[1:])]))
    else:
        steps["requests"]["limit"] = 3
    run(steps, tmp_path, seed)
    assert seen == ["tuned", "tuned"]


def test_another_model_is_another_one_whatever_lies_in_the_folder_of_its_step(
    tmp_path, steps, seen
):
    """A stray file made all models look the same: the file manager of macOS writes such ones."""
    base = {"base": steps["base"]}
    for weights in (b"weights", b"retrained"):
        fake_model(tmp_path / "model", weights)
        _, done, _, _ = run(base, tmp_path)
        (done["base"].directory / ".DS_Store").touch()
        _, done, _, _ = run(steps, tmp_path)
        assert ".DS_Store" in done["base"].manifest.files
    assert seen == ["tuned", "tuned"]


def test_a_file_that_was_added_to_a_trained_model_counts(tmp_path, steps, seen):
    """A chat template, say: the model that takes the weights over does not have it."""
    tuned = {name: step for name, step in steps.items() if name != "tuned_answers"}
    _, done, _, _ = run(tuned, tmp_path)
    (done["tuned"].directory / "model/chat_template.jinja").write_text("{{ messages }}")
    run(steps, tmp_path)
    reword(tmp_path)
    _, done, _, _ = run(steps, tmp_path)
    assert seen == ["tuned"] and done["tuned"].manifest.copy_of
    assert not done["tuned_answers"].manifest.copy_of


def test_either_folder_can_be_deleted_or_damaged(tmp_path, steps, seen):
    _, before, _, _ = run(steps, tmp_path)
    weights = "model/model.safetensors"
    reword(tmp_path)
    _, after, _, _ = run(steps, tmp_path)
    old, new = before["tuned"].directory, after["tuned"].directory
    assert os.path.samefile(old / weights, new / weights), "no room is taken twice"
    for name in sorted(old.rglob("*"), reverse=True):
        name.rmdir() if name.is_dir() else name.unlink()
    old.rmdir()
    assert look_up(new.parent, "tuned", after["tuned"].fingerprint)[0]
    assert after["tuned"].model().content == find_content(new)
    (new / weights).write_bytes(b"damaged")
    reword(tmp_path, "Critique it once more: {{ principle.text }}")
    run(steps, tmp_path)
    assert seen == ["tuned", "tuned"], "nothing is taken over from a damaged folder"


def find_content(folder):
    return Artifact("tuned", folder).model().content


def test_where_the_disk_has_no_further_names_files_are_copied(tmp_path, steps, seen, monkeypatch):
    _, before, _, _ = run(steps, tmp_path)
    reword(tmp_path)

    def refuse(*_):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    _, after, _, _ = run(steps, tmp_path)
    folders = before["tuned"].directory / "model", after["tuned"].directory / "model"
    assert seen == ["tuned"]
    assert len({(folder / "model.safetensors").stat().st_ino for folder in folders}) == 2
    assert after["tuned"].manifest.files == before["tuned"].manifest.files


def test_a_model_of_equal_weights_is_not_sampled_again_without_the_store(tmp_path, steps, seen):
    _, before, _, _ = run(steps, tmp_path)
    for file in tmp_path.glob("calls.sqlite*"):
        file.unlink()
    reword(tmp_path)
    _, after, _, calls = run(steps, tmp_path)
    assert calls == 8 * 2 and seen == ["tuned"], "critiques and revisions alone"
    answers = before["tuned_answers"], after["tuned_answers"]
    assert answers[0].rows() == answers[1].rows() and answers[1].manifest.copy_of


def test_answers_that_failed_are_asked_for_again(tmp_path, steps, seen):
    def fail(messages):
        if "number 2" in messages[-1]["content"] and seen:
            raise CallFailed("garbled")

    run(steps, tmp_path, failure=fail)
    reword(tmp_path)
    _, after, _, calls = run(steps, tmp_path)
    assert calls == 8 * 2 + 2 and len(after["tuned_answers"].rows()) == 8


def test_a_full_disk_stops_the_run_and_loses_nothing(tmp_path, steps, seen, monkeypatch):
    run(steps, tmp_path)
    reword(tmp_path)

    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(UserError, match="No space left"):
        patch.setattr("os.link", refuse)
        patch.setattr("shutil.copyfile", refuse)
        run(steps, tmp_path)
    _, after, _, calls = run(steps, tmp_path)
    assert after["tuned"].manifest.copy_of and seen == ["tuned"] and not calls


def test_killed_between_the_files_and_the_manifest(tmp_path, steps, seen, monkeypatch):
    """What is left of it counts as nothing, and the checkpoints of a training go with it."""
    _, before, _, _ = run(steps, tmp_path)
    reword(tmp_path)

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(planning, "finish_artifact", die)
        run(steps, tmp_path)
    folders = set((tmp_path / "artifacts").glob("tuned-*")) - {before["tuned"].directory}
    (folder,) = folders
    (folder / "checkpoints").mkdir()
    _, after, _, _ = run(steps, tmp_path)
    assert after["tuned"].directory == folder and after["tuned"].manifest.copy_of
    assert not (folder / "checkpoints").exists() and seen == ["tuned"]
    assert (before["tuned"].directory / "model/model.safetensors").read_bytes()


def test_a_plan_says_so_where_all_inputs_exist(tmp_path, steps, seen):
    run(steps, tmp_path)
    reword(tmp_path)
    run({name: step for name, step in steps.items() if not name.startswith("tuned")}, tmp_path)
    planned, _ = run_steps(steps, tmp_path, only_plan=True)
    tuned, answers = planned[-2:]
    assert not tuned.artifact and tuned.result == tuned.twin
    assert tuned.reason == f"reads the same as {tuned.twin.directory.name} did"
    assert answers.reason.startswith("reads the same as tuned_answers-")


def test_a_plan_promises_nothing_of_artifacts_without_content(tmp_path, steps, seen, monkeypatch):
    """Those of versions that did not write it."""
    with monkeypatch.context() as patch:
        patch.setattr("stages.runtime.pipeline.runner.hash_content", lambda *_: "")
        run(steps, tmp_path)
    reword(tmp_path)
    plans, _, _, _ = run(steps, tmp_path)
    assert plans["tuned"].reason == "inputs.revisions changed" and seen == ["tuned"] * 2


def test_every_training_names_what_it_reads():
    stages = {name: load_stage(place) for name, place in STAGES.items()}
    reading = {name: stage for name, stage in stages.items() if stage.reads is not None}
    trainings = {name for name, stage in stages.items() if stage.trains}
    assert reading.keys() == trainings | {"respond", "harness"}
    for name, stage in reading.items():
        for row_type, columns in stage.reads.items():
            assert set(columns) <= {one.name for one in fields(row_type)}, (name, row_type)
        rows = {
            one
            for kind in {**stage.inputs, **stage.optional}.values()
            for one in getattr(kind, "__args__", (kind,))
        }
        assert stage.reads.keys() == rows - {Model}, name


def test_a_column_that_is_not_named_cannot_be_used(tmp_path):
    path = tmp_path / "rows.parquet"
    row = example()
    write_rows(path, [row], Revision)
    (narrow,) = read_rows(path, Revision, columns={Revision: ("id", "response")})
    assert (narrow.id, narrow.response) == (row.id, row.response)
    for use in (
        lambda value: value == "",
        lambda value: bool(value),
        str,
        len,
        lambda value: value + "x",
        lambda value: value.lower(),
        lambda value: {value},
        json.dumps,
        lambda value: f"{value}",
        lambda value: value in ("", "stop"),
        copy.deepcopy,
    ):
        for name in ("critique", "finish_reason"):  # the second has a default
            assert isinstance(getattr(narrow, name), Unread)
            with pytest.raises(TypeError):
                use(getattr(narrow, name))


def test_nothing_but_rows_and_models_can_be_read(tmp_path, steps, monkeypatch):
    """What is not compared must not change a result: metrics, dropped rows, the steps before."""
    refused = []

    def train(config, inputs, context):
        for artifact in inputs.values():
            for read in (
                lambda one: one.metrics,
                lambda one: one.dropped(),
                lambda one: one.config,
                lambda one: one.fingerprint,
                lambda one: one.input_artifacts(),
            ):
                with pytest.raises(TypeError, match="only rows and models"):
                    read(artifact)
                refused.append(artifact.step)
        assert inputs["model"].model() and inputs["revisions"].rows(Revision)
        fake_model(context.directory / "model")
        return sft.Result()

    monkeypatch.setattr(sft, "STAGE", replace(sft.STAGE, run=train))
    run(steps, tmp_path)
    assert refused == ["base"] * 5 + ["revisions"] * 5


def test_content_is_that_of_the_columns_in_their_order(tmp_path):
    columns = {Revision: ("id", "response")}

    def of(name, *rows):
        write_rows(tmp_path / name, rows, Revision)
        return hash_rows(tmp_path / name, columns), hash_rows(tmp_path / name)

    first, second = example(), replace(example(), id="b")
    one = of("one", first, second)
    other = of("other", replace(first, critique="longer"), second)
    assert one[0] == other[0] and one[1] != other[1]
    for rows in ((second, first), (first,), (first, replace(second, response="another"))):
        assert of("changed", *rows)[0] != one[0]


def example():
    texts = dict.fromkeys((one.name for one in fields(Revision)), "text")
    facts = {"id": "a", "prompt": [{"role": "user", "content": "x"}], "faulty": True}
    return Revision(**texts | facts | {"round": 1, "seed": 1, "finish_reason": "length"})
