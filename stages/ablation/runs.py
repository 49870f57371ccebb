"""The runs of a sweep: what each variant came to, by seed, outcome and prompt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stages.ablation.jobs import Job
from stages.ablation.outcomes import NONE, Values, before_the_method, same_lessons, values
from stages.principles.variants import FULL
from stages.runtime.errors import UserError

Missing = dict[str, Any]
"""A job that has no part in a run, as `results.json` lists it: `variant`, `seed` and `error`."""


@dataclass
class Run:
    """One variant.

    Args:
        reference: the label of the full set that it is compared with.
        seeds: by seed what it came to, by outcome and prompt.
        same: it learnt from the same data as the reference, under every seed.
    """

    label: str
    kind: str
    target: str
    reference: str
    seeds: dict[str, Values] = field(default_factory=dict)
    same: bool = True


def gather(level: str, jobs: Sequence[Job]) -> tuple[dict[str, Run], list[Missing]]:
    """The runs of a sweep by label, and what is missing.

    Returns:
        A run for each variant of which a job and its reference were finished, and for level
        `policy` the model before the method.

    Raises:
        UserError: no full set was run to its end, so there is nothing to compare with.
    """
    missing = [missing_job(job.label, job.seed, job.error) for job in jobs if job.error]
    finished = [job for job in jobs if not job.error]
    full_sets = [job for job in finished if job.variant == FULL]
    if not full_sets:
        raise _no_reference(missing)

    runs: dict[str, Run] = {}
    for job in finished:
        label = _reference_of(job, jobs, full_sets)
        reference = _find(full_sets, label, job.seed)
        if reference is None:
            missing.append(missing_job(job.label, job.seed, f"{label!r} has no such seed"))
            continue
        run = runs.setdefault(job.label, Run(job.label, job.kind, job.target, label))
        run.seeds[str(job.seed)] = values(level, job, reference)
        run.same = run.same and level != "labels" and same_lessons(job, reference)
        if level == "policy" and job is reference:
            _add_run_before_the_method(runs, job)
    return runs, missing


def missing_job(label: str, seed: int | None, error: str) -> Missing:
    return {"variant": label, "seed": seed, "error": error}


def _no_reference(missing: Sequence[Missing]) -> UserError:
    errors = [f"{job['variant']} seed {job['seed']}: {job['error']}" for job in missing[:3]]
    return UserError(
        "the full set was not run to its end, so there is nothing to compare with "
        f"({'; '.join(errors)})",
        where="ablation",
        fix="fix what stopped it and give the same command again: finished steps are reused",
    )


def _reference_of(job: Job, jobs: Sequence[Job], full_sets: Sequence[Job]) -> str:
    """The label of the job's reference: its own group's full set.

    Where groups hold nothing else, sets are compared, all with the sweep's first.
    """
    for other in jobs:
        if other.group == job.group and other.variant != FULL:
            return f"{FULL} {job.group}".strip()
    return full_sets[0].label


def _find(full_sets: Sequence[Job], label: str, seed: int) -> Job | None:
    for job in full_sets:
        if job.label == label and job.seed == seed:
            return job
    return None


def _add_run_before_the_method(runs: dict[str, Run], job: Job) -> None:
    """The first policy of the full set's evaluation, as a run of its own."""
    outcomes = before_the_method(job)
    if not outcomes:
        return
    name = f"{NONE} {job.group}".strip()
    run = runs.setdefault(name, Run(name, NONE, "", job.label, same=False))
    run.seeds[str(job.seed)] = outcomes


def of_outcome(run: Run, outcome: str) -> dict[str, dict[str, float]]:
    """By seed the values of one outcome; seeds without any are left out."""
    cells = {}
    for seed, outcomes in run.seeds.items():
        if outcomes.get(outcome):
            cells[seed] = outcomes[outcome]
    return cells


def mean_of(by_seed: Mapping[str, Mapping[str, float]]) -> float | None:
    """The mean over seeds and prompts; None without values."""
    cells = [value for cells in by_seed.values() for value in cells.values()]
    return sum(cells) / len(cells) if cells else None
