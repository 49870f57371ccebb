"""The jobs of a sweep and what their folders hold afterwards.

A finished job leaves `run.json` in its folder, a failed one `failed.json`. Neither holds results;
they name the folders of the artifacts.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.ablation.sweep_overrides import Overrides, groups, values_of
from stages.principles.variants import FULL, kind_and_target
from stages.runtime.artifacts import Artifact

DONE, FAILED = "run.json", "failed.json"


@dataclass(frozen=True)
class Job:
    """One job of a sweep.

    Args:
        number: its place in the sweep, also the name of its folder.
        group: the other overrides that were swept; runs are compared with the full set of their own
            group.
        steps: by step, the folder of its artifact; empty for a job that failed.
        error: why it failed; empty for a finished job.
        constitution: the selection before the variant is applied.
    """

    number: int
    variant: str
    seed: int
    group: str = ""
    steps: Mapping[str, str] = field(default_factory=dict)
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

    A job whose folder holds neither file counts as failed.
    """
    jobs = []
    for number, group in enumerate(groups(overrides)):
        values = values_of(overrides[number])
        facts: dict[str, Any] = {
            "variant": values.get("variant", FULL),
            "seed": int(values.get("seed", 0)),
            "error": "not run",
        }
        for name in (FAILED, DONE):  # a job that was fixed has both
            path = folder / str(number) / name
            if path.exists():
                facts |= {"error": ""} | json.loads(path.read_text(encoding="utf-8"))
        steps = {}
        if not facts["error"]:
            for name, step in facts.get("steps", {}).items():
                steps[name] = step["artifact"]
        jobs.append(
            Job(
                number=number,
                variant=facts["variant"],
                seed=facts["seed"],
                group=group,
                steps=steps,
                error=facts["error"],
                constitution=facts.get("constitution", {}),
            )
        )
    return jobs
