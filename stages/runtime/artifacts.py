"""Artifacts: one folder per step and identity, `runs/artifacts/<step>-<fingerprint>/`.

The manifest is written last and atomically: if it exists, the step is done. It keeps what the
fingerprint was computed from, so that a plan can name the field that changed.
"""

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from stages.guards.disk import errors_of_writing, flush, remove, write_atomically
from stages.guards.errors import UserError
from stages.guards.secrets import mask_values
from stages.guards.text import replace_surrogates
from stages.runtime.manifest import (
    MANIFEST,
    UNFINISHED,
    Manifest,
    Table,
    check_files,
    fingerprint,
    list_files,
    read_manifest,
    seal,
)
from stages.runtime.models import Model, changed_model, find_model
from stages.runtime.row_files import (
    DROPPED,
    Columns,
    DamagedArtifact,
    StoredRows,
    count_rows,
    each_row,
    hash_rows,
    read_rows,
    row_type_of,
    write_dropped,
    write_rows,
)
from stages.runtime.rows import Dropped

R = TypeVar("R")
ROWS, MODEL = "rows.parquet", "model"


@dataclass(frozen=True)
class Result:
    """What a stage returns.

    A model is saved under `context.directory / "model"`, and other files beside it.
    """

    rows: list[Any] | StoredRows | None = None
    """The rows, in input order; None for a stage that makes no rows. Where there may be a million,
    `Context.store_rows` writes them as they come.
    """
    row_type: type | None = None
    """The type of all rows."""
    dropped: list[Dropped] = field(default_factory=list)
    """The dropped rows, each with a reason; they are stored and counted."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """Plain numbers and nested dicts of them."""
    tables: list[Table] = field(default_factory=list)
    """What to show at the end of a run."""
    warnings: list[str] = field(default_factory=list)
    """Reasons to doubt the result, a sentence each without its full stop. They are shown when the
    step ends, again at the end of the run, and at the top of the report.
    """


@dataclass(frozen=True)
class Artifact:
    """A finished step's folder."""

    step: str
    directory: Path
    columns: Columns | None = field(default=None, compare=False)
    """What a stage reads of its rows; None: all."""

    @cached_property
    def manifest(self) -> Manifest:
        """The content of `manifest.json`, read once.

        Raises:
            DamagedArtifact: it does not fit.
        """
        return read_manifest(self.directory)

    @property
    def fingerprint(self) -> str:
        """The hash of what identifies the artifact (`payload` in the manifest)."""
        return self.manifest.fingerprint

    @property
    def metrics(self) -> dict[str, Any]:
        """The numbers that the stage reported."""
        return self.manifest.metrics

    @property
    def stage(self) -> str:
        """The stage that made it, such as `judge`; "" if the manifest does not state it."""
        return self.manifest.payload.stage

    @property
    def seed(self) -> int | None:
        """The run's seed."""
        return self.manifest.payload.seed

    @property
    def config(self) -> dict[str, Any]:
        """The step's options plus what the stage's `identity` adds, as the fingerprint holds them.

        `identity` adds, for example, the texts of principles and the hashes of templates. Options
        that do not change results are left out.
        """
        return self.manifest.payload.options

    @property
    def inputs(self) -> dict[str, str]:
        """The fingerprint of each input, by the name under which the stage reads it."""
        return self.manifest.payload.inputs

    def input_artifacts(self, name: str | None = None) -> list["Artifact"]:
        """Return the artifacts that it was made from, if their folders are still beside it.

        Args:
            name: of one input; None: all of them.
        """
        artifacts: list[Artifact] = []
        for input_name in self.inputs:
            if name in (None, input_name):
                artifacts += self._look_up_input(input_name)[0]
        return artifacts

    def explain_missing(self) -> list[str]:
        """Return what is wrong with inputs that `input_artifacts` leaves out, a note for each."""
        notes = []
        for name in self.inputs:
            artifacts, damage = self._look_up_input(name)
            if not artifacts:
                reason = damage or "its folder is gone"
                notes.append(f"the step behind {name!r} of {self.step!r} ({reason})")
        return notes

    def _look_up_input(self, name: str) -> tuple[list["Artifact"], str]:
        root = self.directory.parent
        artifacts, damages = [], []
        for folder in sorted(root.glob(f"*-{self.inputs[name]}")):
            step, _, step_fingerprint = folder.name.rpartition("-")
            artifact, damage = look_up(root, step, step_fingerprint)
            damages.append(damage)
            if artifact:
                artifacts.append(artifact)
        return artifacts, "; ".join(filter(None, damages))

    @property
    def row_type(self) -> type | None:
        """The type of its rows; None if it holds none."""
        holds_rows = self.manifest.rows or os.path.lexists(self.directory / ROWS)
        return row_type_of(self._file(ROWS)) if holds_rows else None

    def rows(self, *allowed: type[R]) -> list[R]:
        """Return the rows, of one of the `allowed` types (any, if none is given).

        Raises:
            UserError: there are none, they are of another type, or the file is damaged.
        """
        return list(self.each_row(*allowed))

    def each_row(self, *allowed: type[R]) -> Iterator[R]:
        """Yield what `rows` returns, with a part of the rows in memory at a time."""
        if self.manifest.rows is None:
            raise UserError(
                "holds no rows",
                where=f"step {self.step!r}",
                fix="wire the `inputs` to a step that makes rows",
            )
        # A stage may name no type for no rows.
        if self.manifest.rows or os.path.lexists(self.directory / ROWS):
            yield from each_row(self._file(ROWS), *allowed, columns=self.columns)

    def content(self) -> Any:
        """Return hashes of what a step reads of it: its model, and its rows in `columns`.

        Raises:
            DamagedArtifact: the rows are damaged.
        """
        files = self.manifest.files or {}
        model = {name: one.sha256 for name, one in files.items() if name.startswith(f"{MODEL}/")}
        there = sum(path.is_file() for path in (self.directory / MODEL).rglob("*"))
        if not files or "model_path" in self.metrics or there != len(model):
            # It points to a model, whose content its fingerprint holds, or its model got a file.
            return self.fingerprint
        rows = hash_rows(self._file(ROWS), self.columns) if ROWS in files else self.manifest.rows
        return {"model": model, "rows": rows}

    def dropped(self) -> list[Dropped]:
        """Return the dropped rows.

        Raises:
            DamagedArtifact: their file is damaged.
        """
        return read_rows(self._file(DROPPED), Dropped) if self.manifest.dropped else []

    def _file(self, name: str) -> Path:
        """A file that the manifest counts the rows of, and whose content is the written one."""
        check_files(self.directory, self.manifest, name, whole=True)
        _check_rows(self.directory, self.manifest)
        return self.directory / name

    def explain_dropped(self) -> str:
        """Return what this step dropped, with counts and the file that lists it; "" if nothing."""
        counts = self.manifest.dropped
        if not counts:
            return ""
        return f"step {self.step!r} dropped {list_reasons(counts)} (see {self.directory / DROPPED})"

    def model(self) -> Model:
        """Return the model that this step made or, for the `model` stage, points at.

        Raises:
            UserError: it holds no model, or the model is gone.
        """
        facts = self.manifest.metrics
        reference = facts.get("model_path")
        generator = facts.get("generator", "") if reference else ""
        path = reference or self.directory / MODEL
        if not reference:
            check_files(self.directory, self.manifest, f"{MODEL}/", whole=True)
        if not reference and not Path(path).is_dir():
            raise UserError(
                "holds no model",
                where=f"step {self.step!r}",
                fix="wire `inputs.model` to a step that makes one; if this one does, "
                f"delete {self.directory} and run again",
            )
        revision = facts.get("revision")
        planned = facts.get("content")  # of a step that points at a model
        if reference and facts.get("served"):
            return Model(reference, str(planned), revision, generator)
        model = replace(find_model(str(path), revision), generator=generator)
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
    dropped = [one.explain_dropped() for name, one in inputs.items() if name != "model"]
    notes = list(filter(None, dropped))
    return f"look at what was dropped before: {'; '.join(notes)}" if notes else advice


