"""What a run shows in the terminal: first the plan, then a line for each step, last the tables."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from stages.guards.console import format_traceback, open_console, styled
from stages.guards.disk import as_disk_error
from stages.guards.errors import UserError, cause_of
from stages.pretrained.hardware import count_gpus
from stages.runtime.artifacts import Artifact
from stages.runtime.cost.foreseen import Expense
from stages.runtime.cost.prices import format_usage
from stages.runtime.pipeline.dropped_rows import describe_share
from stages.runtime.pipeline.plan import PlannedStep
from stages.runtime.pipeline.settings import as_user_error
from stages.runtime.tally import LOW_MASS, Tally

KNOWN_LATER = "known once its inputs exist"
"""What a plan says of calls that it cannot count."""


def show_error(error: UserError, console: Console) -> None:
    """Show a UserError."""
    console.print(styled(("Credo stopped.", "bold red")))
    console.print(str(error))


@contextmanager
def exit_at_errors(log: Path) -> Iterator[None]:
    """End the process at an error, for Hydra makes a warning of what a callback raises: with code 2
    at a mistake of the user, with 1 at a bug, whose traceback goes into the log.
    """
    console = open_console(stderr=True)
    try:
        yield
    except Exception as error:
        is_ours = not isinstance(error, UserError | HydraException | OmegaConfBaseException)
        if is_ours and not as_disk_error(error):
            show_bug(error, log, console)
            sys.exit(1)
        show_error(as_user_error(error), console)
        sys.exit(2)


def show_bug(error: Exception, log: Path, console: Console) -> None:
    """Write the traceback of an error that is not the user's into a log, and show the log."""
    place = _log_traceback(error, log, console)
    notes = " ".join(getattr(error, "__notes__", []))
    words = " ".join(f"{type(error).__name__}: {error} {notes}".split())
    console.print(
        f"Credo stopped at a bug of its own: {words}. The traceback is {place}; answered calls "
        "and finished steps are kept."
    )


def log_cause(error: UserError, log: Path, console: Console) -> None:
    """Write the traceback of what a user's mistake led to in a library, if anything, into a log."""
    places = {
        _log_traceback(one, log, console)
        for one in getattr(error, "errors", [error])
        if cause_of(one)
    }
    for place in places:
        console.print(f"The traceback is {place}.")


def _log_traceback(error: Exception, log: Path, console: Console) -> str:
    """Append a traceback to a log, or show it; return where it is."""
    details = format_traceback(error)
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as stream:
            stream.write(details)
    except OSError as refusal:
        console.print(details)
        return f"above, since {log} cannot be written: {refusal.strerror}"
    return f"in {log}"


def show_plan(planned: Sequence[PlannedStep], console: Console) -> None:
    """Show one line per step: reused or to run, why, and the calls that it will send."""
    table = RichTable(title="Plan", title_justify="left", box=None, pad_edge=False)
    for column in ("step", "stage", "", "why", "calls"):
        table.add_column(column, overflow="fold")
    for plan in planned:
        state = styled(("reuse", "green") if plan.result else ("run", "yellow"))
        table.add_row(plan.step.name, plan.step.stage, state, _why(plan), _calls(plan))
    console.print(table)
    to_run = sum(plan.result is None for plan in planned)
    reused = count_steps(len(planned) - to_run)
    console.print(f"{reused} reused, {to_run} to run.")
    if new := describe_new_calls(planned):
        console.print(new)
    show_foreseen(planned, console)


def describe_new_calls(planned: Sequence[PlannedStep]) -> str:
    """Return what the steps would send and what it would cost; "" where nothing is to be sent."""
    new = Expense()
    later = 0
    for plan in planned:
        if plan.result or not plan.step.contract.calls_generator:
            continue
        if plan.forecast:
            new += plan.forecast.new
        else:
            later += 1
    if not new.calls:
        return ""
    text = f"New calls: {new}."
    if later:
        text += f" Those of {count_steps(later)} more are {KNOWN_LATER}."
    return text


def show_foreseen(planned: Sequence[PlannedStep], console: Console) -> None:
    """Show what speaks against the steps that are to run."""
    say(_group((plan.step.name, text) for plan in planned for text in plan.warnings), console)


def show_machine(machine: Mapping[str, Any], model: Mapping[str, Any], console: Console) -> None:
    """Show in one line how a model from the Hub is trained here, and what chooses otherwise."""
    weights = "LoRA" if model.get("lora") is not None else "all weights"
    number = "bfloat16" if machine.get("bf16") else "float32"
    rollouts = "vLLM" if machine.get("vllm") else "transformers"
    where = {0: "no GPU", 1: "one GPU"}.get(count_gpus(), f"{count_gpus()} GPUs")
    console.print(
        f"This machine ({where}): {weights}, computed in {number}, rollouts from {rollouts}; "
        "otherwise: tuning=lora|full, machine=cpu|one_gpu|several."
    )


def show_job(variant: str, seed: int, planned: Sequence[PlannedStep], console: Console) -> None:
    """Show one line in place of a plan; the sweep's forecast has already shown the rest."""
    to_run = [plan.step.name for plan in planned if not plan.result]
    reused = count_steps(len(planned) - len(to_run))
    line = f" seed {seed}: {reused} reused; to run: {', '.join(to_run) or 'none'}"
    console.print(styled((variant, "bold"), line))
    show_foreseen(planned, console)


def count_steps(number: int) -> str:
    """Return `1 step` or `2 steps`."""
    return f"{number} step" if number == 1 else f"{number} steps"


