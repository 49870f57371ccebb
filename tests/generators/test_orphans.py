"""An engine's process does not outlive the run that started it, however that ended."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

PARENT = """
import multiprocessing, pathlib, sys, time
from stages.generators.vllm_process import redirect_children
with redirect_children(pathlib.Path(sys.argv[2])):
    child = multiprocessing.get_context(sys.argv[1]).Process(target=time.sleep, args=(60,))
    child.start()
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's")
@pytest.mark.parametrize("wait", [0, 1])  # killed before its child is up, and after
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_child_dies_with_its_parent(method, wait, tmp_path):
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", PARENT, method, str(tmp_path / "log")]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        psutil.wait_procs([child], timeout=wait)
        assert child.is_running()
        parent.kill()
    _, alive = psutil.wait_procs([child], timeout=10)
    for process in alive:
        process.kill()
    assert not alive
