"""The manifest of an artifact: what it was made from and what it holds, typed, and signs of damage.

`manifest.json` is written once, when everything else of the artifact has reached the disk. It lists
the artifact's files with their sizes and hashes, and ends with a digest of itself. What does not
fit counts as damage: the step is made anew. Manifests of versions that wrote neither files nor a
digest are still read.
"""

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from stages.guards.errors import UserError
from stages.guards.files import parse_json, read_text
from stages.guards.spellings import MASK
from stages.runtime.cost.prices import Usage
from stages.runtime.row_files import DamagedArtifact

MANIFEST = "manifest.json"
UNFINISHED = ("checkpoints", "launch")
"""Folders of a training that goes on: no part of the artifact, and kept until it is finished."""
MOST_BYTES = 256 * 2**20
"""Of a manifest, and of a file whose hash a plan compares; larger ones are compared when read."""
Count = Annotated[int, Field(ge=0, lt=2**63)]
Fingerprint = Annotated[str, Field(pattern="^[0-9a-f]{8}$")]
STRICT = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)


@dataclass(frozen=True, config=ConfigDict(strict=True))
class Table:
    """A small result that is printed at the end of a run and kept in the manifest."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    """The cells. A cell that names a page (`*.html`) of the artifact is printed as the page's whole
    path; the manifest holds only the name, because folders move.
    """


class Payload(BaseModel):
    """What the fingerprint is the hash of."""

    model_config = ConfigDict(**STRICT, extra="allow")

    stage: str = ""
    """The stage that made the artifact, such as `judge`."""
    version: Count = 0
    seed: int | None = None
    """The run's seed."""
    options: dict[str, Any] = {}
    """The step's options plus what the stage's `identity` adds."""
    inputs: dict[str, Fingerprint] = {}
    """The fingerprint of each input, by the name under which the stage reads it."""
    order: list[str] = []


class Calls(BaseModel):
    """How the step's calls were answered."""

    model_config = STRICT

    sent: Count = 0
    stored: Count = 0
    tokens: Count = 0
    """Written."""
    failed: Count = 0
    read: Count = 0
    """Tokens of the prompts that were sent."""
    cached: Count = 0
    estimated: Count = 0
    """Calls whose prompts were measured by their letters."""
    texts: Count = 0
    """Of the calls sent, those that wrote a text."""
    cost: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """None where no call had a price."""

    @property
    def usage(self) -> Usage:
        """The tokens of the calls that were sent."""
        return Usage(self.read, self.cached, self.tokens)


class FileFacts(BaseModel):
    """A file of the artifact."""

    model_config = STRICT

    size: Count
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Manifest(BaseModel):
    """The content of `manifest.json`."""

    model_config = STRICT

    step: str
    fingerprint: Fingerprint
    payload: Payload
    rows: Count | None
    """None: the stage makes no rows."""
    dropped: dict[str, Annotated[Count, Field(gt=0)]]
    """How many rows were dropped, by reason."""
    metrics: dict[str, Any]
    tables: list[Table]
    warnings: list[str] = []
    """Reasons to doubt the result."""
    finished: str = ""
    """When."""
    seconds: Annotated[float, Field(ge=0)] = 0.0
    calls: Calls = Calls()
    versions: dict[str, str] = {}
    content: str = ""
    """A hash of what the step read of its inputs, its options and its seed; see `Stage.reads`."""
    copy_of: str = ""
    """The folder of the artifact whose content was the same, so that the step did not run."""
    files: dict[str, FileFacts] | None = None
    """By their names inside the folder; None in manifests of versions that did not list them."""


def canonical(value: Any) -> str:
    """Return JSON with sorted keys.

    It refuses types that JSON lacks: with `default=str`, equal values could get different texts.

    Raises:
        TypeError: the value is not plain data.
    """
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)


def fingerprint(payload: Mapping[str, Any]) -> str:
    """Return the first 8 hex digits of the SHA-256 of the canonical payload."""
    return hashlib.sha256(canonical(payload).encode()).hexdigest()[:8]


def seal(plain: Mapping[str, Any]) -> tuple[Manifest, str]:
    """Return a manifest and the text of its file, which ends with the digest of the rest."""
    sealed = {**plain, "digest": _digest(json.loads(json.dumps(plain)))}
    text = json.dumps(sealed, indent=2, ensure_ascii=False)
    return Manifest.model_validate_json(text), text


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a finished artifact.

    Raises:
        DamagedArtifact: it cannot be read, or is not what was written there.
    """
    try:
        text = read_text(folder / MANIFEST, most=MOST_BYTES)
        plain = parse_json(text, MANIFEST)
        manifest = Manifest.model_validate_json(text)
        digest = plain.pop("digest", None)
        if digest is not None and digest != _digest(plain):
            raise ValueError("it was changed after it was written")
        payload = plain["payload"]
        # Where a secret is masked, the fingerprint is still that of the payload with the secret.
        if MASK not in canonical(payload) and fingerprint(payload) != manifest.fingerprint:
            raise ValueError("its payload has another fingerprint")
    except UserError as error:
        reason = error.what
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except (ValueError, RecursionError) as error:
        reason = str(error)
    else:
        return manifest
    raise DamagedArtifact(folder, f"{MANIFEST} is damaged: {reason[:200]}")


def _digest(plain: Mapping[str, Any]) -> str:
    text = json.dumps(plain, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def list_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Return size and hash of every file in a folder but its manifest, as plain data."""
    facts = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and name.parts[0] not in (MANIFEST, *UNFINISHED):
            size, sha256 = path.stat().st_size, hash_file(path)
            facts[name.as_posix()] = {"size": size, "sha256": sha256}
    return facts


def check_files(folder: Path, manifest: Manifest, under: str = "", whole: bool = False) -> None:
    """Compare an artifact's files with its manifest.

    Args:
        under: how the names of the files begin that are compared.
        whole: compare the content of large files too.

    Raises:
        DamagedArtifact: one is missing or another one.
    """
    for name, facts in (manifest.files or {}).items():
        if name.startswith(under):
            fault = find_fault(folder / name, facts, whole)
            if fault:
                raise DamagedArtifact(folder, f"{name} is damaged: {fault}")


def find_fault(path: Path, facts: FileFacts, whole: bool = False) -> str:
    """Return how a file differs from what is known of it, or ""."""
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            return "it is not a file"
        if found.st_size != facts.size:
            return f"it has {found.st_size:,} bytes of {facts.size:,}"
        if (whole or facts.size <= MOST_BYTES) and hash_file(path) != facts.sha256:
            return "its content is another one"
    except FileNotFoundError:
        return "it is missing"
    except (OSError, ValueError) as error:
        return f"it cannot be read: {getattr(error, 'strerror', error)}"
    return ""


def hash_file(path: Path) -> str:
    """Return a file's SHA-256; a process reads an unchanged file once."""
    facts = os.stat(path)
    return _hash(path, facts.st_ino, facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=4096)
def _hash(path: Path, inode: int, size: int, modified: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