def step_line(artifact: Artifact, tally: Tally, remaining: int) -> Text:
    """Describe a finished step in one line: time, rows, steps learnt, dropped rows, calls.

    Args:
        remaining: how many rows it did not drop.
    """
    facts = artifact.manifest
    parts = [(f"{artifact.step:<18}", "bold"), (f" {facts.seconds:>6.1f} s", "")]
    if facts.rows is not None:
        parts.append((f" · {facts.rows} rows", ""))
    steps = facts.metrics.get("steps")
    if facts.rows is None and steps is not None:
        parts.append((f" · learnt from {facts.metrics['n']} rows in {count_steps(steps)}", ""))
    if facts.dropped:
        parts.append((f" · dropped {describe_share(facts.dropped, remaining)}", ""))
    if tally.sent or tally.stored or tally.failed:
        parts.append((f" · {tally.sent} calls sent, {tally.stored} from the store", ""))
        if tally.failed:
            parts += [(", ", ""), (f"{tally.failed} failed", "yellow")]
        if tally.sent_texts and facts.seconds:
            parts.append((f", {tally.tokens / facts.seconds:.0f} tokens/s", ""))
        if tally.money is not None:
            parts.append((f" · {format_usage(tally.usage, tally.money)}", ""))
    for warning in _option_warnings(tally):
        parts += [(" · ", ""), (warning, "yellow")]
    return styled(*parts)


def _option_warnings(tally: Tally) -> list[str]:
    """What makes the answers of a judge doubtful."""
    metrics = tally.option_metrics()
    if not metrics:
        return []
    warnings = []
    if metrics["known"] and metrics["median"] < LOW_MASS:
        warnings.append(
            f"only {metrics['median']:.2g} of the model's probability stood on the options (median)"
        )
    if metrics["bounded"]:
        warnings.append(
            f"in {metrics['bounded']:.1%} of the questions an option was not among the server's "
            "likeliest tokens: only a bound is known"
        )
    return warnings


def show_tables(artifacts: Iterable[Artifact], console: Console) -> None:
    """Show the tables that the manifests hold."""
    for artifact in artifacts:
        pages = {page.name: str(page) for page in artifact.directory.glob("*.html")}
        for table in artifact.manifest.tables:
            rows = [[pages.get(cell, cell) for cell in row] for row in table.rows]
            widths = [
                _least_width([table.columns[i], *(row[i] for row in rows)], may_break=i == 0)
                for i in range(len(table.columns))
            ]
            for part in _side_by_side(widths, console.width):
                is_first = part == list(range(len(part)))
                title = table.title if is_first else "further columns"
                console.print(styled((title, "italic")), soft_wrap=False)
                rich_table = RichTable()
                for i in part:
                    rich_table.add_column(
                        table.columns[i],
                        justify="right" if i else "left",
                        overflow="fold",
                        min_width=min(widths[i], console.width // 2),
                    )
                for row in rows:
                    rich_table.add_row(*(row[i] for i in part))
                console.print(rich_table)


def _least_width(cells: Sequence[str], may_break: bool) -> int:
    """How narrow a column can be without a break inside a word of its head, the first of `cells`.

    Args:
        may_break: whether the other cells may be broken between words, too.
    """
    head, *others = cells
    words = " ".join(others).split() if may_break else others
    return max(map(cell_len, [*head.split(), *words]), default=0)


def _side_by_side(widths: Sequence[int], width: int) -> list[list[int]]:
    """The places of the columns that fit beside each other, with the first one in every part.

    Args:
        widths: how narrow each column can be.
    """
    parts = [[*range(len(widths))][:2]]
    for i in range(2, len(widths)):
        if 1 + sum(widths[j] + 3 for j in [*parts[-1], i]) > width:
            parts.append([0])
        parts[-1].append(i)
    return parts


def show_warnings(artifacts: Iterable[Artifact], console: Console) -> None:
    """Show every step's reasons to doubt its result, also those of reused steps.

    A warning that several steps share is shown once.
    """
    say(group_warnings(artifacts), console)


def group_warnings(artifacts: Iterable[Artifact]) -> list[tuple[str, str]]:
    """Return each warning once, after the names of the steps that give it."""
    return _group((one.step, warning) for one in artifacts for warning in one.manifest.warnings)


def _group(given: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    steps: dict[str, list[str]] = {}
    for step, warning in given:
        steps.setdefault(warning, []).append(step)
    return [(", ".join(names), warning) for warning, names in steps.items()]


def say(warnings: Iterable[tuple[str, str]], console: Console) -> None:
    """Show warnings, each after the names of its steps."""
    for names, warning in warnings:
        console.print(styled(("warning: ", "bold yellow"), f"{names}: {warning}"))


def _why(plan: PlannedStep) -> str:
    """Why a step runs or takes a result over, or what is missing from an artifact."""
    if plan.artifact is None:
        return plan.reason
    failed = plan.artifact.manifest.calls.failed
    if not failed:
        return ""
    return f"{failed} calls failed; delete artifacts/{plan.artifact.directory.name} to try again"


def _calls(plan: PlannedStep) -> str:
    if plan.result or not plan.step.contract.calls_generator:
        return ""
    if plan.forecast is None:
        return KNOWN_LATER
    forecast = plan.forecast
    rows = f"{forecast.open_rows} of {forecast.rows} rows need new ones"
    return (
        f"{forecast.stored} stored; {rows}{f': {forecast.new.short}' if forecast.new.calls else ''}"
    )
