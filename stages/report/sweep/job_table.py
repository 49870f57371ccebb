"""What each job of a sweep ran, reused and sent. In: the jobs. Out: plain data for the template."""

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
    works = [_work_of(job, counted) for job in jobs]
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


def _work_of(job: Job, counted: set[Path]) -> Work:
    """The work of one job; adds its artifacts to `counted`."""
    if job.error:
        return Work()
    artifacts = []
    for artifact in job.artifacts():
        if artifact.step not in job.reused and artifact.directory not in counted:
            artifacts.append(artifact)
        counted.add(artifact.directory)
    calls = [artifact.manifest.calls for artifact in artifacts]
    return Work(
        step_names=tuple(artifact.step for artifact in artifacts),
        reused=len(job.steps) - len(artifacts),
        sent=sum(each.sent for each in calls),
        stored=sum(each.stored for each in calls),
        trainings=sum(bool(artifact.metrics.get("history")) for artifact in artifacts),
        seconds=sum(artifact.manifest.seconds for artifact in artifacts),
    )


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
