"""The runs of a folder: what each one recorded of itself.

In: `runs_dir`, with the folders of runs in `logs/` and of sweeps in `sweeps/`, each with the jobs
of a sweep in it. Runs that were sent elsewhere (`hydra.run.dir`) leave their place in `.runs/`.
Out: `RunRecord`s, the newest first. A run is known by the end of its folder's name, such as
`8fe3f5`, by a label that a user gave it, or as `last`.

A run that ended well leaves `run.json`, one that was started `status.json`. Folders with neither
are those of plans, and of runs that versions before the status killed: they are left out.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from stages.ablation.jobs import DONE, FAILED
from stages.guards.disk import write_atomically
from stages.guards.errors import UserError
from stages.guards.files import exists, read_json, read_text
from stages.guards.locks import is_locked
from stages.runtime.artifacts import Artifact
from stages.runtime.progress import FAILED as ENDED_BY_ERROR
from stages.runtime.progress import FINISHED, PLANNING, RUNNING, STATUS, STATUS_LOCK

LOGS, SWEEPS, ELSEWHERE, ARTIFACTS = "logs", "sweeps", ".runs", "artifacts"
LABEL = "label.txt"
LAST = "last"
KILLED = "killed"
LONGEST_LABEL = 40
_STARTED = re.compile(r"(\d{4}-\d\d-\d\d)_(\d\d)-(\d\d)-(\d\d)")
"""How Hydra's folders of runs and of sweeps begin."""


