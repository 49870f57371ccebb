"""The one progress bar: name, bar, count, rate, time spent, time left."""

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from stages.guards.console import styled


class _Rate(ProgressColumn):
    def __init__(self, unit: str):
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> str:
        if not task.speed:
            return ""
        digits = 0 if task.speed >= 10 else 1
        return f"{task.speed:.{digits}f} {self.unit}/s"


class _Words(ProgressColumn):
    """A task's description, or its field `note`, as it is: rich's own column reads markup."""

    def __init__(self, field: str = ""):
        super().__init__()
        self.field = field

    def render(self, task: Task) -> Text:
        return styled(task.fields[self.field] if self.field else f"{task.description:>16}")


def progress_bar(console: Console, unit: str, hidden: bool = False) -> Progress:
    """A bar that disappears when it is done, to be used as a context manager.

    A task may have the field `note`: a text shown at the end of its line.

    Args:
        unit: what is counted, such as "rows".
        hidden: show nothing. A console that is not a terminal shows nothing either: logs have no
            use for bars.
    """
    return Progress(
        _Words(),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(unit),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        _Words("note"),
        console=console,
        transient=True,
        disable=hidden or not console.is_terminal,
    )
