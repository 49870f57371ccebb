"""What to try after a run: one command, by what the run made.

it failed                     nothing: its error says what to do
it trained a policy           talk to it
it judged pairs, trained none which labels would change without each principle (no calls)
the same method ran before    compare the two
else                          open what it shows
"""

import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from stages.guards.errors import UserError
from stages.runs.policies import policies_of
from stages.runs.records import RunRecord, list_runs, open_run
from stages.runtime.progress import FINISHED

CHAT = "python -m stages.chat"
RUNS = "python -m stages.runs"
ABLATE = "python run.py -m experiment=ablate ablate.level=labels"
LONGEST = 140
"""Of a command that repeats a run's own arguments."""


USUAL = Path("runs")
"""Where runs lie if a command does not say it."""


def show_next(
    folder: Path,
    runs_dir: Path,
    console: Console,
) -> None:
    """Show what to try after the run in a folder, in one line."""
    try:
        text = next_command(open_run(str(folder), runs_dir), list_runs(runs_dir))
    except (UserError, OSError):  # a hint is worth no error
        return
    if text:
        console.print(f"Next, {text}")


def next_command(
    record: RunRecord,
    others: Sequence[RunRecord] = (),
) -> str:
    """Return what a user may try next, as a sentence and a command; "" after a failure.

    Args:
        others: the runs before it.
    """
    if record.state != FINISHED:
        return ""
    if policies_of(record):
        return f"talk to the policy: {CHAT} {_name(record)}"
    artifacts = record.artifacts().values()
    if any(artifact.stage == "judged_pairs" for artifact in artifacts):
        own = [text for text in record.overrides if not text.startswith(("ablate.", "plan"))]
        command = shlex.join([*ABLATE.split(), *own])
        if len(command) <= LONGEST:
            return f"which principles decide the labels, without a call: {command}"
    for other in others:
        is_itself = other.folder.resolve() == record.folder.resolve()
        same = other.pipeline == record.pipeline and not is_itself
        if same and other.state == FINISHED:
            return f"compare it with the run before: {RUNS} compare {_name(other)} {_name(record)}"
    return f"what it shows: {RUNS} open {_name(record)}"


def _name(record: RunRecord) -> str:
    """How a command calls a run: by its id, or by its folder where that says where runs lie."""
    is_usual = record.runs_dir.resolve() == USUAL.resolve()
    return record.id if is_usual else shlex.quote(str(record.folder))
