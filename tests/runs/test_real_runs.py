"""`python run.py` as a user starts it: what it leaves behind is what the command lists."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages.runs.prune import prune
from stages.runs.records import list_runs

ROOT = Path(__file__).resolve().parents[2]
DPO = ["pipeline=dpo", "generator=transformers", "data.red_team.limit=24", "data.helpful.limit=8"]


def start(runs_dir, *arguments) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "run.py", f"runs_dir={runs_dir}", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
def test_a_run_says_what_to_try_next_and_is_listed(tmp_path):
    process = start(tmp_path, *DPO, "until=red_team")
    shown, _ = process.communicate(timeout=100)
    assert process.returncode == 0, shown
    (run,) = list_runs(tmp_path)
    assert shown.splitlines()[-1] == f"Next, what it shows: python -m stages.runs open {run.folder}"
    assert (run.state, run.pipeline, run.seed, run.constitution) == ("finished", "dpo", 0, "world")
    assert set(run.steps) == {"red_team"} and not run.is_live
    elsewhere = tmp_path / "elsewhere"
    process = start(tmp_path, *DPO, "until=red_team", f"hydra.run.dir={elsewhere}")
    process.communicate(timeout=100)
    assert {one.folder for one in list_runs(tmp_path)} == {run.folder, elsewhere}
    process = start(tmp_path, *DPO, "plan=true")
    process.communicate(timeout=100)
    assert len(list_runs(tmp_path)) == 2  # a plan is no run


@pytest.mark.slow
def test_a_killed_run_is_known_and_its_steps_stay(tmp_path):
    process = start(tmp_path, *DPO, "until=judgements")
    deadline = time.monotonic() + 100
    try:
        while time.monotonic() < deadline and process.poll() is None:
            runs = list_runs(tmp_path)
            if runs and runs[0].status.get("step"):
                break
            time.sleep(0.05)
        (run,) = runs
        assert run.state == "running" and run.is_live
        assert run.steps.keys() >= {"red_team", "samples", "judgements"}
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    (run,) = list_runs(tmp_path)
    assert run.state == "killed"
    before = sorted(path.name for path in (tmp_path / "artifacts").iterdir())
    prune(tmp_path, lambda: list_runs(tmp_path), print)
    after = sorted(path.name for path in (tmp_path / "artifacts").iterdir())
    assert set(before) <= {*after, ".pruned"}
