"""The runner: wiring mistakes, reuse, forecasts, ablations."""

import json

import pytest

from stages import STAGES
from stages.runtime.errors import UserError
from stages.runtime.pipeline import read_steps
from stages.runtime.rows import Revision
from tests.running import Seeded, fake_model, run_steps, text_pipeline, write_constitution


def test_second_run_sends_nothing(tmp_path):
    steps = text_pipeline(tmp_path)
    first = Seeded()
    _, done = run_steps(steps, tmp_path, first)
    assert first.calls == 80 + 80 * 4 + 40 * 16 * 2
    again = Seeded()
    planned, reused = run_steps(steps, tmp_path, again)
    assert again.calls == 0
    assert all(p.artifact for p in planned)
    assert {n: a.directory for n, a in done.items()} == {n: a.directory for n, a in reused.items()}


def test_every_row_can_be_traced_to_its_prompt(tmp_path):
    _, done = run_steps(text_pipeline(tmp_path), tmp_path)
    prompts = {row.id for row in done["requests"].rows()}
    answers = {row.id: row for row in done["answers"].rows()}
    assert {row.parent for row in answers.values()} == prompts
    assert {row.parent for row in done["revisions"].rows()} == set(answers)
    for pair in done["pairs"].rows():
        a, b = pair.parent.split("|")
        assert {pair.chosen, pair.rejected} == {answers[a].response, answers[b].response}
    manifest = done["judgements"].manifest
    assert manifest["rows"] + sum(manifest["dropped"].values()) == 40 * 16
    assert manifest["calls"]["sent"] == 40 * 16 * 2
    assert "versions" in manifest and manifest["payload"]["seed"] == 0


def test_dropping_one_of_16_reuses_nine_calls_in_ten(tmp_path):
    steps = text_pipeline(tmp_path, prompts=100)
    everything = Seeded()
    run_steps(steps, tmp_path, everything)
    without = Seeded()
    for step in ("revisions", "judgements", "pairs"):
        steps[step]["constitution"]["drop"] = ["p3"]
    planned, _ = run_steps(steps, tmp_path, without)
    asked = 200 + 200 * 4
    assert without.calls <= 0.1 * asked
    assert not without.chosen, "an ablation costs no judge call"
    by_name = {p.step.name: p for p in planned}
    assert by_name["answers"].artifact
    assert "constitution.p3 is gone" in by_name["revisions"].why
    forecast = by_name["revisions"].forecast
    assert forecast.rows == 200 and 0 < forecast.open_rows < 40
    assert by_name["judgements"].forecast.open_rows == 0


def test_an_edited_principle_is_named_and_touches_its_rows_only(tmp_path):
    steps = text_pipeline(tmp_path, prompts=60)
    _, before = run_steps(steps, tmp_path, Seeded())
    write_constitution(tmp_path / "set.yaml", p5="The response is something else entirely.")
    generator = Seeded()
    planned, after = run_steps(steps, tmp_path, generator)
    by_name = {p.step.name: p for p in planned}
    assert by_name["revisions"].why == "constitution.p5.text changed"
    assert by_name["pairs"].why == "inputs.judgements changed"
    assert len(generator.chosen) == 60 * 2
    old = {row.id: row for row in before["revisions"].rows(Revision)}
    touched = {row.parent for row in old.values() if row.principle == "p5"}
    assert by_name["revisions"].forecast.open_rows == len(touched)
    for row in after["revisions"].rows(Revision):
        if row.parent not in touched:
            assert row == old[row.id]


def test_a_title_or_tag_changes_nothing(tmp_path):
    steps = text_pipeline(tmp_path, prompts=3)
    run_steps(steps, tmp_path)
    path = tmp_path / "set.yaml"
    path.write_text(path.read_text().replace("name: test-set", "name: test-set\ntitle: Another title\nsource: somewhere"))
    assert all(p.artifact for p in run_steps(steps, tmp_path, only_plan=True)[0])


