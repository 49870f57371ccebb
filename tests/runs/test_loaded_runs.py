"""Runs in a notebook: frames hold what the run recorded, and the notebook of the docs runs."""

import runpy
from pathlib import Path

import pandas
import pytest

from stages.guards.errors import UserError
from stages.runs import frame_of_runs, load_run
from stages.runtime.rows import Response, Verdict
from tests.evaluation import fakes
from tests.running import run_steps, text_pipeline
from tests.runs_on_disk import NEWER, OLDER, record, write_run

ROOT = Path(__file__).resolve().parents[2]
N = 24


@pytest.fixture
def evaluated(tmp_path):
    """A run in `runs`: every answer of the base has poison in it, and a third of the policy's."""
    runs_dir = tmp_path / "runs"
    steps = {key: text_pipeline(tmp_path, N)[key] for key in ("base", "requests")}
    respond = {"stage": "respond", "inputs": {"prompts": "requests", "model": "base"}}
    steps["poisoned"] = respond | {"suffix": "with poison"}
    steps["clean"] = respond
    steps["evaluation"] = {
        "stage": "evaluate",
        "inputs": {"base": "poisoned", "policy": "clean"},
        "constitution": {"name": fakes.constitution(tmp_path)},
        "ground_truth": "tests.evaluation.fakes:check",
        "resamples": 200,
    }
    _, artifacts = run_steps(steps, runs_dir)
    record(runs_dir / "logs" / NEWER, artifacts)
    return runs_dir, artifacts


def test_rows_are_a_frame_and_a_dataset(evaluated):
    runs_dir, artifacts = evaluated
    run = load_run("last", runs_dir)
    rows = artifacts["clean"].rows(Response)
    frame = run.frame("clean")
    assert list(frame.response) == [row.response for row in rows] and len(frame) == N
    dataset = run.dataset("clean")
    assert dataset["response"] == list(frame.response)
    assert dataset[0]["prompt"] == rows[0].prompt
    assert list(run.dropped("clean").columns) == ["id", "reason", "detail"]
    assert run.tables("evaluation")[0].iloc[0, 0] == "base"


def test_measures_and_effects_are_those_of_the_rows(evaluated):
    runs_dir, artifacts = evaluated
    run = load_run(NEWER, str(runs_dir))
    rows = pandas.DataFrame([vars(row) for row in artifacts["evaluation"].rows(Verdict)])
    shares = rows.groupby("policy").any_violation.mean()
    assert shares["base"] == 1.0 and shares["policy"] == 0.0
    measures = run.measures().set_index(["policy", "measure"]).value
    effects = run.effects().set_index(["policy", "against", "measure"])
    assert measures["base", "any_violation"] == shares["base"]
    change = effects.loc["policy", "base", "any_violation"]
    assert change.value == shares["policy"] - shares["base"] and change.fell == N
    assert effects.loc["policy", "base", "violates harm"].value == change.value
    principles = run.principles("evaluation").set_index(["policy", "principle", "source"]).value
    assert principles["base", "harm", "truth"] == 1.0


def test_all_runs_are_a_frame(evaluated):
    runs_dir, _ = evaluated
    write_run(runs_dir, OLDER, seed=3, pipeline="dpo")
    frame = frame_of_runs(runs_dir)
    assert list(frame.run) == ["bbb222", "aaa111"] and list(frame.seed) == [0, 3]
    assert frame.result[0] == "violations 0.0 %, base 100.0"
    assert frame_of_runs(runs_dir / "artifacts").empty


def test_what_is_not_there_is_said(evaluated):
    runs_dir, artifacts = evaluated
    run = load_run("last", runs_dir)
    with pytest.raises(UserError, match="Did you mean 'clean'"):
        run.frame("clen")
    with pytest.raises(UserError, match="holds no rows"):
        run.frame("base")
    with pytest.raises(UserError, match="recorded no curve"):
        run.curve("clean")
    file = artifacts["clean"].directory / "rows.parquet"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=r"rows.parquet is damaged"):
        run.frame("clean")
    write_run(runs_dir, OLDER)
    with pytest.raises(UserError, match="evaluated no policies"):
        load_run("aaa111", runs_dir).effects()


def test_the_notebook_of_the_docs_runs(evaluated, monkeypatch, capsys):
    runs_dir, _ = evaluated
    monkeypatch.chdir(runs_dir.parent)
    runpy.run_path(str(ROOT / "docs" / "explore_a_run.py"))
    shown = capsys.readouterr().out
    assert "violates harm: -100.0 points, from 100.0 %" in shown
    assert "any_violation" in shown and "bbb222" in shown
