"""Before a sweep: what each variant would run, and the smallest effect that can be detected.

The forecast sends and trains nothing. A step that several jobs share is counted once, in the first
of them.
"""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from stages.ablation.levels import check_variant_has_effect, prepare_job, steps_of_full_set
from stages.ablation.outcomes import FIRST, base_rates
from stages.ablation.sweep_overrides import Configs, Overrides, groups, values_of
from stages.guards.errors import UserError
from stages.principles.variants import FULL
from stages.runtime.cost.foreseen import Expense
from stages.runtime.pipeline.plan import PlannedStep
from stages.runtime.pipeline.runner import Runner
from stages.runtime.pipeline.settings import Settings
from stages.runtime.pipeline.steps import Step
from stages.runtime.store import CallStore
from stages.statistics.formatting import format_percent, format_plural
from stages.statistics.power import minimum_detectable

# for a base rate that is not measured yet: at this rate the detectable effect is largest
ASSUMED_RATE = 0.5


@dataclass(frozen=True)
class JobForecast:
    """What one job would do.

    Args:
        reused: the number of steps that exist already.
        to_run: the steps that it runs.
        shared: the number of steps that an earlier job runs.
        stored: the number of calls that the store answers.
        open_rows: the number of rows that need new calls.
        new: the new calls of those rows.
        unknown: the number of steps whose calls cannot be counted yet.
        error: why the job cannot run.
    """

    label: str
    seed: int
    reused: int = 0
    to_run: tuple[str, ...] = ()
    shared: int = 0
    stored: int = 0
    open_rows: int = 0
    new: Expense = field(default_factory=Expense)
    unknown: int = 0
    trainings: int = 0
    error: str = ""


def forecast(
    config: DictConfig, overrides: Overrides, console: Console
) -> tuple[list[JobForecast], str]:
    """A forecast for each job, and a sentence on what the whole sweep could detect.

    Raises:
        UserError: the first job, which runs the full set, or every variant has a mistake: then the
            command is wrong.
    """
    jobs: list[JobForecast] = []
    detectable = ""
    errors: list[UserError] = []
    with asyncio.Runner() as loop, ExitStack() as stack:
        planner = _Planner(config, console, loop, stack)
        for job_overrides, group in zip(overrides, groups(overrides), strict=True):
            job_config = planner.configs(job_overrides)
            label = f"{job_config.variant} {group}".strip()
            try:
                settings, planned = planner.plan(job_config, group)
            except UserError as error:
                if not jobs:
                    raise
                jobs.append(JobForecast(label, job_config.seed, error=error.what))
                errors.append(error)
                continue
            jobs.append(planner.count(label, settings.seed, planned))
            detectable = detectable or _detectable(settings, planned, overrides)
    variants = [job for job in jobs if not job.label.startswith(FULL)]
    if errors and len(errors) == len(variants):  # no variant would run
        raise errors[0]
    return jobs, detectable