@dataclass(frozen=True)
class RunRecord:
    """A run: its folder, and what is recorded there."""

    folder: Path
    runs_dir: Path
    sweep: Path | None = None
    """The folder of the sweep that it is a job of."""

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What is in `run.json`; empty before the run has ended."""
        return _read(self.folder / DONE)

    @cached_property
    def status(self) -> dict[str, Any]:
        """What is in `status.json`; empty for runs of versions that wrote none."""
        return _read(self.folder / STATUS)

    @property
    def id(self) -> str:
        """The shortest name that a user can call it by."""
        if self.sweep:
            return f"{_short(self.sweep)}/{self.folder.name}"
        return _short(self.folder)

    @property
    def label(self) -> str:
        """The name that a user gave it, or ""."""
        file = self.folder / LABEL
        return read_text(file).strip() if file.is_file() else ""

    @property
    def started(self) -> str:
        """When, such as `2026-11-27 17:01:35`."""
        match = _STARTED.match((self.sweep or self.folder).name)
        if self.status.get("started"):
            return str(self.status["started"])[:19].replace("T", " ")
        if match:
            return f"{match[1]} {match[2]}:{match[3]}:{match[4]}"
        return ""

    @property
    def state(self) -> str:
        """`running`, `finished`, `failed`, `interrupted` or `killed`; `planning` at first."""
        state = str(self.status.get("state", ""))
        if state in (PLANNING, RUNNING):
            return state if is_locked(self.folder / STATUS_LOCK) else KILLED
        if state:
            return state
        return FINISHED if self.facts else ENDED_BY_ERROR

    @property
    def is_live(self) -> bool:
        """Whether a process is working on it."""
        return self.state in (PLANNING, RUNNING)

    @property
    def config(self) -> dict[str, Any]:
        """Its whole config, as it was resolved."""
        return dict(self.facts.get("config") or {})

    @property
    def pipeline(self) -> str:
        """The name of its method."""
        recorded = self.facts.get("pipeline") or self.status.get("pipeline")
        return str(recorded or self._choices.get("pipeline") or "")

    @property
    def constitution(self) -> str:
        """The name of its principle set."""
        chosen = self.facts.get("constitution") or self.status.get("constitution") or {}
        return str(chosen.get("name") or "")

    @property
    def seed(self) -> int | None:
        return self.facts.get("seed", self.status.get("seed"))

    @property
    def variant(self) -> str:
        """Which principles it used, as an ablation names them; "" for all of them."""
        variant = str(self.facts.get("variant") or self.status.get("variant") or "full")
        return "" if variant == "full" else variant

    @property
    def overrides(self) -> list[str]:
        """What its command line changed, for the same command again."""
        file = self.folder / ".hydra" / "overrides.yaml"
        if not exists(file):
            return []
        return [str(text) for text in yaml.safe_load(read_text(file)) or []]

    @cached_property
    def _choices(self) -> Mapping[str, Any]:
        """The files that Hydra chose, which earlier versions did not record."""
        file = self.folder / ".hydra" / "hydra.yaml"
        if not exists(file):
            return {}
        hydra = (yaml.safe_load(read_text(file)) or {}).get("hydra", {})
        choices: Mapping[str, Any] = hydra.get("runtime", {}).get("choices", {})
        return choices

    @cached_property
    def steps(self) -> dict[str, Path]:
        """By step, the folder of its artifact; of a run that goes on, as it is planned."""
        steps = {}
        for name, step in (self.facts.get("steps") or {}).items():
            steps[name] = self._locate(Path(step["artifact"]))
        for folder in self.status.get("artifacts") or []:
            name = str(folder).rpartition("-")[0]
            steps.setdefault(name, self.runs_dir / ARTIFACTS / str(folder))
        return steps

    def _locate(
        self,
        recorded: Path,
    ) -> Path:
        """A path may be relative to where the run was started; the folder may have moved since."""
        here = self.runs_dir / ARTIFACTS / recorded.name
        return here if here.is_dir() or not recorded.is_dir() else recorded

    def artifacts(self) -> dict[str, Artifact]:
        """By step, the artifacts whose folders are still there, in the order of the run."""
        finished = {}
        for name, folder in self.steps.items():
            if (folder / "manifest.json").is_file():
                finished[name] = Artifact(folder.name.rpartition("-")[0], folder)
        return finished


def list_runs(runs_dir: Path) -> list[RunRecord]:
    """Return all runs of a folder, also the jobs of sweeps, the newest first.

    Raises:
        UserError: there is no such folder.
    """
    if not runs_dir.is_dir():
        raise UserError(
            "there is no such folder",
            where=str(runs_dir),
            fix="give the folder of your runs: --runs-dir PATH",
        )
    records = list(_find(runs_dir))
    return sorted(
        records,
        key=lambda record: (record.started, record.folder.name),
        reverse=True,
    )


def _find(runs_dir: Path) -> Iterator[RunRecord]:
    folders = list(_folders(runs_dir / LOGS))
    for pointer in sorted((runs_dir / ELSEWHERE).glob("*")):
        folders.append(Path(read_text(pointer).strip()))
    for folder in folders:
        if _is_run(folder):
            yield RunRecord(folder, runs_dir)
    for sweep in _folders(runs_dir / SWEEPS):
        for folder in _folders(sweep):
            if _is_run(folder):
                yield RunRecord(
                    folder,
                    runs_dir,
                    sweep,
                )


def _folders(parent: Path) -> list[Path]:
    return [path for path in sorted(parent.glob("*")) if path.is_dir()]


def _is_run(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (DONE, FAILED, STATUS))


def register(
    folder: Path,
    runs_dir: Path,
) -> None:
    """Leave the place of a run that is not in the usual folders, so that its artifacts stay.

    Raises:
        UserError: it cannot be written.
    """
    folder, runs_dir = folder.resolve(), runs_dir.resolve()
    if folder.parent == runs_dir / LOGS or folder.parent.parent == runs_dir / SWEEPS:
        return
    places = runs_dir / ELSEWHERE
    places.mkdir(parents=True, exist_ok=True)
    name = re.sub(
        r"[^\w.-]+",
        "_",
        str(folder),
    )[-200:]
    write_atomically(places / name, f"{folder}\n")


def open_run(
    text: str,
    runs_dir: Path,
) -> RunRecord:
    """Return the run that a user means; a path may also lead to a run of another folder of runs.

    Raises:
        UserError: as `find_run`.
    """
    folder = Path(text)
    if _is_run(folder):
        return _record_at(folder, runs_dir)
    return find_run(text, list_runs(runs_dir))


def _record_at(
    folder: Path,
    runs_dir: Path,
) -> RunRecord:
    folder = folder.resolve()
    if folder.parent.name == LOGS:
        return RunRecord(folder, folder.parent.parent)
    if folder.parent.parent.name == SWEEPS:
        return RunRecord(
            folder,
            folder.parent.parent.parent,
            folder.parent,
        )
    recorded = RunRecord(folder, runs_dir).config.get("runs_dir")
    return RunRecord(folder, Path(recorded) if recorded else runs_dir)


def find_run(
    text: str,
    records: Sequence[RunRecord],
) -> RunRecord:
    """Return the run that a user means: a path, a label, `last`, or a part of its folder's name.

    Raises:
        UserError: there is none, or there are several.
    """
    if text == LAST and records:
        return records[0]
    for matches in _ways_to_match(text, records):
        if len(matches) == 1:
            return matches[0]
        if matches:
            names = ", ".join(record.id for record in matches[:8])
            fix = f"choose one of: {names}"
            raise UserError(
                "several runs are called so",
                where=text,
                fix=fix,
            )
    raise UserError(
        "there is no such run",
        where=text,
        fix="see `python -m stages.runs list`; --runs-dir says where runs lie",
    )


def _ways_to_match(
    text: str,
    records: Sequence[RunRecord],
) -> Iterator[list[RunRecord]]:
    path = Path(text)
    if path.is_dir():
        yield [record for record in records if record.folder.resolve() == path.resolve()]
    yield [record for record in records if record.label == text]
    yield [record for record in records if record.id == text]
    yield [record for record in records if text in f"{record.folder.name} {record.id}".split()]
    yield [record for record in records if text and text in record.folder.name]


def set_label(
    record: RunRecord,
    label: str,
) -> None:
    """Give a run a name, or take it away with "".

    Raises:
        UserError: it is no name.
    """
    if not label:
        (record.folder / LABEL).unlink(missing_ok=True)
        return
    if not re.fullmatch(rf"[\w.-]{{1,{LONGEST_LABEL}}}", label) or label == LAST:
        raise UserError(
            f"{label[:80]!r} is no label",
            where="label",
            fix=f"take letters, digits, dots, _ and -, at most {LONGEST_LABEL}, and not `{LAST}`",
        )
    write_atomically(record.folder / LABEL, f"{label}\n")


def _short(folder: Path) -> str:
    """The random end of a folder's name, or the whole name."""
    return folder.name.rpartition("-")[2] if _STARTED.match(folder.name) else folder.name


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        facts = read_json(file)
    except UserError:  # damaged: the run is listed without what it says
        return {}
    return facts if isinstance(facts, dict) else {}
