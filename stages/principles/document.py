"""Read a user's YAML file safely and remember the line of every value.

Comes in: a path. Goes out: a `Document`, whose data is what `yaml.safe_load` would give. Files that
are too large, too deep, not UTF-8, or that use aliases are refused while they are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stages.guards.errors import UserError

MAX_BYTES = 1_000_000
MAX_DEPTH = 20
QUOTING_RULE = (
    "a text that holds ': ', ' #' or begins with {, [, *, &, !, % or @ must be in double quotes"
)


@dataclass(frozen=True)
class Document:
    """A YAML file as data, together with the node tree that knows the lines."""

    path: Path
    data: Any
    root: yaml.Node | None

    def where(self, *keys: str | int) -> str:
        """Return `file:line` of the value at `keys`; a key that is not there is skipped."""
        node = self.root
        line = node.start_mark.line if node else 0
        for key in keys:
            child = _child(node, key)
            if child is not None:
                label, node = child
                line = label.start_mark.line
        return f"{display_path(self.path)}:{line + 1}"


def display_path(path: Path) -> str:
    """Return `path` as a user would type it: relative if it is inside the working directory."""
    resolved = path.resolve()
    if resolved.is_relative_to(Path.cwd()):
        return str(resolved.relative_to(Path.cwd()))
    return str(path)


def read_text(path: Path) -> str:
    """Return the text of `path`.

    Raises:
        UserError: it is missing, not a regular file, not readable, larger than `MAX_BYTES`, or not
        UTF-8.
    """
    where = display_path(path)
    if not path.exists():
        raise UserError("there is no such file", where=where, fix="check the path")
    if not path.is_file():
        raise UserError("this is not a file", where=where, fix="give the path of a file")
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        what = f"the file cannot be read: {error.strerror}"
        raise UserError(what, where=where, fix="allow reading it") from error
    if len(raw) > MAX_BYTES:
        raise UserError(
            f"the file has more than {MAX_BYTES // 1_000_000} MB",
            where=where,
            fix="check that it is the right file: a principle set has a few kB; split a larger one",
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        where = f"{where}:{line}"
        raise UserError("the file is not UTF-8", where=where, fix="save it as UTF-8") from error


def read_yaml(path: Path) -> Document:
    """Return the one YAML document in `path`.

    Raises:
        UserError: as `read_text`, and for a syntax error, a duplicate key, a key that is not plain
        text, an unsafe tag, an alias, or too deep a nesting.
    """
    text = read_text(path)
    try:
        return _parse(path, text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UserError(
            f"the character U+{int(error.character):04X} is not allowed in YAML",
            where=f"{display_path(path)}:{line}",
            fix="remove it",
        ) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise UserError(
            f"not valid YAML: {error.problem}",
            where=f"{display_path(path)}:{line}",
            fix=error.note or f"check the indentation; {QUOTING_RULE}",
        ) from error


def _parse(path: Path, text: str) -> Document:
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return Document(path, None, None)
        _check_keys(root)
        return Document(path, loader.construct_document(root), root)
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    """SafeLoader without aliases and of limited depth.

    It reports the line of a value that cannot be read.
    """

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise _refusal("aliases are not allowed", event.start_mark, "write the text out")
        if self.depth >= MAX_DEPTH:
            raise _refusal(
                f"nested deeper than {MAX_DEPTH} levels",
                event.start_mark,
                f"check that it is the right file; {QUOTING_RULE}",
            )
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError as error:  # e.g. the date 2024-13-45: the standard library gives no mark
            fix = "put the value in double quotes"
            raise _refusal(str(error), node.start_mark, fix) from error


def _refusal(problem: str, mark: Any, fix: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark, note=fix)


def _child(node: yaml.Node | None, key: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """Return the node whose line is that of `key`, and the node of its value."""
    if isinstance(node, yaml.MappingNode):
        for key_node, value in node.value:
            if key_node.value == str(key):
                return key_node, value
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        item = node.value[key]
        return item, item
    return None


def _check_keys(node: yaml.Node) -> None:
    """Refuse a key that is not plain text, and one that appears twice in its mapping."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_keys(item)
    if not isinstance(node, yaml.MappingNode):
        return
    first_lines: dict[str, int] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _refusal("a key must be plain text", key.start_mark, QUOTING_RULE)
        if key.value in first_lines:
            problem = f"the key {key.value!r} appears twice, first on line {first_lines[key.value]}"
            raise _refusal(problem, key.start_mark, "keep one of the two")
        first_lines[key.value] = key.start_mark.line + 1
        _check_keys(value)
