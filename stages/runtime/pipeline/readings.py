"""What a plan shows of the files that its steps read: form, rows, drops, and an example.

In: planned steps. Out: lines in the terminal. A step that has run is described by its manifest, for
others the first records of a local file are read.

And what it knows of an input before its step has run (`expect`): of an artifact its rows, of a
small file those that it will give, and the kinds of their requests; of a model that is yet to be
trained the one that its training begins with.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console

from stages.guards.console import styled
from stages.guards.errors import UserError
from stages.runtime.artifacts import Artifact
from stages.runtime.models import Model
from stages.runtime.pipeline.overlap import Overlap, all_source_pairs, find_overlaps
from stages.runtime.pipeline.plan import PlannedStep
from stages.runtime.rows import Rating, Response
from stages.runtime.stage import Expected

MOST_RECORDS = 1000
"""How many records of a file a plan reads."""
LARGEST_FILE = 64 * 2**20
"""Bytes of the largest file that a plan reads."""


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
        by_step = all_source_pairs([plan.step for plan in planned])
        pairs = dict.fromkeys(pair for each in by_step.values() for pair in each)
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


def expect(plan: PlannedStep, planned: Mapping[str, PlannedStep]) -> Expected:
    """Return what is known of a step's artifact, which may have to be made first.

    Args:
        planned: the steps before it, by name.
    """
    return Expected(
        count_rows=cache(lambda: _count_rows(plan)),
        find_model=cache(lambda: _find_model(plan, planned)),
        count_kinds=cache(lambda: _count_kinds(plan, planned)),
        is_made=plan.result is not None,
    )


def _count_rows(plan: PlannedStep) -> int | None:
    """Return the rows of an artifact, or those of a small file that a step will read."""
    if plan.result:
        return plan.result.manifest.rows
    source = _read_small(plan)
    if source is None:
        return None
    config = plan.step.config
    rows, reading = source
    limit: int | None = config.limit
    if reading.records == MOST_RECORDS:
        return limit
    left = max(0, len(rows) - config.offset)
    return left if limit is None else min(left, limit)


def _read_small(plan: PlannedStep) -> tuple[Sequence[Any], Any] | None:
    """Return the first rows of a small file that a step will read, and how they were read."""
    read = plan.step.contract.read
    if read is None or not is_small_file(plan.step.config.source):
        return None
    try:
        rows, _, reading = read(plan.step.config, MOST_RECORDS)
    except UserError:  # the step will say so
        return None
    return rows, reading


def _count_kinds(plan: PlannedStep, planned: Mapping[str, PlannedStep]) -> dict[str, int]:
    """Return the requests of each kind in an artifact, or in what a step will make.

    Answers and ratings are of the kinds of the requests above them. Nothing is known where one of
    their sources is not known, or where a step writes requests.
    """
    contract = plan.step.contract
    rows: Sequence[Any] = ()
    if plan.result:
        rows = plan.result.rows() if plan.result.manifest.rows else ()
    elif contract.read is not None:
        source = _read_small(plan)
        rows = source[0] if source else ()
    kinds = {}
    for row in rows:
        kinds[getattr(row, "prompt_id", row.id)] = getattr(row, "kind", "")
    if plan.result or contract.read is not None:
        return dict(Counter(filter(None, kinds.values())))
    passes_on = isinstance(contract.gives, str) or contract.gives in (Response, Rating)
    total: Counter[str] = Counter()
    for name in plan.step.inputs.values() if passes_on else ():
        above = planned[name]
        if above.step.contract.gives is Model:
            continue
        kinds_above = _count_kinds(above, planned)
        if not kinds_above:
            return {}
        total.update(kinds_above)
    return dict(total)


def is_small_file(source: str) -> bool:
    """Whether a source is a file on this machine that a plan can read."""
    path = Path(source).expanduser()
    return path.is_file() and path.stat().st_size <= LARGEST_FILE


def _find_model(plan: PlannedStep, planned: Mapping[str, PlannedStep]) -> Model | None:
    """Return the model of an artifact, or the one that its training will begin with.

    A training changes no vocabulary, and no word that a model has never seen becomes known to it.
    """
    while plan.result is None and plan.step.contract.gives is Model:
        if "model" not in plan.step.inputs:
            return None
        plan = planned[plan.step.inputs["model"]]
    if plan.result is None or plan.result.manifest.rows is not None:
        return None
    try:
        return plan.result.model()
    except UserError:  # the step that reads it will say so
        return None
