"""What a plan shows of the files that its steps read: form, rows, drops, and an example.

In: planned steps. Out: lines in the terminal. A step that has run is described by its manifest, for
others the first records of a local file are read.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from stages.guards.console import styled
from stages.guards.errors import UserError
from stages.runtime.artifacts import Artifact
from stages.runtime.pipeline.overlap import Overlap, all_source_pairs, find_overlaps
from stages.runtime.pipeline.plan import MOST_RECORDS, PlannedStep, is_small_file


def show_sources(planned: Sequence[PlannedStep], console: Console, only_plan: bool) -> None:
    """Show what every source step reads, and which sources of different purpose share prompts.

    Args:
        only_plan: all of them, since nothing will run; else those that were reused and are set to
            `describe`, since the others are shown when they have run.
    """
    rows: dict[str, Sequence[Any]] = {}
    for plan in planned:
        step = plan.step
        if step.contract.read is None:
            continue
        asked = getattr(step.config, "describe", False)
        if plan.artifact and (only_plan or asked):
            show_reading(plan.artifact, step.config.source, console)
            rows[step.name] = plan.artifact.rows() if only_plan else []
        elif only_plan and (asked or _is_cheap(step.config.source)):
            rows[step.name] = _show_preview(plan, console)
        elif only_plan:
            console.print(
                f"{step.name}: {step.config.source} is read when it runs; `describe: true` reads "
                "it now"
            )
    if only_plan:
        for pairs in all_source_pairs([plan.step for plan in planned]).values():
            ready = [pair for pair in pairs if set(pair) <= rows.keys()]
            for overlap in find_overlaps(ready, rows):
                warn(overlap, console)


def warn(overlap: Overlap, console: Console) -> None:
    """Say that a training and an evaluation share prompts."""
    console.print(styled(("WARNING", "bold red"), f" {overlap}"))


def show_reading(artifact: Artifact, source: str, console: Console) -> None:
    """Show what a finished step read."""
    facts = artifact.manifest
    reading = facts.metrics.get("reading")
    if reading:
        _show(artifact.step, source, reading, facts.rows or 0, facts.dropped, console)


def show_decisions(artifact: Artifact, console: Console) -> None:
    """Show what a finished step decided for whole columns, and which unusual rows it used."""
    reading = artifact.metrics.get("reading")
    if reading:
        _show_notes(reading, console)


def _show_notes(reading: Mapping[str, Any], console: Console) -> None:
    for note in reading["notes"]:
        console.print(f"  {note}")
    for odd, count in reading["odd"].items():
        console.print(f"  used, though unusual: {count} with {odd}")


def _is_cheap(source: str) -> bool:
    return ":" in source or is_small_file(source)


def _show_preview(plan: PlannedStep, console: Console) -> Sequence[Any]:
    """Show what the first records hold; return their rows."""
    step = plan.step
    read = step.contract.read
    assert read is not None
    try:
        rows, dropped, reading = read(step.config, MOST_RECORDS)
    except UserError as error:
        console.print(f"{step.name}: would stop: {error}")
        return []
    counts = Counter(row.reason for row in dropped)
    facts = reading.as_metrics()
    source = step.config.source
    if facts["records"] == MOST_RECORDS:
        source += f" (the first {MOST_RECORDS} records)"
    _show(step.name, source, facts, len(rows), dict(counts.most_common()), console)
    result: Sequence[Any] = rows
    return result


def _show(
    name: str,
    source: str,
    reading: Mapping[str, Any],
    rows: int,
    dropped: Mapping[str, int],
    console: Console,
) -> None:
    console.print(f"{name}: {source}")
    form = f"  form: {reading['form']}"
    if reading["cells"]:
        form += f", cells: {_counts(reading['cells'])}"
    console.print(form)
    line = f"  {reading['records']} records, {rows} rows"
    if dropped:
        line += f"; dropped: {_counts(dropped)}"
    console.print(line)
    _show_notes(reading, console)
    if reading["example"]:
        console.print("  the first row, as Credo reads it:")
    for turn in reading["example"]:
        text = turn["content"].replace("\n", "\n      ")
        console.print(f"    [{turn['role']}] {text}")


def _counts(counts: Mapping[str, int]) -> str:
    """Return `3 text, 1 transcript`."""
    parts = []
    for name, count in counts.items():
        parts.append(f"{count} {name}")
    return ", ".join(parts)
