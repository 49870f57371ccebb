"""Hydra's shell completion works for run.py, as docs/runs.md shows it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_groups_and_keys():
    """A real bash installs it and completes a line, with `python` as users type it."""
    script = """
    eval "$(python run.py -sc install=bash)"
    complete -p python
    for line in "python run.py pipeline=salm" "python run.py constitution.na"; do
        COMP_LINE="$line"; COMP_POINT=${#line}; COMP_WORDS=($line); COMP_CWORD=2
        hydra_bash_completion
        echo "${COMPREPLY[@]}"
    done
    """
    shown = subprocess.run(
        ["bash", "--norc", "-c", script],
        cwd=ROOT,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    installed, *completed = shown.stdout.splitlines()
    assert "hydra_bash_completion python" in installed, shown.stderr
    assert completed[0].split() == ["pipeline=salmon"]
    assert completed[1].split() == ["constitution.name="]
