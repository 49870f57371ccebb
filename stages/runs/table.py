"""The lists of runs in the terminal, which fit 80 columns."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from stages.guards.console import styled
from stages.runs.comparison import RunComparison
from stages.runs.disk import Cost, format_bytes
from stages.runs.headline import headline
from stages.runs.prune import Pruning
from stages.runs.records import RunRecord
from stages.runtime.progress import FAILED, FINISHED, INTERRUPTED, RUNNING

COLOURS = {FINISHED: "green", RUNNING: "cyan", FAILED: "red", INTERRUPTED: "yellow"}
MONTH, MINUTE = 5, 16
"""Where in a time the month begins and the minute ends."""
MOST_KEYS = 40
MOST_REMOVALS = 30


def group_jobs(records: Sequence[RunRecord]) -> list[list[RunRecord]]:
    """Put the jobs of a sweep together; every other run stands alone."""
    groups: dict[Path, list[RunRecord]] = {}
    for record in records:
        groups.setdefault(record.sweep or record.folder, []).append(record)
    return list(groups.values())


def show_runs(
    groups: Sequence[Sequence[RunRecord]],
    costs: Mapping[Path, Cost],
    console: Console,
) -> None:
    """Show a line for each run, or for each sweep."""
    table = Table(
        box=None,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for column in ("run", "started", "method / set", "seed", "state", "result"):
        table.add_column(
            column,
            overflow="fold",
            min_width=4,
        )
    table.add_column(
        "disk",
        justify="right",
        no_wrap=True,
    )
    table.add_column(
        "own",
        justify="right",
        no_wrap=True,
    )
    for group in groups:
        first = group[0]
        is_sweep = len(group) > 1
        name = first.id.partition("/")[0] if is_sweep else (first.label or first.id)
        own = sum(costs[record.folder].own for record in group)
        total = sum(costs[record.folder].total for record in group)
        table.add_row(
            name,
            first.started[MONTH:MINUTE],
            _what(first) if not is_sweep else f"{first.pipeline} / {first.constitution}",
            _seeds(group),
            _states(group),
            f"{len(group)} jobs of a sweep" if is_sweep else headline(first),
            "" if is_sweep else format_bytes(total),
            format_bytes(own),
        )
    console.print(table)


def _what(record: RunRecord) -> str:
    text = f"{record.pipeline or '?'} / {record.constitution or '?'}"
    return f"{text} {record.variant}".strip()


def _seeds(group: Sequence[RunRecord]) -> str:
    seeds = sorted({record.seed for record in group if record.seed is not None})
    return ",".join(map(str, seeds)) if len(seeds) < 4 else f"{seeds[0]}-{seeds[-1]}"


def _states(group: Sequence[RunRecord]) -> str:
    counts = Counter(record.state for record in group)
    if len(group) == 1:
        return next(iter(counts))
    return ", ".join(f"{count} {state}" for state, count in counts.most_common())


def show_comparison(
    first: RunRecord,
    second: RunRecord,
    comparison: RunComparison,
    console: Console,
) -> None:
    """Show what two runs differ in, what they share, and their numbers."""
    for mark, record in (("A", first), ("B", second)):
        what = f"{record.label or record.id} {_what(record)} seed {record.seed}"
        console.print(styled((mark, "bold"), f" {what}: {headline(record) or record.state}"))
    shared = len(comparison.shared)
    console.print(f"{shared} of {comparison.steps} steps have the same artifact.")
    if not comparison.config:
        console.print("Their configs are equal.")
    else:
        _show_rows(
            "config",
            comparison.config[:MOST_KEYS],
            console,
        )
    rest = len(comparison.config) - MOST_KEYS
    if rest > 0:
        console.print(f"and {rest} keys more")
    if comparison.numbers:
        _show_rows(
            "per cent; words",
            comparison.numbers,
            console,
        )


def _show_rows(
    title: str,
    rows: Sequence[tuple[str, str, str]],
    console: Console,
) -> None:
    table = Table(
        box=None,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for column in (title, "A", "B"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def show_pruning(
    pruning: Pruning,
    console: Console,
) -> None:
    """Show what would be removed, the largest first, and what stays."""
    removals = sorted(
        pruning.removals,
        key=lambda removal: removal.size,
        reverse=True,
    )
    for removal in removals[:MOST_REMOVALS]:
        size = format_bytes(removal.size)
        console.print(f"{size:>9}  {removal.folder.name} ({removal.reason})")
    rest = removals[MOST_REMOVALS:]
    if rest:
        size = format_bytes(sum(removal.size for removal in rest))
        console.print(f"{size:>9}  {len(rest)} artifacts more")
    for name in pruning.held:
        console.print(f"    stays  {name} (a running process may need it)")
    console.print(
        f"{len(removals)} artifacts, {format_bytes(pruning.freed)}; "
        f"{pruning.needed} stay, which runs need."
    )
