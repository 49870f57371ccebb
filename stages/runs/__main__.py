"""Runs: list and compare them, see how far they are, and remove what none needs.

`python -m stages.runs list|status|compare|open|label|prune`; a run is called by the end of its
folder's name, such as 8fe3f5, by its label, by its path, or `last`.
"""

import argparse
import sys
import time
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from stages.guards.console import open_console
from stages.guards.errors import UserError
from stages.guards.text import number_from, read_count
from stages.runs.comparison import compare_runs
from stages.runs.disk import cost_of_runs, format_bytes, read_files, size_of
from stages.runs.live import describe_status
from stages.runs.prune import plan_pruning, prune
from stages.runs.records import (
    ARTIFACTS,
    LAST,
    RunRecord,
    find_run,
    list_runs,
    open_run,
    set_label,
)
from stages.runs.table import (
    group_jobs,
    show_comparison,
    show_pruning,
    show_runs,
)

PROGRAM = "python -m stages.runs"
PAGE = "report.html"


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return 0, or 2 after a mistake of the user."""
    options = _parser().parse_args(arguments)
    console = open_console()
    try:
        return COMMANDS[options.command](options, console)
    except UserError as error:
        open_console(stderr=True).print(str(error))
        return 2
    except KeyboardInterrupt:
        return 130


def list_command(
    options: argparse.Namespace,
    console: Console,
) -> int:
    """Show the runs with what each found and costs."""
    records = list_runs(options.runs_dir)
    if not records:
        console.print(f"There are no runs in {options.runs_dir}.")
        return 0
    costs = cost_of_runs(records)
    groups = [[record] for record in records] if options.jobs else group_jobs(records)
    show_runs(
        groups[: options.limit],
        costs,
        console,
    )
    rest = len(groups) - options.limit
    if rest > 0:
        console.print(f"and {rest} runs before these; --limit {len(groups)} shows all")
    whole = size_of(read_files([options.runs_dir / ARTIFACTS]))
    console.print("disk: all files of a run; own: those that no other run shares.")
    console.print(f"All artifacts together: {format_bytes(whole)}.")
    unneeded = plan_pruning(options.runs_dir, records)
    if unneeded.removals:
        count = len(unneeded.removals)
        console.print(
            f"{count} artifacts ({format_bytes(unneeded.freed)}) are of no run: {PROGRAM} prune"
        )
    return 0


def status_command(
    options: argparse.Namespace,
    console: Console,
) -> int:
    """Show how far runs are: the one named, or all that go on, or else the last one."""
    while True:
        records = list_runs(options.runs_dir)
        live = [record for record in records if record.is_live]
        shown = [open_run(options.run, options.runs_dir)] if options.run else live or records[:1]
        for record in shown:
            for line in describe_status(record):
                console.print(line)
        if not shown:
            console.print(f"There are no runs in {options.runs_dir}.")
        if not options.watch or not any(record.is_live for record in shown):
            return 0
        time.sleep(options.watch)


def compare_command(
    options: argparse.Namespace,
    console: Console,
) -> int:
    """Show how two runs differ."""
    first = open_run(options.first, options.runs_dir)
    second = open_run(options.second, options.runs_dir)
    if first.folder == second.folder:
        raise UserError(
            f"both are the run {first.id}",
            where="compare",
            fix=f"name two runs: `{PROGRAM} list` shows them",
        )
    show_comparison(
        first,
        second,
        compare_runs(first, second),
        console,
    )
    paths = " ".join(str(record.folder) for record in (first, second))
    console.print(f"Paired effects and a page: python -m stages.compare {paths}")
    return 0


def open_command(
    options: argparse.Namespace,
    console: Console,
) -> int:
    """Print the path of a run's report, or of the last one that there is."""
    records = list_runs(options.runs_dir)
    chosen = [open_run(options.run, options.runs_dir)] if options.run else records
    for record in chosen:
        for artifact in reversed(record.artifacts().values()):
            page = artifact.directory / PAGE
            if page.is_file():
                console.print(str(page))
                if options.browser:
                    webbrowser.open(page.resolve().as_uri())
                return 0
    raise UserError(
        "there is no report",
        where=options.run or str(options.runs_dir),
        fix="a run writes one in its step `report`; without `until` it comes last",
    )


