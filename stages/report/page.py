"""A page of results: one self-contained HTML file that loads nothing and works from disk.

In: a template that extends `page.html.jinja`, and its values. Out: the page's file. The policy in
its head forbids every connection. Texts are escaped by jinja2; data for the script is JSON that
cannot end its element (`packed.as_script`). Filters of the templates are the functions of
`formatting` that they need, `breakable`, `with_code` and `with_contents`.
"""

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from stages.guards.disk import write_atomically
from stages.guards.text import replace_surrogates
from stages.report.contents import with_contents
from stages.runtime.cost.prices import format_money
from stages.statistics.formatting import (
    format_confidence,
    format_count,
    format_number,
    format_percent,
    format_percent_range,
)

_BREAKS = re.compile(r"[_/]+(?=[^_/])")
_CODE = re.compile("`([^`]+)`")
HERE = Path(__file__).resolve().parent
SHARED = (HERE / "page.html.jinja", HERE / "macros.html.jinja", HERE / "report.css")


def breakable(name: str) -> Markup:
    """A name or path that may go on in the next line after `_` and `/`; a copy has no marks."""
    return Markup(_BREAKS.sub(r"\g<0><wbr>", str(escape(name))))


def with_code(text: str) -> Markup:
    """A message whose words between backticks are set as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))


FILTERS = (
    breakable,
    with_code,
    with_contents,
    format_confidence,
    format_count,
    format_money,
    format_number,
    format_percent,
    format_percent_range,
)


def write(
    path: Path, template: Path, scripts: Sequence[Path], styles: Sequence[Path] = (), **values: Any
) -> None:
    """Write the page; `styles` come after the shared one.

    Raises:
        UserError: it cannot be written.
    """
    css = "\n".join(path.read_text(encoding="utf-8") for path in (HERE / "report.css", *styles))
    js = "\n".join(path.read_text(encoding="utf-8") for path in scripts)
    page = _environment(template.parent).get_template(template.name)
    html = page.render(css=Markup(css), js=Markup(js), **values)
    write_atomically(path, replace_surrogates(html))


def identity(*files: Path) -> dict[str, str]:
    """Hashes of everything that a page's appearance depends on."""
    paths = (*SHARED, *files)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in paths}


@lru_cache(maxsize=2)
def _environment(folder: Path) -> Environment:
    """An environment that escapes, unlike `templates.render`, which is for prompts."""
    environment = Environment(
        loader=FileSystemLoader([folder, HERE]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=True,
    )
    for formatter in FILTERS:
        environment.filters[formatter.__name__] = formatter
    return environment
