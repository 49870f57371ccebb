"""Code in task files of lm-evaluation-harness: what would run, and how it is kept from running.

A task file may name Python functions (`!function`), in itself or in a file that it includes. Files
that ship with lm_eval are installed code; a user's own file with code is refused unless the step
trusts it. Its templates are rendered in jinja's sandbox, and metrics are never fetched as code.
"""

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from yaml.cyaml import CSafeLoader

from stages.guards.errors import Faults, UserError
from stages.guards.files import read_text

MOST_BYTES = 10_000_000
MOST_DEPTH = 50
MOST_FILES = 100
OUTSIDE = ("sql", "iceberg", "spark", "generator")
"""Builders of the library `datasets` that connect to services or call functions."""
TRUST = "read the code; if it may run on this machine, set `trust_task_files: true`"


def refuse_code(task_files: Sequence[str]) -> None:
    """Refuse task files that would run code of their own.

    Raises:
        UserError: one does; the messages name all places. Or a file cannot be read.
    """
    faults = Faults()
    for name in task_files:
        with faults.gather():
            for path, text in own_files(Path(name)):
                for line, what in _find_code(text):
                    faults.add(
                        UserError(
                            f"the task file would run code: {what}",
                            where=f"{path}:{line}",
                            fix=TRUST,
                        )
                    )
    faults.raise_any()


def own_files(path: Path) -> Iterator[tuple[Path, str]]:
    """Yield a task file and all that it includes, with their texts, but none of lm_eval's own.

    Raises:
        UserError: a file cannot be read, or is not YAML.
    """
    waiting = [path.expanduser()]
    seen: set[Path] = set()
    while waiting:
        path = waiting.pop(0)
        real = path.resolve()
        if real in seen or real.is_relative_to(tasks_folder().parent):
            continue
        seen.add(real)
        if len(seen) > MOST_FILES:
            raise UserError(
                f"the task includes more than {MOST_FILES} files",
                where=str(path),
                fix="write what it needs into one file",
            )
        text = read_text(path, most=MOST_BYTES)
        waiting += [real.parent / name for name in _includes(text, str(path))]
        yield path, text


def tasks_folder() -> Path:
    """Return the folder of the tasks that ship with lm_eval."""
    package = importlib.util.find_spec("lm_eval")
    return Path(package.origin or "").resolve().parent / "tasks" if package else Path("/nowhere")


@contextmanager
def no_foreign_code() -> Iterator[None]:
    """While this is open, lm_eval renders templates in a sandbox and can fetch no metric.

    The import of `evaluate` fails, as it does where the library is not installed.
    """
    import lm_eval.utils
    from jinja2.sandbox import SandboxedEnvironment

    library, environment = sys.modules.get("evaluate"), lm_eval.utils.env
    sandbox = SandboxedEnvironment(
        undefined=environment.undefined,
        keep_trailing_newline=environment.keep_trailing_newline,
    )
    sandbox.filters = environment.filters
    sys.modules["evaluate"] = None  # type: ignore[assignment]
    lm_eval.utils.env = sandbox
    try:
        yield
    finally:
        lm_eval.utils.env = environment
        del sys.modules["evaluate"]
        if library is not None:
            sys.modules["evaluate"] = library


class _Loader(CSafeLoader):
    """Reads tags that YAML does not know, such as `!function`, as the text behind them."""


_Loader.add_multi_constructor("!", lambda loader, suffix, node: str(node.value))


def _includes(text: str, where: str) -> list[str]:
    """Return the values of a task file's `include`."""
    try:
        _refuse_deep(text, where)
        config: Any = yaml.load(text, _Loader)
    except UserError:
        raise
    except Exception as error:  # YAML's constructors raise what they run into
        mark = getattr(error, "problem_mark", None)
        raise UserError(
            f"not valid YAML: {getattr(error, 'problem', None) or type(error).__name__}",
            where=f"{where}:{mark.line + 1 if mark else 1}",
            fix="correct the file",
        ) from None
    if not isinstance(config, dict):
        raise UserError(
            "a task file is a mapping of options", where=where, fix="see lm_eval's task guide"
        )
    names = config.get("include") or []
    return [str(name) for name in (names if isinstance(names, list) else [names])]


def _refuse_deep(text: str, where: str) -> None:
    depth = 0
    for event in yaml.parse(text, CSafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_DEPTH:
            raise UserError(
                f"nested deeper than {MOST_DEPTH} levels",
                where=f"{where}:{_line(event)}",
                fix="check that it is the right file",
            )


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _find_code(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line of everything in a task file that would run, and what it is."""
    before = ""
    for event in yaml.parse(text, CSafeLoader):
        value = str(getattr(event, "value", ""))
        tag = getattr(event, "tag", None) or ""
        line = _line(event)
        if tag.startswith("!") and tag != "!":
            yield line, f"`{tag} {value[:80]}` names a Python function"
        elif before == "dataset_path" and value in OUTSIDE:
            yield line, f"the data come from the builder {value!r} of the library `datasets`"
        elif before == "unsafe_code" and value.lower() not in ("", "false", "no", "off", "null"):
            yield line, "`unsafe_code` runs what the model writes"
        before = value
