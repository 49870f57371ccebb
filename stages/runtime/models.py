"""A model on disk or on the Hub, identified by its content and never by its path."""

import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from stages.guards.errors import UserError

# The files that decide what a model writes; optimiser states, logs and model cards do not.
CONTENT_FILES = (
    "*.safetensors",
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "*.jinja",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "adapter_config.json",
    "credo_reward.json",  # what a reward model reads: see stages/training/reward_models/format.py
)
TEMPLATE_FILES = ("*.jinja", "tokenizer_config.json")
"""Where a chat template is."""
PICKLED_WEIGHTS = ("*.bin", "*.pt", "*.pth", "*.ckpt")


@dataclass(frozen=True)
class Model:
    """A model that can be loaded."""

    path: str
    """A local folder or a Hub id."""
    content: str
    """The content id: 16 hex digits of a hash of the files, or of a Hub name and revision."""
    revision: str | None = None
    """A Hub commit."""


def find_model(path: str, revision: str | None = None) -> Model:
    """Check that a model can be loaded safely, and compute its content id.

    A local folder is hashed file by file. A Hub id (`owner/name`) is not downloaded here: its
    content id is its name and revision, so pin a revision where the answer must not change later.

    Args:
        path: a folder or a Hub id.
        revision: a Hub commit.

    Raises:
        UserError: there is no such folder, it has no config.json, or its weights are only pickles.
    """
    folder = Path(os.path.expanduser(path))
    if os.path.isdir(folder):
        return Model(str(folder), _folder_content(folder.resolve(), _stamp(folder)))
    looks_local = (
        path.startswith((".", "/", "~"))
        or path.count("/") != 1
        or os.path.isdir(path.partition("/")[0])
    )
    if looks_local:
        raise UserError(
            "no such model folder",
            where=path,
            fix="give the path of a folder with config.json and *.safetensors, "
            "or a Hub id such as Qwen/Qwen3-0.6B",
        )
    digest = hashlib.sha256(f"{path}@{revision or 'main'}".encode()).hexdigest()[:16]
    return Model(path, digest, revision)


def _stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Return names, sizes and times: with them a process hashes an unchanged folder only once."""
    stamps = set()
    for pattern in CONTENT_FILES:
        for file in folder.glob(pattern):
            status = file.stat()
            stamps.add((file.name, status.st_size, status.st_mtime_ns))
    return tuple(sorted(stamps))


@lru_cache(maxsize=64)
def _folder_content(folder: Path, stamp: tuple[tuple[str, int, int], ...]) -> str:
    names = [name for name, _, _ in stamp]
    if "config.json" not in names and "adapter_config.json" not in names:
        raise UserError(
            "the folder holds no config.json",
            where=str(folder),
            fix="point at a saved transformers model",
        )
    if not any(name.endswith(".safetensors") for name in names):
        raise _without_safetensors(folder)
    digest = hashlib.sha256()
    for name in names:
        digest.update(name.encode() + b"\0")
        with (folder / name).open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    if _writes_thoughts(folder):
        # Earlier versions of Credo asked such models differently: their stored answers are not
        # those of today.
        digest.update(b"thoughts are closed before an option")
    return digest.hexdigest()[:16]


def _writes_thoughts(folder: Path) -> bool:
    """Whether a model's chat template writes marks of thoughts."""
    files = [file for pattern in TEMPLATE_FILES for file in folder.glob(pattern)]
    return any("<think" in file.read_text(encoding="utf-8", errors="replace") for file in files)


def _without_safetensors(folder: Path) -> UserError:
    pickles = sorted(file.name for pattern in PICKLED_WEIGHTS for file in folder.glob(pattern))
    if pickles:
        return UserError(
            f"the weights are pickles only ({', '.join(pickles)}), which can run code when loaded",
            where=str(folder),
            fix="convert them: load the model where you trust it and call save_pretrained(path), "
            "which writes safetensors",
        )
    return UserError(
        "the folder holds no *.safetensors",
        where=str(folder),
        fix="point at a saved transformers model",
    )
