"""The runner: wiring mistakes, reuse, forecasts, ablations."""

import copy
import dataclasses
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from stages import STAGES
from stages.guards.errors import UserError
from stages.report import report
from stages.runtime.artifacts import Result
from stages.runtime.models import find_model
from stages.runtime.pipeline.runner import Runner
from stages.runtime.pipeline.steps import read_steps
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


def test_runs_side_by_side_share_the_work(tmp_path):
    """Whoever comes first to a step makes it; the others wait for it and read it."""
    steps = text_pipeline(tmp_path)
    both, start = [Seeded(), Seeded()], threading.Barrier(2)

    def run(generator):
        start.wait(10)
        return run_steps(copy.deepcopy(steps), tmp_path, generator)[1]

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(run, both)
    assert {name: a.directory for name, a in one.items()} == {
        name: a.directory for name, a in other.items()
    }
    assert sum(generator.calls for generator in both) == 80 + 80 * 4 + 40 * 16 * 2, (
        "no call is sent twice"
    )


def test_a_step_knows_which_steps_the_run_made(tmp_path, monkeypatch):
    """Not those that were there, nor what another run made while this one waited, nor a pointer to
    a model.
    """
    new_steps = []
    text = text_pipeline(tmp_path, prompts=3)

    def run(config, inputs, context):
        new_steps.append(context.new_steps)
        return Result()

    monkeypatch.setattr(report, "STAGE", dataclasses.replace(report.STAGE, run=run))
    whole = copy.deepcopy(text)
    steps = text | {"report": {"stage": "report", "inputs": {"pairs": "pairs"}}}
    run_steps(copy.deepcopy(steps), tmp_path)
    assert new_steps == [{"requests", "answers", "revisions", "judgements", "pairs"}]
    assert run_steps(copy.deepcopy(steps), tmp_path)[0][-1].artifact, (
        "what was made is no part of an identity"
    )
    steps["pairs"]["keep"] = 0.5
    run_steps(copy.deepcopy(steps), tmp_path)
    assert new_steps[1:] == [{"pairs"}]

    plan = Runner.plan

    def plan_and_be_overtaken(self, given):
        planned = plan(self, given)
        monkeypatch.setattr(Runner, "plan", plan)
        run_steps(copy.deepcopy(whole), tmp_path, seed=5)
        return planned

    monkeypatch.setattr(Runner, "plan", plan_and_be_overtaken)
    run_steps(copy.deepcopy(steps), tmp_path, seed=5)
    assert new_steps[2:] == [{"pairs"}], "only this run keeps half of the pairs"


def test_every_row_can_be_traced_to_its_prompt(tmp_path):
    _, done = run_steps(text_pipeline(tmp_path), tmp_path)
    prompts = {row.id for row in done["requests"].rows()}
    answers = {row.id: row for row in done["answers"].rows()}
    assert {row.prompt_id for row in answers.values()} == prompts
    assert {row.response_id for row in done["revisions"].rows()} == set(answers)
    for pair in done["pairs"].rows():
        assert {pair.chosen_id, pair.rejected_id} == set(pair.id.split("|"))
        chosen, rejected = answers[pair.chosen_id], answers[pair.rejected_id]
        assert (pair.chosen, pair.rejected) == (chosen.response, rejected.response)
        assert pair.prompt_id == chosen.prompt_id == rejected.prompt_id
    manifest = done["judgements"].manifest
    assert manifest.rows + sum(manifest.dropped.values()) == 40 * 16
    assert manifest.calls.sent == 40 * 16 * 2
    assert manifest.versions and manifest.payload.seed == 0


def test_dropping_one_of_16_reuses_nine_calls_in_ten(tmp_path):
    steps = text_pipeline(tmp_path, prompts=100)
    run_steps(steps, tmp_path, Seeded())
    without = Seeded()
    for step in ("revisions", "judgements", "pairs"):
        steps[step]["constitution"]["drop"] = ["p3"]
    planned, _ = run_steps(steps, tmp_path, without)
    asked = 200 + 200 * 4
    assert without.calls <= 0.1 * asked
    assert not without.chosen, "an ablation costs no judge call"
    by_name = {p.step.name: p for p in planned}
    assert by_name["answers"].artifact
    assert "constitution.p3 is gone" in by_name["revisions"].reason
    forecast = by_name["revisions"].forecast
    assert forecast.rows == 200 and 0 < forecast.open_rows < 40
    assert by_name["judgements"].forecast.open_rows == 0


