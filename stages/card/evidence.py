"""The evidence that a published folder may carry: the artifacts of its run, without the models.

In: a folder. Out: the run as it lies there, and its artifacts made whole for a scratch folder: the
policy's is given the published model, and those of other models forget theirs, so that what is left
of them can be read.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from stages.card.record import EVIDENCE
from stages.guards.files import read_json
from stages.runs.records import ARTIFACTS, LOGS, RunRecord
from stages.runtime.artifacts import MODEL, Artifact
from stages.runtime.manifest import MANIFEST, MOST_BYTES, seal


def evidence_of(folder: Path) -> RunRecord | None:
    """Return the run that a published folder carries, or None."""
    logs = sorted((folder / EVIDENCE / LOGS).glob("*"))
    return RunRecord(logs[0], folder / EVIDENCE) if logs else None


def is_evidence(run: RunRecord) -> bool:
    """Whether a run is one that a published folder carries."""
    return run.runs_dir.name == EVIDENCE


def restore(
    folder: Path,
    policy: str,
    artifacts: Mapping[str, Artifact],
    scratch: Path,
) -> dict[str, Artifact]:
    """Copy the artifacts of a published folder, and return them as whole as they can be.

    Args:
        policy: the step whose model is the folder's.
    """
    restored = {}
    for name, artifact in artifacts.items():
        place = scratch / ARTIFACTS / artifact.directory.name
        shutil.copytree(artifact.directory, place)
        if name == policy:
            _copy_model(folder, place)
        _forget_lost(place)
        restored[name] = Artifact(artifact.step, place)
    return restored


def _copy_model(folder: Path, place: Path) -> None:
    manifest = read_json(place / MANIFEST, most=MOST_BYTES)
    (place / MODEL).mkdir(exist_ok=True)
    for file in manifest.get("files") or {}:
        source = folder / Path(file).name
        if Path(file).parent == Path(MODEL) and source.is_file():
            shutil.copyfile(source, place / file)


def _forget_lost(place: Path) -> None:
    """Take the models that are not there out of a copied manifest."""
    plain = read_json(place / MANIFEST, most=MOST_BYTES)
    files = plain.get("files") or {}
    remaining = {}
    for name, facts in files.items():
        if not name.startswith(f"{MODEL}/") or (place / name).is_file():
            remaining[name] = facts
    if remaining != files:
        plain.pop("digest", None)
        text = seal(json.loads(json.dumps({**plain, "files": remaining})))[1]
        (place / MANIFEST).write_text(text, encoding="utf-8")
