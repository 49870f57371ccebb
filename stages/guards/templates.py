"""Prompt templates: `.jinja` files beside the stage that renders them, strict and sandboxed.

A principle's text is always a variable and never template source: `{{ ... }}` in it stays literal.
What a template may do is limited (`sandbox.py`), since users write templates too.
"""

import hashlib
import os
import traceback
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError

from stages.guards.errors import UserError
from stages.guards.files import as_path, read_bytes, read_text
from stages.guards.sandbox import BoundedEnvironment

ENDINGS = (".jinja", ".j2")
MOST_BYTES = 2**20
_ENVIRONMENT = BoundedEnvironment(
    undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
)
_STAGES = Path(__file__).resolve().parent.parent


def find_template(name: str) -> Path:
    """Return a template's file: one of Credo's own under stages/, or a user's own file.

    Args:
        name: such as `text/critique.jinja`, or a path.

    Raises:
        UserError: there is no such file, or it is not called a template.
    """
    path = as_path(name, "template")
    if not name.endswith(ENDINGS):
        # What a template holds is sent to a model: any other file may be private.
        raise UserError("a template's name ends in .jinja", where=name, fix="rename the file")
    for place in (_STAGES / name, path):
        if os.path.isfile(place):  # unlike Path.is_file, False for a name that is too long
            return place
    shipped = sorted(str(path.relative_to(_STAGES)) for path in _STAGES.rglob("*.jinja"))
    raise UserError(
        "no such template",
        where=name,
        fix=f"give the path of a .jinja file, or one of: {', '.join(shipped)}",
    )


def is_shipped(name: str) -> bool:
    """Return whether it is one of Credo's own templates, whose variables are known."""
    return find_template(name).resolve().is_relative_to(_STAGES)


def read_template(name: str) -> str:
    """Return a template's source.

    Raises:
        UserError: as `find_template`, or it is not UTF-8, or too large.
    """
    return read_text(find_template(name), name, MOST_BYTES)


def template_hash(name: str) -> str:
    """Return the first 16 hex digits of the file's SHA-256, for the identity of a step.

    Raises:
        UserError: the template is missing or does not parse; so a plan already reports it.
    """
    compile_template(read_template(name), name)
    return hashlib.sha256(read_bytes(find_template(name), name, MOST_BYTES)).hexdigest()[:16]


@lru_cache(maxsize=64)
def compile_template(source: str, where: str) -> Template:
    """Return a template that can be rendered.

    Args:
        where: what messages call it.

    Raises:
        UserError: it does not parse; the message names the line.
    """
    try:
        code = _ENVIRONMENT.compile(source, filename=where)
        return Template.from_code(_ENVIRONMENT, code, _ENVIRONMENT.make_globals(None))
    except TemplateError as error:
        raise UserError(
            f"the template does not parse: {error.message}",
            where=f"{where}:{getattr(error, 'lineno', 1)}",
            fix="see jinja.palletsprojects.com for the syntax",
        ) from None


def render(name: str, **variables: Any) -> str:
    """Render a template and strip the ends.

    Args:
        name: see `find_template`.
        variables: what the template may use.

    Raises:
        UserError: the template is missing, does not parse, does too much, or uses a variable it
            does not get; the message names the line.
    """
    path = find_template(name)
    return render_source(_source(path, name, path.stat().st_mtime_ns), name, **variables)


def render_source(source: str, where: str, **variables: Any) -> str:
    """Render a template's source and strip the ends.

    Args:
        where: what messages call it.

    Raises:
        UserError: as `render`.
    """
    template = compile_template(source, where)
    try:
        return template.render(**variables).strip()
    except Exception as error:  # the template's own expressions may raise anything
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == where]
        raise UserError(
            f"the template cannot be rendered: {str(error) or type(error).__name__}",
            where=f"{where}:{lines[-1]}" if lines else where,
            fix=f"it may use the variables {', '.join(sorted(variables))}",
        ) from None


@lru_cache(maxsize=64)
def _source(path: Path, where: str, modified: int) -> str:
    return read_text(path, where, MOST_BYTES)