def lineage(sources: Iterable[Artifact]) -> list[Artifact]:
    """Return the steps and all steps before them, inputs first, as far as their folders exist."""
    steps: dict[str, Artifact] = {}

    def visit(source: Artifact) -> None:
        if source.fingerprint in steps:
            return
        for before in source.input_artifacts():
            visit(before)
        steps[source.fingerprint] = source

    for source in sources:
        visit(source)
    return list(steps.values())


def folder_of(root: Path, step: str, step_fingerprint: str) -> Path:
    """Return the folder of the artifact with this fingerprint."""
    return root / f"{step}-{step_fingerprint}"


def look_up(root: Path, step: str, step_fingerprint: str) -> tuple[Artifact | None, str]:
    """Return a finished artifact, and what is wrong with it.

    Returns:
        The artifact, or None if it was never finished or is damaged, so that its step has to run;
        and the damage, or "".
    """
    artifact = Artifact(step, folder_of(root, step, step_fingerprint))
    folder = artifact.directory
    if not os.path.lexists(folder / MANIFEST) and (folder.is_dir() or not os.path.lexists(folder)):
        return None, ""
    try:
        manifest = artifact.manifest
        if (manifest.step, manifest.fingerprint) != (step, step_fingerprint):
            raise DamagedArtifact(folder, f"{MANIFEST} is another artifact's")
        check_files(folder, manifest)
        _check_rows(folder, manifest)
    except UserError as error:
        return None, error.what
    return artifact, ""


