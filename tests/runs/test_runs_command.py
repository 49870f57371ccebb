"""The command: lists, comparisons, labels and reports, of runs as run.py leaves them."""

import os
import subprocess
from pathlib import Path

import pytest

from stages.guards.errors import UserError
from stages.guards.locks import hold_lock
from stages.runs.__main__ import main
from stages.runs.disk import cost_of_runs, format_bytes
from stages.runs.headline import headline
from stages.runs.records import find_run, list_runs, open_run, register
from stages.runtime.artifacts import Artifact
from tests.runs_on_disk import NEWER, OLDER, record, write_run, write_status


@pytest.fixture
def runs_dir(tmp_path):
    write_run(tmp_path, OLDER, seed=0)
    write_run(tmp_path, NEWER, seed=1, pipeline="dpo", config={"seed": 1, "model": {"path": "b"}})
    return tmp_path


def show(capsys, *arguments) -> str:
    assert main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


def test_the_newest_run_comes_first_in_eighty_columns(runs_dir, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    shown = show(capsys, "list", "--runs-dir", runs_dir)
    lines = shown.splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 80
    assert lines[1].split()[:3] == ["bbb222", "11-27", "10:00"] and "dpo / world" in lines[1]
    assert lines[2].split()[:3] == ["aaa111", "11-26", "10:00"] and "finished" in lines[2]


def test_the_headline_is_that_of_the_last_measure(tmp_path):
    facts = {"measures": {"any_violation": {"value": 0.5, "low": 0, "high": 1, "n": 2}}}
    fewer = {"measures": {"any_violation": {"value": 0.25, "low": 0, "high": 1, "n": 2}}}
    folder = tmp_path / "logs" / NEWER
    write_run(tmp_path, NEWER)
    run = open_run(str(folder), tmp_path)
    assert headline(run) == ""
    artifacts = run.artifacts()
    manifest = artifacts["answers"].manifest
    measured = manifest.model_copy(
        update={
            "metrics": {"policies": {"base": facts, "tuned": fewer}},
            "payload": manifest.payload.model_copy(update={"stage": "evaluate"}),
        }
    )
    changed = Artifact("answers", artifacts["answers"].directory)
    vars(changed)["manifest"] = measured
    vars(run)["artifacts"] = lambda: {"answers": changed}
    assert headline(run) == "violations 25.0 %, base 50.0"


def test_two_runs_differ_in_what_their_configs_say(runs_dir, capsys):
    shown = show(capsys, "compare", "aaa111", "--runs-dir", runs_dir)
    words = [line.split() for line in shown.splitlines()]
    assert ["seed", "0", "1"] in words and ["model.path", "a", "b"] in words
    assert "runs_dir" not in shown
    assert "0 of 3 steps have the same artifact." in shown  # the seed is a part of each identity
    assert f"python -m stages.compare {runs_dir}/logs/{OLDER}" in shown


def test_runs_are_called_by_parts_labels_and_paths(runs_dir, tmp_path, capsys):
    runs = list_runs(runs_dir)
    assert find_run("last", runs).folder.name == NEWER
    assert find_run("aaa111", runs) == find_run("2026-11-26", runs) == runs[1]
    with pytest.raises(UserError, match="several runs are called so"):
        find_run("2026", runs)
    show(capsys, "label", "aaa111", "the-best", "--runs-dir", runs_dir)
    assert open_run("the-best", runs_dir) == runs[1]
    assert "the-best" in show(capsys, "list", "--runs-dir", runs_dir)
    assert main(["label", "aaa111", "not/one", "--runs-dir", str(runs_dir)]) == 2
    here = open_run(str(runs_dir / "logs" / OLDER), Path("elsewhere"))
    assert here.artifacts().keys() == {"base", "requests", "answers"}


def test_an_artifact_is_found_where_the_folder_of_runs_has_moved(runs_dir, tmp_path):
    moved = runs_dir.rename(tmp_path.parent / f"{tmp_path.name}-moved")
    record_of = open_run("bbb222", moved)
    assert {path.parent for path in record_of.steps.values()} == {moved / "artifacts"}
    assert len(record_of.artifacts()) == 3


def test_the_last_report_is_printed(runs_dir, capsys):
    assert main(["open", "--runs-dir", str(runs_dir)]) == 2
    assert "there is no report" in capsys.readouterr().err
    run = list_runs(runs_dir)[1]
    page = run.steps["answers"] / "report.html"
    page.write_text("x")
    assert show(capsys, "open", "--runs-dir", runs_dir).strip() == str(page)


def test_shared_files_are_counted_once_as_du_counts_them(runs_dir, tmp_path):
    first, second = reversed(list_runs(runs_dir))
    weights = os.urandom(200_000)
    for run in (first, second):
        (run.steps["answers"] / "model").mkdir()
    (first.steps["answers"] / "model" / "w").write_bytes(weights)
    os.link(first.steps["answers"] / "model" / "w", second.steps["answers"] / "model" / "w")
    (second.steps["answers"] / "own").write_bytes(weights)
    costs = cost_of_runs([first, second])
    for run in (first, second):
        files = [path for part in (run.folder, *run.steps.values()) for path in part.rglob("*")]
        names = [str(path) for path in files if path.is_file()]
        counted = subprocess.run(
            ["du", "-c", "-B1", *names], capture_output=True, text=True, check=True
        )
        assert costs[run.folder].total == int(counted.stdout.splitlines()[-1].split()[0])
    own = costs[second.folder].own - costs[first.folder].own
    assert 200_000 <= own < 220_000  # the shared file would not be free if either run went
    assert costs[first.folder].total - costs[first.folder].own >= 200_000
    assert format_bytes(999) == "999 B" and format_bytes(4_240_000) == "4.2 MB"


def test_the_jobs_of_a_sweep_are_one_line(runs_dir, capsys):
    sweep = runs_dir / "sweeps" / "2026-11-28_10-00-00-000000-ccc333"
    for number in range(3):
        record(sweep / str(number), {}, seed=number, variant="without:p1" if number else "full")
    write_status(sweep / "3", state="failed", seed=3, error="the server is gone")
    shown = show(capsys, "list", "--runs-dir", runs_dir)
    (line,) = [line for line in shown.splitlines() if "ccc333" in line]
    assert "0-3" in line and "3 finished" in shown and "4 jobs" in line
    shown = show(capsys, "list", "--jobs", "--runs-dir", runs_dir)
    assert "ccc333/3" in shown and "without:p1" in shown


def test_a_status_without_its_lock_is_that_of_a_killed_run(runs_dir, capsys):
    folder = runs_dir / "logs" / "2026-11-29_10-00-00-000000-ddd444"
    facts = {"step": "answers", "number": 3, "of": 9, "unit": "rows", "rate": 2.0, "left": 150.0}
    facts |= {"done": 30, "total": 120, "updated": "2026-11-27T12:00:00+0000", "pipeline": "cai"}
    write_status(folder, **facts)
    shown = show(capsys, "status", "--runs-dir", runs_dir)
    assert "ddd444" in shown and "killed" in shown and "in step answers" in shown
    with hold_lock(folder / "status.lock"):
        shown = show(capsys, "status", "--runs-dir", runs_dir)
    assert "step 3 of 9: answers" in shown
    assert "[######..................] 30/120 rows, 2/s, 2 min left" in shown
    assert "no news for" in shown
    finished = show(capsys, "status", "aaa111", "--runs-dir", runs_dir)
    assert "finished" in finished and "took 12 s" in finished


def test_a_run_elsewhere_is_listed_where_its_artifacts_lie(runs_dir, tmp_path):
    elsewhere = tmp_path / "my" / "place"
    record(elsewhere, {})
    assert elsewhere not in [run.folder for run in list_runs(runs_dir)]
    register(elsewhere, runs_dir)
    register(runs_dir / "logs" / OLDER, runs_dir)
    assert elsewhere in [run.folder for run in list_runs(runs_dir)]
    assert len(list((runs_dir / ".runs").iterdir())) == 1


def test_damaged_records_are_listed_and_mistakes_are_said(runs_dir, capsys):
    (runs_dir / "logs" / OLDER / "run.json").write_text("{")
    assert "aaa111" in show(capsys, "list", "--runs-dir", runs_dir)
    assert main(["list", "--runs-dir", str(runs_dir / "nothing")]) == 2
    assert main(["compare", "zzz", "--runs-dir", str(runs_dir)]) == 2
    assert "there is no such run" in capsys.readouterr().err


def test_a_run_is_not_compared_with_itself(runs_dir, capsys):
    assert main(["compare", "last", "--runs-dir", str(runs_dir)]) == 2
    assert "both are the run bbb222" in capsys.readouterr().err
