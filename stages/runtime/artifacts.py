"""Artifacts: one folder per step and identity, `runs/artifacts/<step>-<fingerprint>/`.

The manifest is written last and atomically: if it exists, the step is done. It keeps what the
fingerprint was computed from, so that a plan can name the field that changed.
"""

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from stages.guards.errors import UserError
from stages.runtime.models import Model, changed_model, find_model
from stages.runtime.row_files import read_rows, row_type_of, write_rows
from stages.runtime.rows import Dropped

R = TypeVar("R")
DROPPED = "dropped.parquet"
_MANIFEST_KEYS = {"step", "fingerprint", "payload", "rows", "dropped", "metrics", "tables"}


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


@dataclass(frozen=True)
class Table:
    """A small result that is printed at the end of a run and kept in the manifest."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    """The cells. A cell that names a page (`*.html`) of the artifact is printed as the page's whole
    path; the manifest holds only the name, because folders move.
    """


@dataclass(frozen=True)
class Result:
    """What a stage returns.

    A model is saved under `context.directory / "model"`, and other files beside it.
    """

    rows: list[Any] | None = None
    """The rows, in input order; None for a stage that makes no rows."""
    row_type: type | None = None
    """The type of all rows."""
    dropped: list[Dropped] = field(default_factory=list)
    """The dropped rows, each with a reason; they are stored and counted."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """Plain numbers and nested dicts of them."""
    tables: list[Table] = field(default_factory=list)
    """What to show at the end of a run."""


@dataclass(frozen=True)
class Artifact:
    """A finished step's folder."""

    step: str
    directory: Path

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The content of `manifest.json`, read once."""
        return json.loads((self.directory / "manifest.json").read_text(encoding="utf-8"))

    @property
    def fingerprint(self) -> str:
        """The hash of what identifies the artifact (`payload` in the manifest)."""
        return self.manifest["fingerprint"]

    @property
    def metrics(self) -> dict[str, Any]:
        """The numbers that the stage reported."""
        return self.manifest["metrics"]

    @property
    def stage(self) -> str:
        """The stage that made it, such as `judge`; "" if the manifest does not state it."""
        return self.manifest["payload"].get("stage", "")

    @property
    def seed(self) -> int | None:
        """The run's seed."""
        return self.manifest["payload"].get("seed")

    @property
    def config(self) -> dict[str, Any]:
        """The step's options plus what the stage's `identity` adds, as the fingerprint holds them.

        `identity` adds, for example, the texts of principles and the hashes of templates. Options
        that do not change results are left out.
        """
        return self.manifest["payload"].get("options", {})

    @property
    def inputs(self) -> dict[str, str]:
        """The fingerprint of each input, by the name under which the stage reads it."""
        return self.manifest["payload"].get("inputs", {})

    def input_artifacts(self, name: str | None = None) -> list["Artifact"]:
        """Return the artifacts that it was made from, if their folders are still beside it.

        Args:
            name: of one input; None: all of them.
        """
        root = self.directory.parent
        artifacts = []
        for input_name, input_fingerprint in self.inputs.items():
            if name not in (None, input_name):
                continue
            for folder in sorted(root.glob(f"*-{input_fingerprint}")):
                step = folder.name.removesuffix(f"-{input_fingerprint}")
                artifact = find_artifact(root, step, input_fingerprint)
                if artifact:
                    artifacts.append(artifact)
        return artifacts

    @property
    def row_type(self) -> type | None:
        """The type of its rows; None if it holds none."""
        path = self.directory / "rows.parquet"
        return row_type_of(path) if path.exists() else None

    def rows(self, *allowed: type[R]) -> list[R]:
        """Return the rows, of one of the `allowed` types (any, if none is given).

        Raises:
            UserError: there are none, they are of another type, or the file is damaged.
        """
        path = self.directory / "rows.parquet"
        if not path.exists() and self.manifest["rows"] is None:
            raise UserError(
                "holds no rows",
                where=f"step {self.step!r}",
                fix="wire the `inputs` to a step that makes rows",
            )
        return read_rows(path, *allowed)

    def dropped(self) -> list[Dropped]:
        """Return the dropped rows."""
        path = self.directory / DROPPED
        return read_rows(path, Dropped) if path.exists() else []

    def explain_dropped(self) -> str:
        """Return what this step dropped, with counts and the file that lists it; "" if nothing."""
        counts = self.manifest["dropped"]
        if not counts:
            return ""
        return f"step {self.step!r} dropped {list_reasons(counts)} (see {self.directory / DROPPED})"

    def model(self) -> Model:
        """Return the model that this step made or, for the `model` stage, points at.

        Raises:
            UserError: it holds no model, or the model is gone.
        """
        reference = self.manifest["metrics"].get("model_path")
        path = reference or self.directory / "model"
        if not reference and not Path(path).is_dir():
            raise UserError(
                "holds no model",
                where=f"step {self.step!r}",
                fix="wire `inputs.model` to a step that makes one; if this one does, "
                f"delete {self.directory} and run again",
            )
        model = find_model(str(path), self.manifest["metrics"].get("revision"))
        planned = self.manifest["metrics"].get("content")  # of a step that points at a model
        if reference and planned not in (None, model.content):
            raise changed_model(model)
        return model


