"""The status of a run: whole at any time, at most once a second, and true at the end."""

import io
import itertools
import json

import pytest

from stages.guards.console import open_console
from stages.guards.errors import UserError
from stages.guards.locks import is_locked
from stages.runtime import progress
from stages.runtime.progress import STATUS, STATUS_LOCK, progress_bar, report, show_status
from tests.running import run_steps, text_pipeline


def read(folder) -> dict:
    return json.loads((folder / STATUS).read_text())


def test_a_step_counts_once_a_second_and_at_its_end(tmp_path, monkeypatch):
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    written = []
    replace = progress.os.replace
    monkeypatch.setattr(
        progress.os, "replace", lambda old, new: (written.append(now), replace(old, new))
    )
    console = open_console(file=io.StringIO())
    with show_status(tmp_path):
        report(state="running", step="answers", number=2, of=5)
        before = len(written)
        with progress_bar(console, "rows") as bar:
            task = bar.add_task("answers", total=1000)
            for _ in range(1000):
                now += 0.01
                bar.advance(task)
        # ten seconds: nine or ten times, and once for the last row
        assert 9 <= len(written) - before <= 11
        counts = written[before:-1]
        gaps = [b - a for a, b in itertools.pairwise(counts)]
        assert min(gaps) >= 1.0
        status = read(tmp_path)
        assert (status["done"], status["total"], status["unit"]) == (1000, 1000, "rows")
        assert status["state"] == "running" and status["step"] == "answers"
        with progress_bar(console, "steps", hidden=True) as bar:  # a forecast is no progress
            task = bar.add_task("x", total=1)
            bar.advance(task)
        assert read(tmp_path) == status
        report(step="next", number=3, of=5)
        assert read(tmp_path)["done"] is None
    assert read(tmp_path)["state"] == "finished"


def test_it_says_how_the_run_ended(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_API_KEY", "sk-secret-0123456789")
    with pytest.raises(UserError), show_status(tmp_path):
        assert is_locked(tmp_path / STATUS_LOCK)
        assert read(tmp_path)["state"] == "planning"
        raise UserError("the server refuses sk-secret-0123456789", where="x", fix="y")
    status = read(tmp_path)
    assert status["state"] == "failed" and "the server refuses" in status["error"]
    assert "sk-secret" not in status["error"] and not is_locked(tmp_path / STATUS_LOCK)
    with pytest.raises(KeyboardInterrupt), show_status(tmp_path):
        raise KeyboardInterrupt
    assert read(tmp_path)["state"] == "interrupted"


def test_a_status_that_cannot_be_written_stops_nothing(tmp_path):
    with show_status(tmp_path):
        (tmp_path / STATUS).unlink()
        (tmp_path / STATUS).mkdir()
        report(step="answers")
    report(step="outside of a run")


def test_the_runner_reports_the_steps_that_it_runs(tmp_path, monkeypatch):
    steps = {key: text_pipeline(tmp_path, 4)[key] for key in ("base", "requests")}
    steps["answers"] = {"stage": "respond", "inputs": {"prompts": "requests", "model": "base"}}
    seen = []
    write = progress.StatusFile.write
    monkeypatch.setattr(
        progress.StatusFile,
        "write",
        lambda self, **facts: (seen.append(facts), write(self, **facts)),
    )
    for _ in range(2):
        with show_status(tmp_path):
            run_steps(steps, tmp_path)
    named = [(f["step"], f["number"], f["of"]) for f in seen if "step" in f]
    assert named == [("requests", 2, 3), ("answers", 3, 3)]  # the second time all are reused
    assert read(tmp_path)["state"] == "finished"