class _Planner:
    """Plans the jobs of a sweep one by one, and remembers the artifacts of earlier jobs."""

    def __init__(
        self, config: DictConfig, console: Console, loop: asyncio.Runner, stack: ExitStack
    ):
        self.configs = Configs(config)
        self._console = console
        self._loop = loop
        self._stack = stack  # closes the stores
        self._stores: dict[str, CallStore] = {}
        self._full: dict[str, list[Step]] = {}  # by group, the steps of its full set
        self._artifacts: set[str] = set()  # that earlier jobs would make

    def plan(self, config: DictConfig, group: str) -> tuple[Settings, list[PlannedStep]]:
        """One job's settings and its plan.

        Raises:
            UserError: the job cannot run.
        """
        settings, _, steps = prepare_job(config)
        if group not in self._full:
            self._full[group] = steps_of_full_set(config)
        check_variant_has_effect(settings, steps, self._full[group])
        if settings.store not in self._stores:
            store = closing(CallStore(settings.store))
            self._stores[settings.store] = self._stack.enter_context(store)
        generator = settings.generator
        runner = Runner(
            Path(settings.runs_dir) / "artifacts",
            settings.seed,
            self._stores[settings.store],
            settings.open_engines(),
            self._console,
            self._loop,
            generator.concurrency,
        )
        return settings, runner.plan(steps)

    def count(self, label: str, seed: int, planned: Sequence[PlannedStep]) -> JobForecast:
        """Count what a planned job would run, without the artifacts of earlier jobs."""
        missing = [p for p in planned if not p.result]
        new = [p for p in missing if _artifact_name(p) not in self._artifacts]
        self._artifacts |= {_artifact_name(p) for p in missing}
        calling = [p for p in new if p.step.contract.calls_generator]
        counted = [p.forecast for p in calling if p.forecast]
        return JobForecast(
            label,
            seed,
            reused=len(planned) - len(missing),
            to_run=tuple(p.step.name for p in new),
            shared=len(missing) - len(new),
            stored=sum(calls.stored for calls in counted),
            open_rows=sum(calls.open_rows for calls in counted),
            new=sum((calls.new for calls in counted), Expense()),
            unknown=len(calling) - len(counted),
            trainings=sum(p.step.contract.trains for p in new),
        )


def _artifact_name(planned: PlannedStep) -> str:
    return f"{planned.step.name}-{planned.fingerprint}"


def _detectable(settings: Settings, planned: Sequence[PlannedStep], overrides: Overrides) -> str:
    """What the sweep could detect, if its full set was measured before."""
    level = settings.ablate.level
    if level == "labels":
        return "Nothing is trained, so the intervals are over requests only."
    artifacts = [p.result for p in planned if p.result]
    measured = next(base_rates(level, artifacts), None)
    if measured is None:
        return (
            "The smallest detectable effect is known once the full set was run: "
            "it depends on how many requests are measured."
        )
    prompts, rate = measured
    assumed = ASSUMED_RATE if rate is None else rate
    seeds, comparisons = _size_of(overrides)
    smallest = minimum_detectable(
        prompts,
        seeds,
        base_rate=assumed,
        seed_sd=settings.ablate.assume_seed_sd,
        overlap=settings.ablate.assume_overlap,
        comparisons=comparisons,
        alpha=1 - settings.ablate.confidence,
    )
    conditions = (
        f"{prompts} requests, {format_plural(seeds, 'seed')}, "
        f"{format_plural(comparisons, 'comparison')}; "
        f"the full set's rate being {format_percent(assumed)} %"
    )
    outcome = repr(FIRST[level])
    if smallest is None:
        return (
            f"No effect on {outcome} would be found in four of five cases ({conditions}): "
            "take more requests or seeds."
        )
    return (
        f"An effect on {outcome} of about {format_percent(smallest)} points is found with "
        f"a chance of 80 % ({conditions}) if answers change as between two independent draws; "
        f"the fewer change, the smaller it may be. {_about_seeds(settings, seeds)}"
    )


def _about_seeds(settings: Settings, seeds: int) -> str:
    """What the forecast assumes about seeds."""
    if seeds == 1:
        return "It does not include what another seed would change."
    overlap = settings.ablate.assume_overlap
    share = "" if overlap is None else f"to {format_percent(overlap, 0)} % "
    worst = ", whichever needs the larger effect" if overlap is None else ""
    requests = f"seeds change {share}the same requests" + (" or different ones" if worst else "")
    moved = format_percent(settings.ablate.assume_seed_sd)
    return (
        f"Assumed: {requests}{worst} (ablate.assume_overlap), and a seed moves an effect by "
        f"{moved} points, as a standard deviation (ablate.assume_seed_sd)."
    )


def _size_of(overrides: Overrides) -> tuple[int, int]:
    """How many seeds a sweep has, and how many variants are compared with the reference."""
    seeds = set()
    variants = set()
    for job in overrides:
        values = values_of(job)
        seeds.add(values.pop("seed", ""))
        variants.add(tuple(values.values()))
    return len(seeds), max(len(variants) - 1, 1)
