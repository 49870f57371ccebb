"""The runs of a sweep: the results of each variant, by seed, outcome and prompt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stages.ablation.jobs import Job
from stages.ablation.outcomes import (
    NONE,
    Values,
    job_results,
    learns_from_same_data,
    values_before_method,
)
from stages.guards.errors import UserError
from stages.principles.variants import FULL

Missing = dict[str, Any]
"""A job that is missing from the comparison: `variant`, `seed`, `error` as in `results.json`."""


@dataclass
class Run:
    """The jobs of one variant.

    Args:
        reference: the label of the full set that it is compared with.
        seeds: by seed its results, by outcome and prompt.
        same_data: it learned from the same data as the reference, with every seed.
    """

    label: str
    kind: str
    target: str
    reference: str
    seeds: dict[str, Values] = field(default_factory=dict)
    same_data: bool = True


def gather(level: str, jobs: Sequence[Job]) -> tuple[dict[str, Run], list[Missing]]:
    """Collect the runs of a sweep by label, and the jobs that are missing.

    Returns:
        A run for each variant with a finished job and reference, and, at level `policy`, one for
        the model before the method.

    Raises:
        UserError: no full set was run to the end, so there is nothing to compare with.
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
        run.seeds[str(job.seed)] = job_results(level, job, reference)
        run.same_data = (
            run.same_data and level != "labels" and learns_from_same_data(job, reference)
        )
        if level == "policy" and job is reference:
            _add_run_before_method(runs, job)
    return runs, missing


def missing_job(label: str, seed: int | None, error: str) -> Missing:
    return {"variant": label, "seed": seed, "error": error}


def _no_reference(missing: Sequence[Missing]) -> UserError:
    errors = [f"{job['variant']} seed {job['seed']}: {job['error']}" for job in missing[:3]]
    return UserError(
        "the full set was not run to the end, so there is nothing to compare with "
        f"({'; '.join(errors)})",
        where="ablation",
        fix="fix what stopped it and give the same command again: finished steps are reused",
    )


def _reference_of(job: Job, jobs: Sequence[Job], full_sets: Sequence[Job]) -> str:
    """The label of the job's reference: the full set of its own group.

    A sweep over full sets alone compares all of them with the first.
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


def _add_run_before_method(runs: dict[str, Run], job: Job) -> None:
    """The first policy of the full set's evaluation, as a separate run."""
    outcomes = values_before_method(job)
    if not outcomes:
        return
    name = f"{NONE} {job.group}".strip()
    run = runs.setdefault(name, Run(name, NONE, "", job.label, same_data=False))
    run.seeds[str(job.seed)] = outcomes


def outcome_values(run: Run, outcome: str) -> dict[str, dict[str, float]]:
    """By seed and prompt, the values of one outcome; seeds without values are left out."""
    by_seed = {}
    for seed, outcomes in run.seeds.items():
        if outcomes.get(outcome):
            by_seed[seed] = outcomes[outcome]
    return by_seed


def overall_mean(by_seed: Mapping[str, Mapping[str, float]]) -> float | None:
    """The mean over all seeds and prompts; None without values."""
    all_values: list[float] = []
    for values_by_prompt in by_seed.values():
        all_values += values_by_prompt.values()
    return sum(all_values) / len(all_values) if all_values else None
