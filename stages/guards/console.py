"""The one way to the terminal: every text is shown as it is, and secrets are masked.

Names, categories, reasons and answers come from outside: `[red]` in one of them is six characters
and no colour, `:train:` no picture, and an escape sequence is spelt out. Colours come from
`styled` alone.
"""

from typing import Any

from rich.console import Console, JustifyMethod, OverflowMethod
from rich.style import Style
from rich.table import Table
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


def open_console(stderr: bool = False, **options: Any) -> Console:
    """Return a console on stdout or stderr; in pipes and logs it is wide enough for tables."""
    console = LiteralConsole(stderr=stderr, **options)
    if not console.is_terminal:
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


def add_column(
    table: Table,
    title: str,
    justify: JustifyMethod = "left",
    overflow: OverflowMethod = "fold",
) -> None:
    """Add a column whose long words are folded, not cut."""
    table.add_column(title, justify=justify, overflow=overflow)
