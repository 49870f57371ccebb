"""What each job of a sweep ran, reused and sent. In: the jobs. Out: plain data for the template."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from stages.ablation.jobs import DONE, FAILED, Job
from stages.report.views.marks import View

SHORTEST = 1e-9  # seconds


@dataclass(frozen=True)
class Work:
    """The work of one job, without what other jobs did for it.

    Args:
        step_names: the steps that it ran.
        reused: the number of steps that existed already, or that an earlier job ran.
        sent, stored: the numbers of calls to a model, and of calls that the store answered.
    """

    step_names: tuple[str, ...] = ()
    reused: int = 0
    sent: int = 0
    stored: int = 0
    trainings: int = 0
    seconds: float = 0.0


def job_table(jobs: Sequence[Job], sweep: Path, page: Path) -> list[View]:
    """A line for each job; `bar` is the length of its time, in per cent.

    Args:
        sweep: the folder that holds the folders of the jobs.
        page: links are relative to it, so that the folder can be moved as a whole.
    """
    counted: set[Path] = set()  # a step that several jobs share counts where it was made
    works = [_work_of(job, sweep, counted) for job in jobs]
    longest = max([SHORTEST, *(work.seconds for work in works)])
    lines = []
    for job, work in zip(jobs, works, strict=True):
        lines.append(
            {
                "job": job,
                "work": work,
                "bar": 100 * work.seconds / longest,
                "links": _links(job, sweep, page),
            }
        )
    return lines


def _work_of(job: Job, sweep: Path, counted: set[Path]) -> Work:
    """The work of one job; adds its artifacts to `counted`."""
    if job.error:
        return Work()
    reused = _reused(sweep / str(job.number))
    artifacts = []
    for artifact in job.artifacts():
        if not reused.get(artifact.step, True) and artifact.directory not in counted:
            artifacts.append(artifact)
        counted.add(artifact.directory)
    calls = [artifact.manifest.get("calls") or {} for artifact in artifacts]
    return Work(
        step_names=tuple(artifact.step for artifact in artifacts),
        reused=len(reused) - len(artifacts),
        sent=sum(each.get("sent", 0) for each in calls),
        stored=sum(each.get("stored", 0) for each in calls),
        trainings=sum(bool(artifact.metrics.get("history")) for artifact in artifacts),
        seconds=sum(artifact.manifest.get("seconds") or 0 for artifact in artifacts),
    )


def _reused(folder: Path) -> dict[str, bool]:
    """By step, whether the job of this folder reused it."""
    try:
        text = (folder / DONE).read_text(encoding="utf-8")
        steps = json.loads(text).get("steps", {})
    except (OSError, ValueError):
        return {}
    return {name: bool(step.get("reused")) for name, step in steps.items()}


def _links(job: Job, sweep: Path, page: Path) -> list[tuple[str, str]]:
    """The reports and the record of a job, each as a name and a relative link."""
    links = []
    if not job.error:
        for artifact in job.of_stage("report"):
            report = artifact.directory / "report.html"
            if report.exists():
                links.append(("report", _link(page, report)))
    record = sweep / str(job.number) / (FAILED if job.error else DONE)
    if record.exists():
        links.append((record.name, _link(page, record)))
    return links


def _link(page: Path, target: Path) -> str:
    relative = os.path.relpath(target, page.parent)
    return quote(Path(relative).as_posix())