def test_an_edited_principle_is_named_and_touches_its_rows_only(tmp_path):
    steps = text_pipeline(tmp_path, prompts=20)
    _, before = run_steps(steps, tmp_path, Seeded())
    write_constitution(tmp_path / "set.yaml", p5="The response is something else entirely.")
    generator = Seeded()
    planned, after = run_steps(steps, tmp_path, generator)
    by_name = {p.step.name: p for p in planned}
    assert by_name["revisions"].reason == "constitution.p5.text changed"
    assert by_name["pairs"].reason == "inputs.judgements changed"
    assert len(generator.chosen) == 20 * 2
    old = {row.id: row for row in before["revisions"].rows(Revision)}
    touched = {row.response_id for row in old.values() if row.principle == "p5"}
    assert by_name["revisions"].forecast.open_rows == len(touched)
    for row in after["revisions"].rows(Revision):
        if row.response_id not in touched:
            assert row == old[row.id]


def test_a_miss_is_explained_against_the_nearest_run_and_not_the_latest(tmp_path):
    steps = text_pipeline(tmp_path, prompts=3)
    run_steps(steps, tmp_path)
    run_steps(steps, tmp_path, seed=1)
    write_constitution(tmp_path / "set.yaml", p5="The response is something else entirely.")
    why = {p.step.name: p.reason for p in run_steps(steps, tmp_path, only_plan=True)[0]}
    assert why["revisions"] == "constitution.p5.text changed"


def test_a_title_or_tag_changes_nothing(tmp_path):
    steps = text_pipeline(tmp_path, prompts=3)
    run_steps(steps, tmp_path)
    path = tmp_path / "set.yaml"
    path.write_text(
        path.read_text().replace(
            "name: test-set", "name: test-set\ntitle: Another title\nsource: somewhere"
        )
    )
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
            raise UserError("the server is gone", where="http://127.0.0.1:1", fix="start it")

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
        (
            {"x": {"stage": "respond", "inputs": {"prompts": "requests"}}},
            "step 'x': .*needs the input 'model'",
        ),
        (
            {"x": {"stage": "filter", "inputs": {"rows": "answer"}}},
            "unknown step 'answer'. Did you mean 'answers'",
        ),
        ({"x": CIRCLE["x"], "y": CIRCLE["y"]}, "wait for each other"),
        (
            {"x": {"stage": "filter", "inputs": {"rows": "answers"}, "limt": 3}},
            "unknown option 'limt'. Did you mean 'limit'",
        ),
        (
            {"x": {"stage": "filter", "inputs": {"rows": "answers", "row": "answers"}}},
            "takes no input 'row'",
        ),
        (
            {"x": {"stage": "revise", "inputs": {"responses": "answers", "model": "base"}}},
            "neither a constitution nor an input",
        ),
        (
            {
                "base": None,
                "requests": None,
                "answers": None,
                "revisions": None,
                "judgements": None,
                "pairs": None,
            },
            "no steps",
        ),
    ],
)
def test_wiring_mistakes(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        read_steps({**text_pipeline(tmp_path), **change}, STAGES)


def test_wrong_rows_are_refused(tmp_path):
    steps = text_pipeline(tmp_path, prompts=3)
    steps["pairs"]["inputs"]["judgements"] = "answers"
    with pytest.raises(
        UserError,
        match=r"'answers', which gives rows of Response, not rows of Judgement\n.*judgements",
    ):
        run_steps(steps, tmp_path)


def test_unknown_principle_in_drop(tmp_path):
    steps = text_pipeline(tmp_path)
    steps["revisions"]["constitution"]["drop"] = ["p33"]
    with pytest.raises(UserError, match=r"no principle 'p33'. Did you mean 'p3'"):
        run_steps(steps, tmp_path)


def test_the_artifact_explains_itself(tmp_path):
    _, done = run_steps(text_pipeline(tmp_path, prompts=3), tmp_path)
    manifest = json.loads((done["revisions"].directory / "manifest.json").read_text())
    assert (
        manifest["payload"]["options"]["constitution"]["p0"]["text"]
        == "The response keeps rule number 0."
    )
    assert manifest["payload"]["inputs"]["responses"] == done["answers"].fingerprint


def test_the_order_of_policies_is_part_of_an_identity(tmp_path):
    steps = text_pipeline(tmp_path, prompts=4)
    run_steps(steps, tmp_path)
    swapped = {
        **steps,
        "answers": {**steps["answers"], "inputs": {"model": "base", "prompts": "requests"}},
    }
    planned = {p.step.name: p for p in run_steps(swapped, tmp_path, only_plan=True)[0]}
    assert planned["answers"].artifact is None and planned["answers"].forecast.open_rows == 0


def test_the_order_of_shown_principles_is_part_of_an_identity(tmp_path):
    steps = text_pipeline(tmp_path, prompts=2)
    lines = write_constitution(tmp_path / "set.yaml", 3).read_text().splitlines()
    steps["answers"] |= {
        "context": "principles",
        "constitution": {"name": str(tmp_path / "set.yaml")},
    }
    run_steps(steps, tmp_path)
    (tmp_path / "set.yaml").write_text(
        "\n".join([*lines[:2], *lines[4:6], *lines[2:4], *lines[6:]]) + "\n"
    )
    planned = {p.step.name: p for p in run_steps(steps, tmp_path, only_plan=True)[0]}
    assert (
        planned["answers"].reason == "order changed" and planned["answers"].forecast.open_rows == 4
    )


@pytest.mark.parametrize("step", ["answers", "revisions"])
def test_what_only_a_users_template_reads_counts_where_it_is_used(tmp_path, step):
    mine = {"answers": "{{ principles[0].opposite }}", "revisions": "{{ principle.opposite }}"}[
        step
    ]
    (tmp_path / "mine.jinja").write_text(mine)
    steps = text_pipeline(tmp_path, prompts=2)
    path = write_constitution(tmp_path / "set.yaml", 1)
    path.write_text(path.read_text() + "    opposite: It does not.\n")
    steps["answers"] |= {"context": "principles", "constitution": {"name": str(path)}}
    option = {"answers": "template", "revisions": "critique_template"}[step]
    for given, reused in (({}, True), ({option: str(tmp_path / "mine.jinja")}, False)):
        steps[step] |= given
        run_steps(steps, tmp_path)
        path.write_text(path.read_text().replace("It does not.", "It really does not."))
        planned = {p.step.name: p for p in run_steps(steps, tmp_path, only_plan=True)[0]}
        assert bool(planned[step].artifact) == reused
        path.write_text(path.read_text().replace("really ", ""))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{{ '\xff' }}", "not UTF-8"),
        (b"{{ 1 / 0 }}", "cannot be rendered: division"),
        (b"{% if %}", "does not parse"),
    ],
)
def test_broken_templates(tmp_path, content, message):
    (tmp_path / "mine.jinja").write_bytes(content)
    steps = text_pipeline(tmp_path, prompts=2, critique_template=str(tmp_path / "mine.jinja"))
    with pytest.raises(UserError, match=message):
        run_steps(steps, tmp_path, only_plan=b"/" not in content)