def list_reasons(reasons: Mapping[str, int] | Iterable[Dropped]) -> str:
    """Return `6 x cut off at max_tokens; 2 x duplicate`, the most frequent reason first.

    Args:
        reasons: how often each one occurs, or dropped rows.
    """
    if isinstance(reasons, Mapping):
        counts = Counter(reasons)
    else:
        counts = Counter(row.reason for row in reasons)
    return "; ".join(f"{count} x {reason}" for reason, count in counts.most_common())


def advise_on_missing(inputs: Mapping[str, Artifact], advice: str) -> str:
    """Return how to fix that no row comes from some inputs.

    Args:
        advice: what to do if they dropped nothing.
    """
    notes = []
    for name, artifact in inputs.items():
        note = artifact.explain_dropped() if name != "model" else ""
        if note:
            notes.append(note)
    return f"look at what was dropped before: {'; '.join(notes)}" if notes else advice


def folder_of(root: Path, step: str, step_fingerprint: str) -> Path:
    """Return the folder of the artifact with this fingerprint."""
    return root / f"{step}-{step_fingerprint}"


def find_artifact(root: Path, step: str, step_fingerprint: str) -> Artifact | None:
    """Return the finished artifact with this fingerprint, if there is one."""
    return _finished(Artifact(step, folder_of(root, step, step_fingerprint)))


def finished_artifacts(root: Path, step: str) -> list[Artifact]:
    """Return all finished artifacts of a step, of any identity, the newest first."""
    manifests = list(root.glob(f"{step}-????????/manifest.json"))
    manifests.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    artifacts = []
    for manifest in manifests:
        artifact = _finished(Artifact(step, manifest.parent))
        if artifact:
            artifacts.append(artifact)
    return artifacts


def _finished(artifact: Artifact) -> Artifact | None:
    """Return the artifact, or None if its manifest is missing or damaged.

    Its step then counts as never run.
    """
    try:
        return artifact if artifact.manifest.keys() >= _MANIFEST_KEYS else None
    except (OSError, ValueError, AttributeError):
        return None


def finish_artifact(
    folder: Path, step: str, payload: Mapping[str, Any], result: Result, facts: Mapping[str, Any]
) -> Artifact:
    """Write rows, dropped rows and, last of all, the manifest.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    try:
        if result.rows is not None and result.row_type is not None:
            write_rows(folder / "rows.parquet", result.rows, result.row_type)
        if result.dropped:
            write_rows(folder / DROPPED, result.dropped, Dropped)
        # After a power cut, a manifest on the disk must mean that all other files are there too.
        for path in (*folder.rglob("*"), folder, folder.parent):
            flush(path)
        manifest = {
            "step": step,
            "fingerprint": fingerprint(payload),
            "payload": payload,
            "rows": None if result.rows is None else len(result.rows),
            "dropped": dict(Counter(d.reason for d in result.dropped)),
            "metrics": result.metrics,
            "tables": [vars(table) for table in result.tables],
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            **facts,
        }
        write_atomically(
            folder / "manifest.json", json.dumps(manifest, indent=2, ensure_ascii=False)
        )
    except OSError as error:
        raise UserError(
            f"the artifact cannot be written: {error.strerror}",
            where=str(folder),
            fix="free some disk space or fix the permissions, then run again; finished steps and "
            "calls are kept",
        ) from None
    return Artifact(step, folder)


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that it is either complete or missing, even after a power cut."""
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(partial, path)
    flush(path.parent)


def flush(path: Path) -> None:
    """Return once a file, or the names in a folder, have reached the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def explain_difference(old: Any, new: Any, path: str = "") -> list[str]:
    """Name the fields that differ, as dotted paths: `constitution.no-crime.text`."""
    if old == new:
        return []
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return [f"{path} changed"]
    lines = []
    for key in sorted({*old, *new}):
        inner = f"{path}.{key}" if path else str(key)
        if key not in old:
            lines.append(f"{inner} is new")
        elif key not in new:
            lines.append(f"{inner} is gone")
        else:
            lines += explain_difference(old[key], new[key], inner)
    return lines
