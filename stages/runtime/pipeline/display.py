"""What a run shows in the terminal: the plan before it, the tables after it."""

from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from stages.runtime.artifacts import Artifact
from stages.runtime.errors import UserError
from stages.runtime.pipeline.runner import Planned


def wide(console: Console) -> Console:
    """Pipes and logs have no width of their own; give tables room there."""
    console.width = console.width if console.is_terminal else max(console.width, 120)
    return console


def stopped(error: UserError, console: Console) -> None:
    """Tell a mistake of the user."""
    console.print("[bold red]Credo stopped.[/]", highlight=False)
    console.print(str(error), markup=False, highlight=False, soft_wrap=True)


def show_plan(planned: list[Planned], console: Console) -> None:
    """One line a step: reused or to run, why, and the calls it is known to send."""
    table = RichTable(title="Plan", title_justify="left", box=None, pad_edge=False)
    for column in ("step", "stage", "", "why", "calls"):
        table.add_column(column, overflow="fold")
    for p in planned:
        state = "[green]reuse[/]" if p.artifact else "[yellow]run[/]"
        table.add_row(p.step.name, p.step.stage, state, p.why, _calls(p))
    console.print(table)
    to_run = sum(p.artifact is None for p in planned)
    console.print(f"{len(planned) - to_run} steps reused, {to_run} to run.", highlight=False)


def show_job(name: str, seed: int, planned: list[Planned], console: Console) -> None:
    """One line in place of a plan: the sweep's forecast has told the rest."""
    to_run = [p.step.name for p in planned if not p.artifact]
    console.print(
        f"[bold]{escape(name)}[/] seed {seed}: {len(planned) - len(to_run)} steps reused; to run: {', '.join(to_run) or 'none'}"
    )


def _calls(planned: Planned) -> str:
    if planned.artifact or not planned.step.module.CALLS:
        return ""
    if planned.forecast is None:
        return "known once its inputs are there"
    f = planned.forecast
    return f"{f.stored} stored; {f.open_rows} of {f.rows} rows need new ones"


def show_tables(artifacts: Iterable[Artifact], console: Console) -> None:
    """The tables that stages left in their manifests."""
    for artifact in artifacts:
        pages = {page.name: str(page) for page in artifact.directory.glob("*.html")}
        for table in artifact.manifest["tables"]:
            shown = RichTable(title=table["title"], title_justify="left")
            for i, column in enumerate(table["columns"]):
                shown.add_column(column, justify="left" if i == 0 else "right", overflow="fold")
            for row in table["rows"]:
                shown.add_row(*(pages.get(cell, cell) for cell in row))
            console.print(shown)
