"""Prompt templates: `.jinja` files beside the stage that renders them, strict and sandboxed.

A principle's text is always a variable and never template source: `{{ ... }}` in it stays literal.
"""

import hashlib
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from stages.guards.errors import UserError

_ENVIRONMENT = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
)
_STAGES = Path(__file__).resolve().parent.parent


def find_template(name: str) -> Path:
    """Return a template's file: one of Credo's own under stages/, or a user's own file.

    Args:
        name: such as `text/critique.jinja`, or a path.

    Raises:
        UserError: there is no such file.
    """
    for path in (_STAGES / name, Path(os.path.expanduser(name))):
        if os.path.isfile(path):  # unlike Path.is_file, False for what cannot be a path
            return path
    shipped = sorted(str(path.relative_to(_STAGES)) for path in _STAGES.rglob("*.jinja"))
    raise UserError(
        "no such template",
        where=name,
        fix=f"give the path of a .jinja file, or one of: {', '.join(shipped)}",
    )


def is_shipped(name: str) -> bool:
    """Return whether it is one of Credo's own templates, whose variables are known."""
    return find_template(name).resolve().is_relative_to(_STAGES)


def template_hash(name: str) -> str:
    """Return the first 16 hex digits of the file's SHA-256, for the identity of a step.

    Raises:
        UserError: the template is missing or does not parse; so a plan already reports it.
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

    Args:
        name: see `find_template`.
        variables: what the template may use.

    Raises:
        UserError: the template is missing, does not parse, or uses a variable it does not get.
    """
    path = find_template(name)
    try:
        return _compiled(path, path.stat().st_mtime_ns).render(**variables).strip()
    except UserError:
        raise
    except Exception as error:  # the template's own expressions may raise anything
        raise UserError(
            f"the template cannot be rendered: {str(error) or type(error).__name__}",
            where=str(path),
            fix=f"it may use the variables {', '.join(sorted(variables))}",
        ) from None
