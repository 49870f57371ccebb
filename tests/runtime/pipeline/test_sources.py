"""What a plan and a run say of the files that steps read, and of prompts that they share."""

import io
import json
import sys
import types
from dataclasses import dataclass, field

import pytest

from stages import STAGES
from stages.guards.console import open_console
from stages.runtime.artifacts import Result
from stages.runtime.models import Model
from stages.runtime.pipeline.overlap import find_overlaps, source_pairs
from stages.runtime.pipeline.readings import expect, show_sources
from stages.runtime.pipeline.steps import read_steps
from stages.runtime.rows import Prompt, Rating
from stages.runtime.stage import Stage
from stages.training.offline import kto_examples
from tests.running import fake_model, run_steps
from tests.test_configs import composed_steps


@dataclass(frozen=True)
class Options:
    model: str = ""
    note: dict = field(default_factory=dict)


@pytest.fixture
def training(monkeypatch):
    """A stage `pretend` that trains nothing."""
    module = types.ModuleType("pretend_stage")
    module.STAGE = Stage(
        version=1,
        config=Options,
        run=lambda config, inputs, context: Result(
            metrics={"model_path": config.model, "revision": None}
        ),
        inputs={"model": Model, "rows": object},
        gives=Model,
        trains=True,
    )
    monkeypatch.setitem(sys.modules, "pretend_stage", module)
    monkeypatch.setitem(STAGES, "pretend", "pretend_stage")


def write(path, texts):
    path.write_text("\n".join(json.dumps({"prompt": text}) for text in texts))
    return str(path)


def pipeline(tmp_path, red, held):
    model = str(fake_model(tmp_path / "model"))
    return {
        "base": {"stage": "model", "path": model},
        "red": {"stage": "prompts", "source": write(tmp_path / "red.jsonl", red)},
        "held": {"stage": "prompts", "source": write(tmp_path / "held.jsonl", held)},
        "tuned": {"stage": "pretend", "inputs": {"model": "base", "rows": "red"}, "model": model},
        "answers": {"stage": "respond", "inputs": {"prompts": "held", "model": "tuned"}},
        "refusals": {"stage": "benchmark", "inputs": {"base": "answers"}, "by": "refusal"},
    }


def shown(planned, only_plan=True):
    stream = io.StringIO()
    show_sources(planned, open_console(file=stream, width=300), only_plan)
    return stream.getvalue()


def test_held_out_prompts_that_training_has_seen(tmp_path, training, monkeypatch):
    steps = pipeline(tmp_path, ["a", "b", "c", "Same  one"], ["a", "x", "same one", "y"])
    planned, _ = run_steps(steps, tmp_path, only_plan=True)
    assert "WARNING 2 of 4 prompts (50.0%) of 'held'" in shown(planned)
    said = []
    monkeypatch.setattr(
        "stages.runtime.pipeline.runner.warn", lambda overlap, _: said.append(overlap)
    )
    _, done = run_steps(steps, tmp_path)
    expected = {"training": "red", "evaluation": "held", "shared": 2, "total": 4}
    assert done["refusals"].metrics["overlap"] == [expected]
    assert [vars(overlap) for overlap in said] == [expected], "once, when both were read"
    (warning,) = done["refusals"].manifest.warnings
    assert warning.startswith("2 of 4 prompts (50.0%) of 'held'"), "shown at the top of the report"
    monkeypatch.setattr("stages.runtime.pipeline.overlap.find_overlaps", None)
    _, again = run_steps(steps, tmp_path)
    assert again["refusals"].metrics["overlap"] == [expected], "kept, and no source is read again"


def test_what_two_evaluations_share_is_said_once_in_a_plan(tmp_path, training):
    steps = pipeline(tmp_path, ["a", "b"], ["a", "x"])
    steps["again"] = steps["refusals"] | {"inputs": {"tuned": "answers"}}
    planned, _ = run_steps(steps, tmp_path, only_plan=True)
    assert shown(planned).count("1 of 2 prompts (50.0%) of 'held'") == 1


def test_a_plan_knows_the_kinds_of_requests_and_of_answers_to_them(tmp_path, training):
    steps = pipeline(tmp_path, ["a", "b"], ["x"])
    steps["held"]["kind"] = "helpful"
    steps["both"] = {
        "stage": "respond",
        "inputs": {"prompts": "red", "held": "held", "model": "tuned"},
    }
    planned, _ = run_steps(steps, tmp_path, only_plan=True)
    by_name = {plan.step.name: plan for plan in planned}
    assert expect(by_name["both"], by_name).count_kinds() == {"red_team": 2, "helpful": 1}
    assert expect(by_name["tuned"], by_name).count_kinds() == {}
    _, done = run_steps(steps, tmp_path)
    planned, _ = run_steps(steps, tmp_path, only_plan=True)
    by_name = {plan.step.name: plan for plan in planned}
    assert expect(by_name["held"], by_name).count_kinds() == {"helpful": 1}
    assert expect(by_name["held"], by_name).is_made and done["held"].rows()[0].kind == "helpful"


def test_a_step_that_is_both_learnt_from_and_measured_on(tmp_path, training):
    steps = pipeline(tmp_path, ["a", "b", "c"], ["x"])
    steps["answers"]["inputs"]["prompts"] = "red"
    planned, _ = run_steps(steps, tmp_path, only_plan=True)
    assert "WARNING all 3 prompts of 'red', on which models are measured" in shown(planned)
    _, done = run_steps(steps, tmp_path)
    (overlap,) = done["refusals"].metrics["overlap"]
    assert overlap == {"training": "red", "evaluation": "red", "shared": 3, "total": 3}
    steps["answers"]["inputs"]["model"] = "base"
    assert source_pairs(read_steps(steps, STAGES), "refusals") == [], "the base learnt nothing"


