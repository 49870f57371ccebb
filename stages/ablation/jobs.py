"""The jobs of a sweep and what their folders hold afterwards.

A finished job leaves `run.json` in its folder, a failed one `failed.json`. Neither holds results;
they name the folders of the artifacts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from stages.ablation.sweep_overrides import Overrides, groups, values_of
from stages.guards.errors import UserError
from stages.guards.files import read_text
from stages.principles.variants import FULL, kind_and_target
from stages.runtime.artifacts import Artifact, look_up

DONE, FAILED = "run.json", "failed.json"


class JobStep(BaseModel):
    """A step in `run.json`."""

    artifact: str
    """The folder of its artifact."""
    reused: bool = False
    """Whether it existed before the job."""


class Record(BaseModel):
    """What is read of `run.json` and `failed.json`."""

    model_config = ConfigDict(strict=True)

    variant: str
    seed: int
    error: str = ""
    steps: dict[str, JobStep] = {}
    constitution: dict[str, Any] = {}


@dataclass(frozen=True)
class Job:
    """One job of a sweep.

    Args:
        number: its place in the sweep, also the name of its folder.
        group: the other overrides that were swept; runs are compared with the full set of their own
            group.
        steps: by step, the folder of its artifact; empty for a job that failed.
        reused: the steps that existed before it.
        error: why it failed; empty for a finished job.
        constitution: the selection before the variant is applied.
    """

    number: int
    variant: str
    seed: int
    group: str = ""
    steps: Mapping[str, str] = field(default_factory=dict)
    reused: frozenset[str] = frozenset()
    error: str = ""
    constitution: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The variant; in a sweep over more than variants and seeds, with its group."""
        return f"{self.variant} {self.group}".strip()

    @property
    def kind(self) -> str:
        """The variant's kind, such as `leave_one_out`."""
        return kind_and_target(self.variant)[0]

    @property
    def target(self) -> str:
        """The principle, tag or number that the variant is about."""
        return kind_and_target(self.variant)[1]

    def artifacts(self) -> list[Artifact]:
        return [Artifact(name, Path(folder)) for name, folder in self.steps.items()]

    def of_stage(self, stage: str) -> list[Artifact]:
        return [artifact for artifact in self.artifacts() if artifact.stage == stage]


def read_jobs(folder: Path, overrides: Overrides) -> list[Job]:
    """The sweep's jobs as their folders describe them, in order.

    A job counts as failed if its folder holds neither file, or if an artifact that it names is
    damaged or gone: the same command makes that one anew.
    """
    jobs = []
    damages: dict[str, str] = {}
    for number, group in enumerate(groups(overrides)):
        record = _read_record(folder / str(number), values_of(overrides[number]))
        for name, step in record.steps.items():
            if step.artifact not in damages:
                damages[step.artifact] = _damage(name, Path(step.artifact))
        faults = [damages[step.artifact] for step in record.steps.values()]
        error = record.error or "; ".join(filter(None, faults))
        jobs.append(
            Job(
                number=number,
                variant=record.variant,
                seed=record.seed,
                group=group,
                steps={} if error else {n: step.artifact for n, step in record.steps.items()},
                reused=frozenset(name for name, step in record.steps.items() if step.reused),
                error=error,
                constitution=record.constitution,
            )
        )
    return jobs


def _read_record(folder: Path, values: Mapping[str, str]) -> Record:
    variant, seed = values.get("variant", FULL), int(values.get("seed", 0))
    for name in (DONE, FAILED):  # a job that was fixed has both
        if (folder / name).exists():
            try:
                return Record.model_validate_json(read_text(folder / name))
            except (UserError, ValidationError, RecursionError) as error:
                reason = str(error).partition("\n")[0]
                return Record(variant=variant, seed=seed, error=f"{name} is damaged: {reason}")
    return Record(variant=variant, seed=seed, error="not run")


def _damage(step: str, folder: Path) -> str:
    """Why the artifact of a step cannot be read, or ""."""
    artifact, damage = look_up(folder.parent, step, folder.name.rpartition("-")[2])
    return "" if artifact else f"step {step!r}: {damage or 'its artifact is gone'} ({folder})"
