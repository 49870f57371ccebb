"""kill -9 at random moments: nothing done is lost, nothing is done twice, the rows are byte-equal."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.runtime.killed_run import IN_FLIGHT

ROOT = Path(__file__).resolve().parents[2]
KILLS = 20


def start(folder: Path) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", "tests.runtime.killed_run", str(folder)], cwd=ROOT, start_new_session=True)


def calls(folder: Path) -> int:
    log = folder / "calls.log"
    return log.stat().st_size if log.exists() else 0


@pytest.mark.slow
def test_twenty_kills(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    assert start(whole).wait() == 0
    needed = calls(whole)
    moments = random.Random(5)
    kills = 0
    targets = sorted(moments.randrange(1, needed) for _ in range(KILLS))
    for target in targets:  # a moment is a number of calls, so that slow and fast machines are hit at the same places
        run = start(broken)
        while run.poll() is None and calls(broken) < target + kills * IN_FLIGHT // 2:
            time.sleep(0.001)
        if run.poll() is None:
            os.kill(run.pid, signal.SIGKILL)
            kills += 1
        run.wait()
    assert start(broken).wait() == 0
    assert kills >= KILLS // 2
    assert calls(broken) <= needed + kills * IN_FLIGHT, "a rerun resends at most what was in flight"
    files = sorted(p.relative_to(whole) for p in whole.glob("artifacts/*/rows.parquet"))
    assert len(files) == 5
    for file in files:
        assert (whole / file).read_bytes() == (broken / file).read_bytes(), file
