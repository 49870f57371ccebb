"""run.py in a forked child, which saves the seconds of its imports."""

import importlib
import os
import runpy
import sys
import traceback
from pathlib import Path

from stages import STAGES

ROOT = Path(__file__).resolve().parents[2]


def import_credo() -> None:
    """Import what a plan needs, so that children find it there."""
    for location in STAGES.values():
        importlib.import_module(location.partition(":")[0])
    others = ("hydra", "aiohttp", "pyarrow.parquet", "pandas", "scipy.stats", "statsmodels.api")
    for name in others:
        importlib.import_module(name)


def run_forked(arguments: list[str], log: Path) -> int:
    """Run `python run.py` with these arguments and return its exit code.

    Args:
        log: gets what it prints.
    """
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 99
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        os.chdir(ROOT)
        code = run_here(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def run_here(arguments: list[str]) -> int:
    """Run it in this process."""
    sys.argv = ["run.py", *arguments]
    try:
        runpy.run_path(str(ROOT / "run.py"), run_name="__main__")
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    return 0