def test_new_weights_under_an_old_path_are_another_model(tmp_path):
    steps = text_pipeline(tmp_path, prompts=3)
    run_steps(steps, tmp_path)
    fake_model(tmp_path / "model", b"retrained")
    planned = {p.step.name: p for p in run_steps(steps, tmp_path, only_plan=True)[0]}
    assert planned["requests"].artifact and not planned["answers"].artifact
    assert planned["answers"].forecast.open_rows == 6
    moved = {**steps, "base": {"stage": "model", "path": str(fake_model(tmp_path / "elsewhere"))}}
    assert all(p.artifact for p in run_steps(moved, tmp_path, only_plan=True)[0])


def test_failure_keeps_what_is_done(tmp_path):
    def fail(messages):
        if "Critique" in messages[-1]["content"] and "number 7" in messages[0]["content"]:
            raise UserError("the server is gone", where="http://127.0.0.1:1", mend="start it")

    steps = text_pipeline(tmp_path, prompts=20)
    with pytest.raises(UserError, match="the server is gone"):
        run_steps(steps, tmp_path, Seeded(failure=fail))
    rest = Seeded()
    planned, _ = run_steps(steps, tmp_path, rest)
    assert next(p for p in planned if p.step.name == "answers").artifact
    assert rest.calls < 40 + 40 * 4 + 20 * 16 * 2


CIRCLE = {a: {"stage": "filter", "inputs": {"rows": b}} for a, b in ("xy", "yx")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": {"stage": "respnd"}}, "no stage is called 'respnd'. Did you mean 'respond'"),
        ({"x": {"stage": "respond", "inputs": {"prompts": "requests"}}}, "step 'x': .*needs the input 'model'"),
        ({"x": {"stage": "filter", "inputs": {"rows": "answer"}}}, "step 'answer' that does not exist. Did you mean 'answers'"),
        ({"x": CIRCLE["x"], "y": CIRCLE["y"]}, "wait for each other"),
        ({"x": {"stage": "filter", "inputs": {"rows": "answers"}, "limt": 3}}, "unknown option 'limt'. Did you mean 'limit'"),
        ({"x": {"stage": "filter", "inputs": {"rows": "answers", "row": "answers"}}}, "takes no input 'row'"),
        ({"x": {"stage": "revise", "inputs": {"responses": "answers", "model": "base"}}}, "'constitution' is missing"),
        ({"base": None, "requests": None, "answers": None, "revisions": None, "judgements": None, "pairs": None}, "no steps"),
    ],
)
def test_wiring_mistakes(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        read_steps({**text_pipeline(tmp_path), **change}, STAGES)


def test_wrong_rows_are_refused(tmp_path):
    steps = text_pipeline(tmp_path, prompts=3)
    steps["pairs"]["inputs"]["judgements"] = "answers"
    with pytest.raises(UserError, match="holds Response rows where Judgement rows are needed"):
        run_steps(steps, tmp_path)


def test_unknown_principle_in_drop(tmp_path):
    steps = text_pipeline(tmp_path)
    steps["revisions"]["constitution"]["drop"] = ["p33"]
    with pytest.raises(UserError, match=r"no principle 'p33'. Did you mean 'p3'"):
        run_steps(steps, tmp_path)


def test_the_artifact_explains_itself(tmp_path):
    _, done = run_steps(text_pipeline(tmp_path, prompts=3), tmp_path)
    manifest = json.loads((done["revisions"].directory / "manifest.json").read_text())
    assert manifest["payload"]["options"]["constitution"]["p0"]["text"] == "The response keeps rule number 0."
    assert manifest["payload"]["inputs"]["responses"] == done["answers"].fingerprint


def test_the_order_of_policies_is_part_of_an_identity(tmp_path):
    steps = text_pipeline(tmp_path, prompts=4)
    run_steps(steps, tmp_path)
    swapped = {**steps, "answers": {**steps["answers"], "inputs": {"model": "base", "prompts": "requests"}}}
    planned = {p.step.name: p for p in run_steps(swapped, tmp_path, only_plan=True)[0]}
    assert planned["answers"].artifact is None and planned["answers"].forecast.open_rows == 0
