"""What launched training processes get and leave: why they died, and no key."""

import asyncio
import json
import os
import signal
import sys
import threading
import time

import pytest

from stages.guards import secrets
from stages.guards.console import open_console
from stages.guards.errors import UserError
from stages.guards.secrets import remember_secret
from stages.runtime.calls import Engines
from stages.runtime.context import Context
from stages.runtime.pipeline import launch as launching
from stages.runtime.pipeline.launch import first_error
from stages.runtime.store import CallStore
from tests.runtime.pipeline import keyed_stage

CAUSE = "ValueError: loss is odd"


@pytest.mark.parametrize("prefix", ["", "[rank1]: "])
def test_the_first_traceback_is_the_cause(tmp_path, prefix):
    log = tmp_path / "log.txt"
    lines = [
        "/usr/lib/x.py:3: FutureWarning: soon",
        f"{prefix}Traceback (most recent call last):",
        f'{prefix}  File "x.py", line 3, in f',
        f"{prefix}{CAUSE}",
        "[rank0]: RuntimeError: Connection closed by peer",
        "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: ",
    ]
    log.write_text("\n".join(lines) + "\n")
    assert first_error(log) == f": {CAUSE}"


def test_a_killed_process_leaves_no_traceback(tmp_path):
    log = tmp_path / "log.txt"
    log.write_text("torch.distributed.elastic.multiprocessing.errors.ChildFailedError: x\n")
    assert first_error(log) == ""


def test_a_sigterm_reaches_the_processes_which_end_in_their_own_time(tmp_path):
    """They write what they have, and the run ends with the code of a stop."""
    saver = (
        "import pathlib, signal, sys, time;"
        "signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path('saved').touch(), sys.exit(3)));"
        "pathlib.Path('ready').touch(); time.sleep(60)"
    )
    command = [sys.executable, "-c", f"import os; os.chdir({str(tmp_path)!r}); {saver}"]
    store = CallStore(tmp_path / "calls.sqlite")
    before = signal.getsignal(signal.SIGTERM)

    def stop():
        while not (tmp_path / "ready").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    with asyncio.Runner() as loop:
        console = open_console(quiet=True)
        context = Context("s", tmp_path, 0, store, Engines("none", {}), loop, console)
        threading.Thread(target=stop, daemon=True).start()
        with pytest.raises(SystemExit) as ended:
            launching._wait(command, tmp_path, context, [])
    assert ended.value.code == launching.STOPPED == 143
    assert (tmp_path / "saved").exists() and signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("fails", [False, True])
def test_a_key_reaches_the_processes_and_no_file(tmp_path, monkeypatch, fails):
    monkeypatch.setattr(secrets, "_used", {})
    key = "planted-value-in-a-job"
    remember_secret(key)  # as when the config is read
    ranks = 1 if fails else 2
    monkeypatch.setattr(launching, "_command", lambda folder, _: worker_of(folder, ranks))
    store = CallStore(tmp_path / "calls.sqlite")
    options = {"extra": {"api_key": key}, "endpoints": ["http://127.0.0.1:9/v1"]}
    stage = "tests.runtime.pipeline.keyed_stage"
    with asyncio.Runner() as loop:
        engines = Engines("server", options)
        context = Context("s", tmp_path, 0, store, engines, loop, open_console(quiet=True))
        config = keyed_stage.Config(args={"hub_token": key, "fails": fails})
        if fails:
            with pytest.raises(UserError, match="the hub refuses") as caught:
                launching.launch(stage, config, {}, context, launching.Launcher(processes=2))
            assert "in run\n" in str(caught.value.__cause__), "its traceback, for the run's log"
        else:
            result = launching.launch(stage, config, {}, context, launching.Launcher(processes=2))
            assert result.metrics == {"letters": len(key), "same": True, "inherited": False}
            counts = {"stored": 0, "sent": 4, "tokens": 0, "failed": 1}
            assert context.tally.call_counts() == counts, "those of both ranks"
            assert context.tally.masses == [0.5] * 2 and context.tally.longest == 7
    store.close()
    job = json.loads((tmp_path / "launch" / "job.json").read_text())
    assert job["config"]["args"]["hub_token"] == "***0"
    assert "a library prints ***" in (tmp_path / "launch" / "log.txt").read_text()
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or key.encode() not in path.read_bytes(), path


def test_the_cause_of_a_mistake_reaches_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(launching, "_command", lambda folder, _: worker_of(folder))
    store = CallStore(tmp_path / "calls.sqlite")
    with asyncio.Runner() as loop:
        options = {"extra": {}, "endpoints": ["http://127.0.0.1:9/v1"]}
        engines = Engines("server", options)
        context = Context("s", tmp_path, 0, store, engines, loop, open_console(quiet=True))
        config = keyed_stage.Config(args={"hub_token": "", "refuses": True})
        stage = "tests.runtime.pipeline.keyed_stage"
        with pytest.raises(UserError, match="no such layer") as caught:
            launching.launch(stage, config, {}, context, launching.Launcher(processes=2))
    store.close()
    cause = str(caught.value.__cause__)
    assert "KeyError: 'layer'" in cause and "in run\n" in cause


def worker_of(folder, ranks=1):
    worker = [sys.executable, "-m", "stages.runtime.pipeline.worker", str(folder / "job.json")]
    other = f"RANK=1 {' '.join(worker)} & " * (ranks - 1)
    return ["sh", "-c", f"{other}{' '.join(worker)}; code=$?; wait; exit $code"]