def test_requests_of_a_judges_examination_are_not_measured_on():
    """PALMS learns from texts of its own, and its judge is examined on the red-team requests."""
    steps = read_steps(composed_steps("pipeline=palms"), STAGES)
    pairs = source_pairs(steps, "evaluation")
    assert {other for _, other in pairs} == {"held_out", "held_out_helpful"}
    assert {one for one, _ in pairs} == {"values_targeted", "neutral"}


def test_disjoint_files_say_nothing(tmp_path, training):
    steps = pipeline(tmp_path, ["a", "b"], ["x", "y"])
    planned, _ = run_steps(steps, tmp_path, only_plan=True)
    assert "WARNING" not in shown(planned)
    _, done = run_steps(steps, tmp_path)
    assert "overlap" not in done["refusals"].metrics


@pytest.mark.parametrize("start", [0.5, 0.2])
def test_disjoint_shares_of_one_file_say_nothing(tmp_path, training, start):
    """Whichever step reads the file; shares that overlap are named."""
    texts = [str(number) for number in range(20)]
    steps = pipeline(tmp_path, texts, texts)
    steps["learnt"] = {"stage": "filter", "inputs": {"rows": "red"}, "share": [0, 0.5]}
    steps["samples"] = {"stage": "filter", "inputs": {"rows": "held"}, "share": [start, 1]}
    steps["tuned"]["inputs"]["rows"] = "learnt"
    steps["answers"]["inputs"]["prompts"] = "samples"
    planned, _ = run_steps(steps, tmp_path, only_plan=True)
    assert "WARNING" not in shown(planned)
    _, done = run_steps(steps, tmp_path)
    ids = [{row.id for row in done[name].rows()} for name in ("learnt", "samples")]
    shared = len(ids[0] & ids[1])
    assert (shared > 0) == (start < 0.5)
    overlaps = done["refusals"].metrics.get("overlap", [])
    assert sum(overlap["shared"] for overlap in overlaps) == shared
    assert {overlap["evaluation"] for overlap in overlaps} <= {"samples"}


def test_which_sources_are_compared(tmp_path, training):
    steps = pipeline(tmp_path, ["a"], ["b"])
    read = read_steps(steps, STAGES)
    assert source_pairs(read, "refusals") == [("red", "held")]
    assert source_pairs(read, "answers") == [], "not an evaluation"
    messages = [{"role": "user", "content": "A  b"}]
    system = [{"role": "system", "content": "s"}, {"role": "user", "content": "a b"}]
    rows = {
        "one": [Prompt(id="1", messages=messages, kind="")],
        "two": [Prompt(id="2", messages=system, kind="")],
    }
    (overlap,) = find_overlaps([("one", "two")], rows)
    assert (overlap.shared, overlap.total) == (1, 1)


def test_a_plan_shows_what_a_file_holds(tmp_path):
    path = tmp_path / "a.jsonl"
    talk = "\n\nHuman: q\n\nAssistant: a\n\nHuman: more [x]\n\nAssistant:"
    path.write_text("\n".join(json.dumps({"prompt": text}) for text in (talk, "b", "b", "")))
    steps = {"asked": {"stage": "prompts", "source": str(path)}}
    planned, _ = run_steps(steps, tmp_path, only_plan=True)
    text = shown(planned)
    assert "form: column prompt, cells: 1 transcript, 2 text" in text
    assert "4 records, 2 rows; dropped: 1 duplicate prompt, 1 no user turn" in text
    assert "    [user] q\n    [assistant] a\n    [user] more [x]\n" in text
    _, done = run_steps(steps, tmp_path)
    assert done["asked"].metrics["reading"]["example"][-1]["content"] == "more [x]"
    planned, _ = run_steps(steps, tmp_path, only_plan=True)
    assert "4 records, 2 rows" in shown(planned), "of a finished step, from its manifest"
    assert shown(planned, only_plan=False) == ""
    steps["asked"]["describe"] = True
    planned, _ = run_steps(steps, tmp_path, only_plan=True)
    assert planned[0].artifact, "it is no part of what identifies the rows"
    assert "4 records, 2 rows" in shown(planned, only_plan=False)


def test_a_plan_names_what_would_stop_and_what_it_did_not_read(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("promt\na\n")
    hub = {"stage": "prompts", "source": "owner/name"}
    steps = {"asked": {"stage": "prompts", "source": str(path)}, "hub": hub}
    planned, _ = run_steps(steps, tmp_path, only_plan=True)
    text = shown(planned)
    assert "asked: would stop:" in text and "no column 'prompt'. Did you mean 'promt'?" in text
    assert "hub: owner/name is read when it runs" in text


def test_kto_learns_from_a_file_of_unpaired_answers(tmp_path):
    records = [
        {"prompt": "q", "completion": "good one", "label": True},
        {"prompt": "r", "completion": "bad one", "label": False},
        {"prompt": "s", "completion": "another", "label": "true"},
    ]
    path = tmp_path / "kto.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in records))
    _, done = run_steps({"a": {"stage": "human_answers", "source": str(path)}}, tmp_path)
    assert done["a"].row_type is Rating
    examples, dropped = kto_examples.read_examples({"answers": done["a"]}, threshold=None)
    assert [(e["completion"][0]["content"], e["label"]) for e in examples] == [
        ("good one", True),
        ("bad one", False),
        ("another", True),
    ]
    assert not dropped
