"""Prompt templates: `.jinja` files beside the stage that renders them, strict and sandboxed.

A principle's text is always a variable and never template source, so `{{ ... }}` inside it stays literal.
"""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from stages.runtime.errors import UserError

_ENVIRONMENT = ImmutableSandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
_STAGES = Path(__file__).resolve().parent.parent


def find_template(name: str) -> Path:
    """`text/critique.jinja` is looked up under stages/; any other path is a user's own file.

    Raises:
        UserError: no such file.
    """
    for path in (_STAGES / name, Path(name).expanduser()):
        if path.is_file():
            return path
    shipped = ", ".join(sorted(str(p.relative_to(_STAGES)) for p in _STAGES.glob("*/*.jinja")))
    raise UserError("no such template", where=name, mend=f"give the path of a .jinja file, or one of: {shipped}")


def template_hash(name: str) -> str:
    """First 16 hex digits of the file's SHA-256: the part of a step's identity that a template is."""
    return hashlib.sha256(find_template(name).read_bytes()).hexdigest()[:16]


@lru_cache(maxsize=64)
def _compiled(path: Path, modified: int) -> Any:
    try:
        return _ENVIRONMENT.from_string(path.read_text(encoding="utf-8"))
    except TemplateError as error:
        raise UserError(
            f"the template does not parse: {error}",
            where=f"{path}:{getattr(error, 'lineno', 1)}",
            mend="see jinja.palletsprojects.com for the syntax",
        ) from None


def render(name: str, **variables: Any) -> str:
    """Render a template and strip the ends.

    Raises:
        UserError: the template is missing, does not parse, or uses a variable it is not given.
    """
    path = find_template(name)
    try:
        return _compiled(path, path.stat().st_mtime_ns).render(**variables).strip()
    except TemplateError as error:
        raise UserError(
            f"the template cannot be rendered: {error.message}",
            where=str(path),
            mend=f"it may use the variables {', '.join(sorted(variables))}",
        ) from None
