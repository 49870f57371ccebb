"""Prompt templates: `.jinja` files beside the stage that renders them, strict and sandboxed.

A principle's text is always a variable and never template source, so `{{ ... }}` inside it stays
literal.
"""

import hashlib
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from stages.runtime.errors import UserError

_ENVIRONMENT = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
)
_STAGES = Path(__file__).resolve().parent.parent


def find_template(name: str) -> Path:
    """`text/critique.jinja` is looked up under stages/; any other path is a user's own file.

    Raises:
        UserError: no such file.
    """
    for path in (_STAGES / name, Path(os.path.expanduser(name))):
        if os.path.isfile(path):  # false, too, for what can be no path
            return path
    shipped = ", ".join(sorted(str(p.relative_to(_STAGES)) for p in _STAGES.rglob("*.jinja")))
    raise UserError(
        "no such template", where=name, fix=f"give the path of a .jinja file, or one of: {shipped}"
    )


def is_shipped(name: str) -> bool:
    """Whether it is one of Credo's own templates, of which it is known what they read."""
    return find_template(name).resolve().is_relative_to(_STAGES)


def template_hash(name: str) -> str:
    """First 16 hex digits of the file's SHA-256: the part of a step's identity that a template is.

    Raises:
        UserError: the template is missing, or does not parse; so a plan tells it.
    """
    path = find_template(name)
    _compiled(path, path.stat().st_mtime_ns)
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


@lru_cache(maxsize=64)
def _compiled(path: Path, modified: int) -> Any:
    try:
        return _ENVIRONMENT.from_string(path.read_text(encoding="utf-8"))
    except TemplateError as error:
        raise UserError(
            f"the template does not parse: {error}",
            where=f"{path}:{getattr(error, 'lineno', 1)}",
            fix="see jinja.palletsprojects.com for the syntax",
        ) from None
    except (UnicodeDecodeError, OSError) as error:
        raise UserError(
            f"the template cannot be read: {error}",
            where=str(path),
            fix="save it as UTF-8, where you may read it",
        ) from None


def render(name: str, **variables: Any) -> str:
    """Render a template and strip the ends.

    Raises:
        UserError: the template is missing, does not parse, or uses a variable it is not given.
    """
    path = find_template(name)
    try:
        return _compiled(path, path.stat().st_mtime_ns).render(**variables).strip()
    except UserError:
        raise
    except (
        Exception
    ) as error:  # whatever is raised in here, the template's own expressions raise it
        raise UserError(
            f"the template cannot be rendered: {str(error) or type(error).__name__}",
            where=str(path),
            fix=f"it may use the variables {', '.join(sorted(variables))}",
        ) from None
