"""A page of results: one HTML file that holds all it shows, loads nothing and works from disk.

In: a template that extends `page.html.jinja`, and its values. Out: the page's text. The policy in
its head forbids every connection. Texts are escaped by jinja2; data for the script is JSON that
cannot end its element (`packed.as_script`).
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

HERE = Path(__file__).resolve().parent
SHARED = (HERE / "page.html.jinja", HERE / "macros.html.jinja", HERE / "report.css")


def render(
    template: Path, scripts: Sequence[Path], styles: Sequence[Path] = (), **values: Any
) -> str:
    """The page; `styles` come after the shared one."""
    css = "\n".join(path.read_text(encoding="utf-8") for path in (HERE / "report.css", *styles))
    js = "\n".join(path.read_text(encoding="utf-8") for path in scripts)
    return (
        _environment(template.parent)
        .get_template(template.name)
        .render(css=Markup(css), js=Markup(js), **values)
    )


def identity(*files: Path) -> dict[str, str]:
    """Hashes of everything that a page's appearance depends on."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in (*SHARED, *files)
    }


@lru_cache(maxsize=2)
def _environment(folder: Path) -> Environment:
    """Not `templates.render`: that one is for prompts and does not escape."""
    loader = FileSystemLoader([folder, HERE])
    return Environment(
        loader=loader,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=True,
    )
