"""The one way to the terminal: every text is shown as it is, and secrets are masked.

Names, categories, reasons and answers come from outside: `[red]` in one of them is six characters
and no colour, `:train:` no picture, and an escape sequence is spelt out. Colours come from
`styled` alone.
"""

import io
import logging
import os
import signal
import sys
import threading
import traceback
import warnings
from contextlib import suppress
from functools import cache
from typing import Any

from rich.console import Console
from rich.style import Style
from rich.text import Text

from stages.guards.secrets import mask
from stages.guards.text import spell_controls

LOG_WIDTH = 120


class LiteralConsole(Console):
    """rich's console without markup, emoji codes and guessed colours."""

    def __init__(self, **options: Any):
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """See `Console.render_str`, through which rich sends every plain text: titles, cells."""
        options |= {"markup": False, "emoji": False, "highlight": False}
        return super().render_str(as_shown(text), **options)

    def print(self, *objects: Any, **options: Any) -> None:
        """See `Console.print`. A line of text alone is not broken, so that paths can be copied."""
        is_line = all(isinstance(value, str | Text) for value in objects)
        options.setdefault("soft_wrap", is_line)
        super().print(*objects, **options)

    def on_broken_pipe(self) -> None:
        """End quietly where the reader of a pipe has gone, as with `| head`."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())
        raise SystemExit(128 + signal.SIGPIPE)


def open_console(stderr: bool = False, **options: Any) -> Console:
    """Return a console on stdout or stderr; in pipes and logs it is wide enough for tables.

    There the environment variable COLUMNS sets another width.
    """
    console = LiteralConsole(stderr=stderr, **options)
    if isinstance(console.file, io.TextIOWrapper):
        console.file.reconfigure(errors="backslashreplace")  # a terminal may lack any letter
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = max(console.width, LOG_WIDTH)
    return console


def as_shown(text: str) -> str:
    """Return a text as a terminal may show it: without secrets and control characters."""
    return spell_controls(mask(text))


def styled(*parts: str | tuple[str, str]) -> Text:
    """Return a line out of texts and pairs of a text and its style, such as `("run", "yellow")`."""
    text = Text()
    for part in parts:
        words, style = (part, "") if isinstance(part, str) else part
        text.append(as_shown(words), Style.parse(style) if style else None)
    return text


def format_traceback(error: BaseException) -> str:
    """Return an error's traceback as it may be shown and stored."""
    return as_shown("".join(traceback.format_exception(error)))


@cache
def guard_libraries() -> None:
    """Have the logs, the warnings and the last words of libraries pass through `as_shown` too."""
    create_record = logging.getLogRecordFactory()
    format_warning = warnings.formatwarning

    def create_shown_record(*args: Any, **options: Any) -> logging.LogRecord:
        record = create_record(*args, **options)
        if record.exc_info and record.exc_info[1]:
            record.exc_text = format_traceback(record.exc_info[1])
        with suppress(TypeError, ValueError):  # a message that does not fit its values
            record.msg, record.args = as_shown(record.getMessage()), None
        return record

    def format_shown_warning(*args: Any, **options: Any) -> str:
        return as_shown(format_warning(*args, **options))

    def show_error(_: Any, error: BaseException, __: Any) -> None:
        is_interrupt = isinstance(error, KeyboardInterrupt)
        sys.stderr.write("Interrupted.\n" if is_interrupt else format_traceback(error))

    show_ignored = sys.unraisablehook

    def interrupt_again(ignored: Any) -> None:
        if ignored.exc_type is KeyboardInterrupt:
            threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()
        else:
            show_ignored(ignored)

    logging.raiseExceptions = False  # a closed pipe is no news
    logging.setLogRecordFactory(create_shown_record)
    warnings.formatwarning = format_shown_warning
    sys.excepthook = show_error
    sys.unraisablehook = interrupt_again  # Python drops Ctrl-C that meets a destructor
