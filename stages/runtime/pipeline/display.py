"""What a run shows in the terminal: first the plan, then a line for each step, last the tables."""

import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from stages.guards.errors import UserError
from stages.runtime.artifacts import Artifact
from stages.runtime.calls import LOW_MASS, Tally
from stages.runtime.pipeline.plan import PlannedStep

LOG_WIDTH = 120


def set_console_width(console: Console) -> Console:
    """Give tables room in pipes and logs, which have no width of their own."""
    if not console.is_terminal:
        console.width = max(console.width, LOG_WIDTH)
    return console


def show_error(error: UserError, console: Console) -> None:
    """Show a UserError."""
    console.print("[bold red]Credo stopped.[/]", highlight=False)
    console.print(str(error), markup=False, highlight=False, soft_wrap=True)


def show_bug(error: Exception, log: Path, console: Console) -> None:
    """Write the traceback of an error that is not the user's into a log, and show the log."""
    with log.open("a", encoding="utf-8", errors="replace") as stream:
        traceback.print_exception(error, file=stream)
    notes = " ".join(getattr(error, "__notes__", []))
    words = " ".join(f"{type(error).__name__}: {error} {notes}".split())
    console.print(
        f"Credo stopped at a bug of its own: {words}. The traceback is in {log}; answered calls "
        "and finished steps are kept.",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def show_plan(planned: Sequence[PlannedStep], console: Console) -> None:
    """Show one line per step: reused or to run, why, and the calls that it will send."""
    table = RichTable(title="Plan", title_justify="left", box=None, pad_edge=False)
    for column in ("step", "stage", "", "why", "calls"):
        table.add_column(column, overflow="fold")
    for plan in planned:
        state = "[green]reuse[/]" if plan.artifact else "[yellow]run[/]"
        table.add_row(plan.step.name, plan.step.stage, state, escape(_why(plan)), _calls(plan))
    console.print(table)
    to_run = sum(plan.artifact is None for plan in planned)
    reused = count_steps(len(planned) - to_run)
    console.print(f"{reused} reused, {to_run} to run.", highlight=False)


def show_job(variant: str, seed: int, planned: Sequence[PlannedStep], console: Console) -> None:
    """Show one line in place of a plan; the sweep's forecast has already shown the rest."""
    to_run = [plan.step.name for plan in planned if not plan.artifact]
    reused = count_steps(len(planned) - len(to_run))
    console.print(
        f"[bold]{escape(variant)}[/] seed {seed}: {reused} reused; "
        f"to run: {', '.join(to_run) or 'none'}"
    )


def count_steps(number: int) -> str:
    """Return `1 step` or `2 steps`."""
    return f"{number} step" if number == 1 else f"{number} steps"


def step_line(artifact: Artifact, tally: Tally) -> str:
    """Describe a finished step in one line of rich markup: time, rows, dropped rows, calls."""
    facts = artifact.manifest
    parts = [f"[bold]{artifact.step:<18}[/] {facts.seconds:>6.1f} s"]
    if facts.rows is not None:
        parts.append(f"{facts.rows} rows")
    if facts.dropped:
        reasons = [f"{count} ({escape(reason)})" for reason, count in facts.dropped.items()]
        parts.append("dropped " + ", ".join(reasons))
    if tally.sent or tally.stored or tally.failed:
        calls = f"{tally.sent} calls sent, {tally.stored} from the store"
        if tally.failed:
            calls += f", [yellow]{tally.failed} failed[/]"
        if tally.tokens and facts.seconds:
            calls += f", {tally.tokens / facts.seconds:.0f} tokens/s"
        parts.append(calls)
    return " · ".join(parts + _option_warnings(tally))


def _option_warnings(tally: Tally) -> list[str]:
    """What makes the answers of a judge doubtful, in rich markup."""
    metrics = tally.option_metrics()
    if not metrics:
        return []
    warnings = []
    if metrics["known"] and metrics["median"] < LOW_MASS:
        warnings.append(
            f"[yellow]only {metrics['median']:.2g} of the model's probability stood on the "
            "options (median)[/]"
        )
    if metrics["bounded"]:
        warnings.append(
            f"[yellow]in {metrics['bounded']:.1%} of the questions an option was not among the "
            "server's likeliest tokens: only a bound is known[/]"
        )
    return warnings


def show_tables(artifacts: Iterable[Artifact], console: Console) -> None:
    """Show the tables that the manifests hold."""
    for artifact in artifacts:
        pages = {page.name: str(page) for page in artifact.directory.glob("*.html")}
        for table in artifact.manifest.tables:
            rich_table = RichTable(title=table.title, title_justify="left")
            for i, column in enumerate(table.columns):
                rich_table.add_column(
                    column, justify="left" if i == 0 else "right", overflow="fold"
                )
            for row in table.rows:
                rich_table.add_row(*(pages.get(cell, cell) for cell in row))
            console.print(rich_table)


def _why(plan: PlannedStep) -> str:
    """Why a step runs, or what is known to be missing from an artifact that is reused."""
    if plan.artifact is None:
        return plan.reason
    failed = plan.artifact.manifest.calls.failed
    if not failed:
        return ""
    return f"{failed} calls failed; delete artifacts/{plan.artifact.directory.name} to try again"


def _calls(plan: PlannedStep) -> str:
    if plan.artifact or not plan.step.contract.calls_generator:
        return ""
    if plan.forecast is None:
        return "known once its inputs exist"
    forecast = plan.forecast
    return f"{forecast.stored} stored; {forecast.open_rows} of {forecast.rows} rows need new ones"