@pytest.mark.parametrize(
    ("step", "change", "message"),
    [
        ("judgements", {"per_pair": 0}, "'per_pair'.*greater than or equal to 1"),
        ("requests", {"limit": -1}, "'limit'.*greater than or equal to 1"),
        ("requests", {"offset": -1}, "'offset'.*greater than or equal to 0"),
        (
            "answers",
            {"sampling": {"temperature": float("inf")}},
            "'sampling.temperature'.*finite number",
        ),
        (
            "requests",
            {"arguments": {"a": [1.0, float("nan")]}},
            "'arguments.a' must be a finite number",
        ),
    ],
)
def test_options_out_of_range(tmp_path, step, change, message):
    steps = text_pipeline(tmp_path)
    steps[step] |= change
    with pytest.raises(UserError, match=f"step '{step}': option {message}"):
        read_steps(steps, STAGES)


@pytest.mark.parametrize("steps", [None, "abc", ["respond"], {}])
def test_no_steps_at_all(steps):
    with pytest.raises(UserError, match="no steps"):
        read_steps(steps, STAGES)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("abc", "step 'x': a step is a mapping, not 'abc'"),
        ({"stage": ["respond"]}, r"no stage is called \['respond'\]"),
        ({"stage": "filter", "inputs": "answers"}, "`inputs` is a mapping, not 'answers'"),
        (
            {"stage": "filter", "inputs": {"rows": ["answers"]}},
            r"names the unknown step \['answers'\]",
        ),
    ],
)
def test_misshapen_steps(tmp_path, step, message):
    with pytest.raises(UserError, match=message):
        read_steps({**text_pipeline(tmp_path), "x": step}, STAGES)


def test_a_mistyped_model_folder_is_no_hub_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    with pytest.raises(UserError, match="no such model folder"):
        find_model("runs/nope")
    assert find_model("Qwen/Qwen3-0.6B").path == "Qwen/Qwen3-0.6B"
