"""Remove artifacts that no run needs; first of all say which.

A run needs the artifacts of its steps, those that these were made from, and those whose folders its
config names (a model that another run trained). Runs that are kept are all of them, or those that
the user chooses; runs that go on are kept in any case. Beside finished artifacts, unfinished and
damaged ones are removed.

What a running process holds stays. A run holds the lock of the artifact that it is making, and its
status names all artifacts of its plan. Between the look at the artifacts and the status it holds
PRUNING together with other runs that plan; a pruning waits for that lock and holds it alone, so
that no plan relies on what is about to go. A run may also take over the result of an artifact of
the same step (`find_twin`): those of steps of running runs stay, too. A folder is first moved into
`.pruned` under its lock, so that no reader meets half of it.
"""

import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.guards.disk import errors_of_writing, remove
from stages.guards.errors import UserError
from stages.guards.locks import hold_lock, is_locked
from stages.runs.disk import DiskFile, Files, read_files
from stages.runs.records import ARTIFACTS, RunRecord, list_runs
from stages.runtime.artifacts import Artifact
from stages.runtime.manifest import MANIFEST

LOCKS = ".locks"
PRUNING = f"{LOCKS}/.pruning"
"""Inside the folder of artifacts: shared by runs that plan, held alone by a pruning."""
DAMAGED, PRUNED = ".damaged", ".pruned"
ARTIFACT = re.compile(r"[\w.-]+-[0-9a-f]{8}")
"""The name of an artifact's folder."""


@dataclass(frozen=True)
class Removal:
    """A folder that no run needs."""

    folder: Path
    reason: str
    size: int
    """The bytes of its files that are free once all removals are done."""


@dataclass(frozen=True)
class Pruning:
    """What would be removed, and what stays."""

    removals: list[Removal]
    held: list[str]
    """Names of artifacts that no run needs, but a process holds."""
    needed: int
    """How many artifacts stay because runs need them."""

    @property
    def freed(self) -> int:
        return sum(removal.size for removal in self.removals)


def plan_pruning(
    runs_dir: Path,
    kept: Sequence[RunRecord],
) -> Pruning:
    """Decide what no run needs.

    Args:
        kept: the runs whose artifacts stay, beside those of running ones.
    """
    root = runs_dir / ARTIFACTS
    present = [path for path in sorted(root.glob("*")) if ARTIFACT.fullmatch(path.name)]
    live = [record for record in list_runs(runs_dir) if record.is_live]
    needed = find_needed([*kept, *live], {path.name: path for path in present})
    live_steps = {name.rpartition("-")[0] for record in live for name in _planned(record)}
    removals, held = [], []
    for path in present:
        if path.name in needed:
            continue
        is_twin = path.name.rpartition("-")[0] in live_steps
        if is_twin or is_locked(root / LOCKS / path.name):
            held.append(path.name)
            continue
        is_finished = (path / MANIFEST).is_file()
        removals.append((path, "no run needs it" if is_finished else "never finished"))
    removals += [(path, "damaged, set aside") for path in sorted((root / DAMAGED).glob("*"))]
    removals += [(path, "left by a pruning") for path in sorted((root / PRUNED).glob("*"))]
    return Pruning(
        _with_sizes(removals),
        held,
        len(needed),
    )


def _with_sizes(
    removals: Sequence[tuple[Path, str]],
) -> list[Removal]:
    """Each with what it adds to the free bytes: a file that two share counts for the last one."""
    sized = []
    seen: Files = {}
    for path, reason in removals:
        freed = 0
        for inode, one in read_files([path]).items():
            whole = seen.setdefault(inode, DiskFile(one.size, one.links))
            whole.names |= one.names
            if len(whole.names) >= whole.links:
                freed += whole.size
        sized.append(
            Removal(
                path,
                reason,
                freed,
            )
        )
    return sized


def _planned(record: RunRecord) -> list[str]:
    return [str(name) for name in record.status.get("artifacts") or []]


def find_needed(
    records: Sequence[RunRecord],
    present: dict[str, Path],
) -> set[str]:
    """Return the names of artifacts that runs need, and of all that these were made from."""
    by_fingerprint: dict[str, list[str]] = {}
    for name in present:
        by_fingerprint.setdefault(name[-8:], []).append(name)
    open_names = set()
    for record in records:
        open_names |= {folder.name for folder in record.steps.values()}
        open_names |= _named_in(json.dumps([record.config, record.overrides]))
    needed: set[str] = set()
    while open_names:
        name = open_names.pop()
        if name in needed or name not in present:
            continue
        needed.add(name)
        try:
            manifest = Artifact(name[:-9], present[name]).manifest
        except UserError:  # unfinished or damaged: what it was to be made from is in the run's plan
            continue
        for print_ in manifest.payload.inputs.values():
            open_names.update(by_fingerprint.get(print_, []))
        facts = [manifest.payload.options, manifest.metrics.get("model_path")]
        open_names |= _named_in(json.dumps(facts))
    return needed


def _named_in(text: str) -> set[str]:
    """Names of artifacts that are parts of paths in a text."""
    return {name for name in re.split(r'[/\\"\s]+', text) if ARTIFACT.fullmatch(name)}


def prune(
    runs_dir: Path,
    choose_kept: Callable[[], Sequence[RunRecord]],
    on_wait: Callable[[str], object],
) -> tuple[Pruning, list[Removal]]:
    """Remove what no run needs, as it is once no run is planning.

    Args:
        choose_kept: returns the runs to keep, as the folders are then.
        on_wait: called with the owner of a lock that is waited for.

    Returns:
        The plan, and what was removed of it: what another process took meanwhile stays.

    Raises:
        UserError: a folder cannot be removed.
    """
    root = runs_dir / ARTIFACTS
    removed = []
    with hold_lock(root / PRUNING, on_wait):
        pruning = plan_pruning(runs_dir, choose_kept())
        for removal in pruning.removals:
            if is_locked(root / LOCKS / removal.folder.name):
                continue
            with hold_lock(root / LOCKS / removal.folder.name), errors_of_writing(removal.folder):
                _remove(removal.folder, root / PRUNED)
            removed.append(removal)
    return pruning, removed


def _remove(
    folder: Path,
    aside: Path,
) -> None:
    """Take a folder away at once, then delete it."""
    aside.mkdir(exist_ok=True)
    target = aside / folder.name
    if folder != target:
        remove(target)
        os.replace(folder, target)
    remove(target)
