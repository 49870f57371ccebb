"""Before a sweep: what each variant would run, send and train, and the smallest effect that it
could find.

Nothing is sent or trained for it. A step that an earlier job of the sweep will have made is counted
once, there.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stages.ablation.jobs import Configs, groups
from stages.ablation.levels import check_followed, prepared, unvaried
from stages.ablation.outcomes import FIRST, requests_known
from stages.principles.variants import FULL
from stages.runtime.calls import Engines
from stages.runtime.errors import UserError
from stages.runtime.pipeline.config import Settings
from stages.runtime.pipeline.plan import PlannedStep
from stages.runtime.pipeline.runner import Runner
from stages.runtime.pipeline.steps import Step
from stages.runtime.store import CallStore
from stages.statistics.power import minimum_detectable

ASSUMED = 0.5  # a base rate that nobody has measured yet: the one at which the least is detectable


@dataclass(frozen=True)
class Line:
    """One job. `shared` steps are made by an earlier job; `unknown` ones send calls that nobody can
    count yet.
    """

    label: str
    seed: int
    reused: int = 0
    to_run: tuple[str, ...] = ()
    shared: int = 0
    stored: int = 0
    open_rows: int = 0
    unknown: int = 0
    trainings: int = 0
    error: str = ""


def forecast(
    config: DictConfig, overrides: Sequence[Sequence[str]], console: Console
) -> tuple[list[Line], str]:
    """A line for each job, and what the whole could detect.

    Raises:
        UserError: what is wrong with the first job, the full set's, or with all variants: then it
        is the command that is wrong.
    """
    lines: list[Line] = []
    known: set[str] = set()
    detectable = ""
    refused: list[UserError] = []
    whole: dict[str, list[Step]] = {}
    configs = Configs(config)
    stores: dict[str, CallStore] = {}
    with asyncio.Runner() as loop:
        try:
            for given, group in zip(overrides, groups(overrides), strict=True):
                made = configs(given)
                label = f"{made.variant} {group}".strip()
                try:
                    settings, _, steps = prepared(made)
                    if group not in whole:
                        whole[group] = unvaried(made)
                    check_followed(settings, steps, whole[group])
                    if settings.store not in stores:
                        stores[settings.store] = CallStore(Path(settings.store))
                    planned = _plan(settings, steps, stores[settings.store], console, loop)
                except UserError as error:
                    if not lines:
                        raise
                    lines.append(Line(label, made.seed, error=error.what))
                    refused.append(error)
                    continue
                lines.append(_line(label, settings.seed, planned, known))
                if not detectable:
                    detectable = _detectable(settings, planned, overrides)
        finally:
            for store in stores.values():
                store.close()
    if (
        len(refused) == len([line for line in lines if not line.label.startswith(FULL)]) > 0
    ):  # none would run
        raise refused[0]
    return lines, detectable


def _plan(
    settings: Settings, steps: list[Step], store: CallStore, console: Console, loop: asyncio.Runner
) -> list[PlannedStep]:
    artifacts = Path(settings.runs_dir) / "artifacts"
    generator = settings.generator
    engines = Engines(generator.name, generator.options, generator.keep)
    return Runner(
        artifacts, settings.seed, store, engines, console, loop, generator.concurrency
    ).plan(steps)


def _line(label: str, seed: int, planned: Sequence[PlannedStep], known: set[str]) -> Line:
    def name(p: PlannedStep) -> str:
        return f"{p.step.name}-{p.fingerprint}"

    missing = [p for p in planned if not p.artifact]
    new = [p for p in missing if name(p) not in known]
    known |= {name(p) for p in missing}
    calling = [p for p in new if p.step.contract.calls_generator]
    return Line(
        label,
        seed,
        reused=len(planned) - len(missing),
        to_run=tuple(p.step.name for p in new),
        shared=len(missing) - len(new),
        stored=sum(p.forecast.stored for p in calling if p.forecast),
        open_rows=sum(p.forecast.open_rows for p in calling if p.forecast),
        unknown=sum(p.forecast is None for p in calling),
        trainings=sum(p.step.contract.trains for p in new),
    )


def _detectable(
    settings: Settings, planned: Sequence[PlannedStep], overrides: Sequence[Sequence[str]]
) -> str:
    level = settings.ablate.level
    if level == "labels":
        return "Nothing is trained, so the intervals are over requests only."
    jobs = [dict(override.partition("=")[::2] for override in job) for job in overrides]
    seeds = len({job.get("seed", "") for job in jobs})
    comparisons = max(len({tuple(v for k, v in job.items() if k != "seed") for job in jobs}) - 1, 1)
    found = next(requests_known(level, [p.artifact for p in planned if p.artifact]), None)
    if found is None:
        return "The smallest detectable effect is known once the full set was run: it depends on how many requests are measured."
    prompts, rate = found
    assumed = ASSUMED if rate is None else rate
    chance = minimum_detectable(
        prompts,
        seeds,
        base_rate=assumed,
        comparisons=comparisons,
        alpha=1 - settings.ablate.confidence,
    )
    several = "comparisons" if comparisons > 1 else "comparison"
    given = (
        f"{prompts} requests, {seeds} {'seeds' if seeds > 1 else 'seed'}, {comparisons} {several}"
    )
    base = f"the full set's rate being {100 * assumed:.1f} %"
    if chance.effect is None:
        what = f"No effect on {FIRST[level]!r} would be found in four of five cases"
        return f"{what} ({given}; {base}): take more requests or seeds."
    other = (
        "What another seed would give is not in it."
        if seeds == 1
        else "Seeds that differ in what they do ask for more."
    )
    sure = f"An effect on {FIRST[level]!r} of about {100 * chance.effect:.1f} points is found with a chance of 80 %"
    return (
        f"{sure} ({given}; {base}) "
        f"if answers change as between two independent draws; the fewer change, the smaller it may be. {other}"
    )


def show(lines: Sequence[Line], detectable: str, console: Console) -> None:
    """The one table before a sweep."""
    table = Table(title="Forecast", title_justify="left", box=None, pad_edge=False)
    seeds = len({line.seed for line in lines}) > 1
    for column in (
        "variant",
        *(("seed",) if seeds else ()),
        "reused",
        "to run",
        "calls",
        "trainings",
    ):
        table.add_column(column, overflow="fold")
    for line in lines:
        state = ", ".join(line.to_run) or "nothing"
        state += f" (shared with an earlier job: {line.shared})" if line.shared else ""
        cells = [
            str(line.reused),
            escape(line.error or state),
            _calls(line),
            str(line.trainings or ""),
        ]
        table.add_row(escape(line.label), *([str(line.seed)] if seeds else []), *cells)
    console.print(table)
    calls = sum(line.open_rows for line in lines)
    open_ = sum(line.unknown for line in lines)
    told = f"{calls} rows need new calls"
    told += f", and those of {open_} steps are known once their inputs are there" if open_ else ""
    steps, trainings = (
        sum(len(line.to_run) for line in lines),
        sum(line.trainings for line in lines),
    )
    console.print(
        f"{len(lines)} jobs: {steps} steps to run, {trainings} of them trainings; {told}.",
        highlight=False,
    )
    console.print(detectable, highlight=False)


def _calls(line: Line) -> str:
    parts = [f"{line.stored} stored"] if line.stored else []
    parts += [f"{line.open_rows} rows need new ones"] if line.open_rows else []
    parts += [f"{line.unknown} steps known later"] if line.unknown else []
    return "; ".join(parts)
