"""kill -9 at random moments: nothing done is lost or done twice, and the rows are byte-equal."""

import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.runtime.killed_run import IN_FLIGHT

ROOT = Path(__file__).resolve().parents[2]
KILLS = 20


def start(folder: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.runtime.killed_run", str(folder)],
        cwd=ROOT,
        start_new_session=True,
    )


def calls(folder: Path) -> int:
    log = folder / "calls.log"
    return log.stat().st_size if log.exists() else 0


@pytest.mark.slow
def test_twenty_kills(tmp_path):
    whole = tmp_path / "whole"
    whole.mkdir()
    assert start(whole).wait() == 0
    needed = calls(whole)
    rows = {
        path.relative_to(whole): path.read_bytes()
        for path in whole.glob("artifacts/*/rows.parquet")
    }
    assert len(rows) == 5

    def kill_and_rerun(number: int, moment: int) -> None:
        broken = tmp_path / f"broken-{number}"
        broken.mkdir()
        run = start(broken)
        while calls(broken) < moment:
            assert run.poll() is None
            time.sleep(0.001)
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        assert start(broken).wait() == 0
        assert calls(broken) <= needed + IN_FLIGHT, "a rerun resends at most what was in flight"
        for path, content in rows.items():
            assert (broken / path).read_bytes() == content, path

    # A moment is a number of calls, so that slow and fast machines are hit at the same places.
    moments = random.Random(5).sample(range(1, needed - IN_FLIGHT), KILLS)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(kill_and_rerun, range(KILLS), moments))
