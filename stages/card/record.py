"""The record of a published policy: `credo_card.json`, plain data that ends with a digest.

In: what `facts` gathers. Out: a file that any JSON reader can read. Numbers are those of the
manifests, texts those that identify the steps; secrets were masked when the run recorded them.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stages.guards.errors import UserError
from stages.guards.files import read_json
from stages.runtime.manifest import MOST_BYTES, hash_file

RECORD = "credo_card.json"
README = "README.md"
CONSTITUTION = "constitution.yaml"
EVIDENCE = "evidence"
"""The folder of a run's artifacts without its models, laid out like a folder of runs."""
DIGEST = "digest"
FORMAT = 1
KEYS = (
    "format",
    "name",
    "license",
    "policy",
    "base_model",
    "constitution",
    "run",
    "data",
    "steps",
    "effects",
    "judge",
    "readme",
    "files",
    DIGEST,
)


def as_text(record: Mapping[str, Any]) -> str:
    """Return the file's text: the record and its digest."""
    plain = {name: value for name, value in record.items() if name != DIGEST}
    sealed = {**plain, DIGEST: digest_of(plain)}
    return json.dumps(sealed, indent=2, ensure_ascii=False) + "\n"


def digest_of(record: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a record without its digest, in a form that layout does not change."""
    plain = {name: value for name, value in record.items() if name != DIGEST}
    text = json.dumps(plain, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def read_record(folder: Path) -> dict[str, Any]:
    """Return the record of a folder.

    Raises:
        UserError: there is none, or it is not one that this version reads.
    """
    file = folder / RECORD
    if not file.is_file():
        raise UserError(
            f"the folder holds no {RECORD}",
            where=str(folder),
            fix="give a folder that `python -m stages.card RUN --out FOLDER` wrote",
        )
    record = read_json(file, most=MOST_BYTES)
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise UserError(
            f"it is not a record of format {FORMAT}",
            where=str(file),
            fix="use the version of Credo that wrote it",
        )
    missing = [name for name in KEYS if name not in record]
    if missing:
        raise UserError(
            f"it has no {', '.join(missing)}",
            where=str(file),
            fix="take the folder again from where it was published",
        )
    return record


def steps_by_name(record: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what is recorded of each step, by its name, in the order of the run."""
    return {entry["name"]: entry for entry in record["steps"]}


def published_files(folder: Path) -> Iterator[str]:
    """Yield the names of a folder's files, but not those of git and of the Hub's client."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not name.parts[0].startswith("."):
            yield name.as_posix()


def list_published(folder: Path) -> dict[str, dict[str, Any]]:
    """Return size and hash of every file of a folder but its record."""
    facts = {}
    for name in published_files(folder):
        if name != RECORD:
            path = folder / name
            facts[name] = {"size": path.stat().st_size, "sha256": hash_file(path)}
    return facts
