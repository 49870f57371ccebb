"""Artifacts: one folder per step and identity, `runs/artifacts/<step>-<fingerprint>/`.

The manifest is written last and atomically: it exists = the step is done. It keeps what the
fingerprint was made of, so a miss can say which field changed.
"""

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from stages.runtime.errors import UserError
from stages.runtime.models import Model, find_model
from stages.runtime.rows import Dropped, read_rows, row_type_of, write_rows

R = TypeVar("R")
_MANIFEST = {
    "step",
    "fingerprint",
    "payload",
    "rows",
    "dropped",
    "metrics",
    "tables",
}  # what every manifest holds


def canonical(value: Any) -> str:
    """JSON with sorted keys that refuses what it does not know, where `default=str` would silently
    fork identities.

    Raises:
        TypeError: the value is not plain data.
    """
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)


def fingerprint(payload: Mapping[str, Any]) -> str:
    """First 8 hex digits of the SHA-256 of the canonical payload."""
    return hashlib.sha256(canonical(payload).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Table:
    """A small result that is printed at the end of a run and kept in the manifest.

    A cell that names a page of the artifact is printed with its folder; the manifest holds no path,
    for folders move.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Result:
    """What a stage hands back: rows, or a model saved under `context.directory / "model"`, or files
    beside them.

    Args:
        rows: the rows made, in input order, all of `row_type`.
        dropped: rows that did not make it. Each has a reason; they are kept and counted.
        metrics: plain numbers and nested dicts of them.
        tables: what to show at the end of a run.
    """

    rows: list[Any] | None = None
    row_type: type | None = None
    dropped: list[Dropped] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)


@dataclass(frozen=True)
class Artifact:
    """A finished step's folder."""

    step: str
    directory: Path

    @cached_property
    def manifest(self) -> dict[str, Any]:
        return json.loads((self.directory / "manifest.json").read_text(encoding="utf-8"))

    @property
    def fingerprint(self) -> str:
        return self.manifest["fingerprint"]

    @property
    def metrics(self) -> dict[str, Any]:
        return self.manifest["metrics"]

    @property
    def stage(self) -> str:
        """The stage that made it, such as `judge`; "" if the manifest does not say."""
        return self.manifest["payload"].get("stage", "")

    @property
    def version(self) -> int | None:
        """The stage's VERSION at that time."""
        return self.manifest["payload"].get("version")

    @property
    def seed(self) -> int | None:
        """The run's seed."""
        return self.manifest["payload"].get("seed")

    @property
    def config(self) -> dict[str, Any]:
        """The step's options as its fingerprint holds them: with what the stage adds to them, such
        as the texts of principles, and without what changes no result.
        """
        return self.manifest["payload"].get("options", {})

    @property
    def inputs(self) -> dict[str, str]:
        """The fingerprint of each input, by the name under which the stage reads it."""
        return self.manifest["payload"].get("inputs", {})

    def input_artifacts(self, name: str | None = None) -> list["Artifact"]:
        """The artifacts that it was made from, as far as their folders are still beside it.

        Args:
            name: of one input; None: all of them.
        """
        root = self.directory.parent
        artifacts = []
        for input_name, print_ in self.inputs.items():
            if name not in (None, input_name):
                continue
            for folder in sorted(root.glob(f"*-{print_}")):
                step = folder.name.removesuffix(f"-{print_}")
                artifact = find_artifact(root, step, print_)
                if artifact:
                    artifacts.append(artifact)
        return artifacts

    def differences(self, payload: Mapping[str, Any]) -> list[str]:
        """The fields in which its identity differs from `payload`, as dotted paths."""
        return explain_difference(self.manifest["payload"], payload)

    @property
    def row_type(self) -> type | None:
        """Of what type its rows are; None if it holds none."""
        path = self.directory / "rows.parquet"
        return row_type_of(path) if path.exists() else None

    def rows(self, *wanted: type[R]) -> list[R]:
        """The rows, checked to be of one of the `wanted` types (any, if none is given)."""
        path = self.directory / "rows.parquet"
        if not path.exists() and self.manifest["rows"] is None:
            raise UserError(
                "holds no rows",
                where=f"step {self.step!r}",
                fix="wire the `inputs` to a step that makes rows",
            )
        return read_rows(path, *wanted)

    def dropped(self) -> list[Dropped]:
        path = self.directory / "dropped.parquet"
        return read_rows(path, Dropped) if path.exists() else []

    def model(self) -> Model:
        """The model this step made or, for the `model` stage, points at."""
        reference = self.manifest["metrics"].get("model_path")
        path = reference or self.directory / "model"
        if not reference and not Path(path).is_dir():
            raise UserError(
                "holds no model",
                where=f"step {self.step!r}",
                fix=f"wire `inputs.model` to a step that makes one; if this one does, delete {self.directory} and run again",
            )
        return find_model(str(path), self.manifest["metrics"].get("revision"))


def folder_of(root: Path, step: str, print_: str) -> Path:
    return root / f"{step}-{print_}"


def find_artifact(root: Path, step: str, print_: str) -> Artifact | None:
    """The finished artifact of this identity, if there is one."""
    return _finished(Artifact(step, folder_of(root, step, print_)))


def finished_artifacts(root: Path, step: str) -> list[Artifact]:
    """All finished artifacts of a step, whatever their identity, the newest first."""
    manifests = sorted(
        root.glob(f"{step}-????????/manifest.json"), key=lambda m: m.stat().st_mtime, reverse=True
    )
    return list(
        filter(None, (_finished(Artifact(step, manifest.parent)) for manifest in manifests))
    )


def _finished(artifact: Artifact) -> Artifact | None:
    """The artifact, or None if its manifest is missing or damaged: its step is then as good as
    never run.
    """
    try:
        return artifact if artifact.manifest.keys() >= _MANIFEST else None
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
            write_rows(folder / "dropped.parquet", result.dropped, Dropped)
        for path in (
            *folder.rglob("*"),
            folder,
            folder.parent,
        ):  # a manifest that outlives a power cut vouches for the rest
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
            fix="free some disk space or fix the permissions, then run again; finished steps and calls are kept",
        ) from None
    return Artifact(step, folder)


def write_atomically(path: Path, text: str) -> None:
    """Write a file that is either whole or not there, also after a power cut."""
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
    if isinstance(old, Mapping) and isinstance(new, Mapping):
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
    return [] if old == new else [f"{path} changed"]