def _check_rows(folder: Path, manifest: Manifest) -> None:
    """Compare what the manifest counts with the files; cheap, since parquet files count too.

    Raises:
        DamagedArtifact: rows are missing, or there are more of them.
    """
    for name, count in ((ROWS, manifest.rows or 0), (DROPPED, sum(manifest.dropped.values()))):
        found = count_rows(folder / name) if count or (folder / name).is_file() else 0
        if found != count:
            raise DamagedArtifact(
                folder, f"{name} is damaged: it has {found:,} rows, the manifest counts {count:,}"
            )


def prepare_folder(folder: Path) -> None:
    """Make room for a step that is to run: a folder that holds at most its checkpoints.

    What was finished once and is damaged is set aside under `.damaged/`, the latest of each step
    and identity.

    Raises:
        UserError: the folder cannot be written.
    """
    with errors_of_writing(folder):
        if os.path.lexists(folder / MANIFEST) or (os.path.lexists(folder) and not folder.is_dir()):
            aside = folder.parent / ".damaged" / folder.name
            aside.parent.mkdir(exist_ok=True)
            remove(aside)
            os.replace(folder, aside)
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            if path.name not in UNFINISHED or not path.is_dir():
                remove(path)


def finish_artifact(
    folder: Path, step: str, payload: Mapping[str, Any], result: Result, facts: Mapping[str, Any]
) -> Artifact:
    """Write rows, dropped rows and, last of all, the manifest.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    counts: Counter[str] = Counter()
    with errors_of_writing(folder):
        is_written = isinstance(result.rows, StoredRows) and result.rows.path == folder / ROWS
        if result.rows is not None and result.row_type is not None and not is_written:
            write_rows(folder / ROWS, result.rows, result.row_type)
        if result.dropped:
            counts = write_dropped(folder, result.dropped)
        # After a power cut, a manifest on the disk must mean that all other files are there too.
        for path in (*folder.rglob("*"), folder, folder.parent):
            flush(path)
        files = list_files(folder)
    plain = {
        "step": step,
        "fingerprint": fingerprint(payload),
        "payload": payload,
        "rows": None if result.rows is None else len(result.rows),
        "dropped": dict(counts),
        "metrics": result.metrics,
        "tables": [vars(table) for table in result.tables],
        "warnings": result.warnings,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        **facts,
        "files": files,
    }
    manifest, text = seal(replace_surrogates(mask_values(plain)))
    write_atomically(folder / MANIFEST, text)
    artifact = Artifact(step, folder)
    vars(artifact)["manifest"] = manifest
    return artifact