def label_command(
    options: argparse.Namespace,
    console: Console,
) -> int:
    """Give a run a name."""
    record = open_run(options.run, options.runs_dir)
    set_label(record, options.label)
    named = f"is called {options.label}" if options.label else "has no label"
    console.print(f"{record.id} {named}.")
    return 0


def prune_command(
    options: argparse.Namespace,
    console: Console,
) -> int:
    """Show what no run needs; with --yes remove it."""

    def choose_kept() -> list[RunRecord]:
        return _kept(list_runs(options.runs_dir), options)

    if not options.yes:
        plan = plan_pruning(options.runs_dir, choose_kept())
        show_pruning(plan, console)
        rest = "Nothing was removed; --yes removes it." if plan.removals else "Nothing to remove."
        console.print(rest)
        return 0
    pruning, removed = prune(
        options.runs_dir,
        choose_kept,
        lambda owner: console.print(f"waiting for {owner}"),
    )
    show_pruning(pruning, console)
    freed = format_bytes(sum(removal.size for removal in removed))
    console.print(f"{len(removed)} artifacts were removed: {freed}.")
    return 0


def _kept(
    records: Sequence[RunRecord],
    options: argparse.Namespace,
) -> list[RunRecord]:
    """The runs whose artifacts stay: those chosen, or all."""
    if not options.keep and not options.labelled and options.keep_last is None:
        return list(records)
    kept = [find_run(text, records) for text in options.keep]
    if options.labelled:
        kept += [record for record in records if record.label]
    if options.keep_last is not None:
        kept += [record for group in group_jobs(records)[: options.keep_last] for record in group]
    return kept


COMMANDS: Mapping[str, Callable[[argparse.Namespace, Console], int]] = {
    "list": list_command,
    "status": status_command,
    "compare": compare_command,
    "open": open_command,
    "label": label_command,
    "prune": prune_command,
}


def _parser() -> argparse.ArgumentParser:
    summary, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        PROGRAM,
        description=summary,
        epilog=rest.replace("`", ""),
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--runs-dir",
        type=Path,
        default=Path("runs"),
        help="where runs lie (default: runs)",
    )
    commands = parser.add_subparsers(
        dest="command",
        required=True,
        metavar="COMMAND",
    )

    def add(name: str) -> argparse.ArgumentParser:
        text = (COMMANDS[name].__doc__ or "").partition("\n")[0]
        return commands.add_parser(
            name,
            help=text,
            description=text,
            parents=[shared],
        )

    listed = add("list")
    listed.add_argument(
        "--limit",
        type=read_count,
        default=20,
        help="the most lines (default: 20)",
    )
    listed.add_argument(
        "--jobs",
        action="store_true",
        help="a line for each job of a sweep",
    )
    status = add("status")
    status.add_argument(
        "run",
        nargs="?",
        metavar="RUN",
    )
    status.add_argument(
        "--watch",
        type=number_from(0.1),
        nargs="?",
        const=2.0,
        metavar="SECONDS",
        help="again and again until it ends",
    )
    compared = add("compare")
    compared.add_argument("first", metavar="RUN")
    compared.add_argument(
        "second",
        metavar="RUN",
        nargs="?",
        default=LAST,
    )
    opened = add("open")
    opened.add_argument(
        "run",
        nargs="?",
        metavar="RUN",
    )
    opened.add_argument(
        "--browser",
        action="store_true",
        help="show it in a browser, too",
    )
    label = add("label")
    label.add_argument("run", metavar="RUN")
    label.add_argument(
        "label",
        metavar="NAME",
        help='"" takes it away',
    )
    pruned = add("prune")
    pruned.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="RUN",
        help="keep only what this run needs; may be repeated (default: all runs)",
    )
    pruned.add_argument(
        "--labelled",
        action="store_true",
        help="keep what runs with labels need",
    )
    pruned.add_argument(
        "--keep-last",
        type=read_count,
        metavar="N",
        help="keep what the last N runs or sweeps need",
    )
    pruned.add_argument(
        "--yes",
        action="store_true",
        help="remove it; else it is only shown",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
