"""The table before a sweep, with its forecast. In: `JobForecast`s. Out: the terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from stages.ablation.forecast import JobForecast
from stages.runtime.cost.foreseen import Expense


def show_forecast(jobs: Sequence[JobForecast], detectable: str, console: Console) -> None:
    """Print a line for each job, their sum, and the sentence on what could be detected."""
    several_seeds = len({job.seed for job in jobs}) > 1
    columns = [
        "variant",
        "reused",
        "to run",
        "calls",
        "trainings",
    ]
    if several_seeds:
        columns.insert(1, "seed")
    table = Table(title="Forecast", title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for job in jobs:
        row = [
            job.label,
            str(job.reused),
            job.error or _to_run(job),
            _calls(job),
            str(job.trainings or ""),
        ]
        if several_seeds:
            row.insert(1, str(job.seed))
        table.add_row(*row)
    console.print(table)
    console.print(_sum(jobs))
    console.print(detectable)


def _to_run(job: JobForecast) -> str:
    text = ", ".join(job.to_run) or "nothing"
    return f"{text} (shared with an earlier job: {job.shared})" if job.shared else text


def _calls(job: JobForecast) -> str:
    parts = []
    if job.stored:
        parts.append(f"{job.stored} stored")
    if job.open_rows:
        rows = f"{job.open_rows} rows need new ones"
        parts.append(f"{rows}: {job.new.short}" if job.new.calls else rows)
    if job.unknown:
        parts.append(f"{job.unknown} steps known later")
    return "; ".join(parts)


def _sum(jobs: Sequence[JobForecast]) -> str:
    steps = sum(len(job.to_run) for job in jobs)
    trainings = sum(job.trainings for job in jobs)
    rows = sum(job.open_rows for job in jobs)
    unknown = sum(job.unknown for job in jobs)
    calls = f"{rows} rows need new calls"
    new = sum((job.new for job in jobs), Expense())
    if new.calls:
        calls += f" ({new})"
    if unknown:
        calls += f", and those of {unknown} steps are known once their inputs exist"
    return f"{len(jobs)} jobs: {steps} steps to run, {trainings} of them trainings; {calls}."
