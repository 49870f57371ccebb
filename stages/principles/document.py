"""Read a user's YAML file safely and remember the line of every value.

Comes in: a path. Goes out: a `Document`, whose data is what `yaml.safe_load` would give. Files that
are too large, too deep, not UTF-8, or that use aliases are refused while they are read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.cyaml import CParser  # type: ignore[attr-defined]
from yaml.resolver import Resolver

from stages.guards import files
from stages.guards.errors import Faults, UserError

MAX_BYTES = 1_000_000
MAX_DEPTH = 20
KINDS = ("str", "int", "float", "bool", "null", "timestamp", "seq", "map", "merge")
"""Kinds of values, as YAML's own tags name them: others have no place in a principle set."""
QUOTE = "put the value in double quotes"
QUOTING_RULE = (
    "a text that holds ': ', ' #' or begins with {, [, *, &, !, % or @ must be in double quotes"
)


@dataclass(frozen=True)
class Document:
    """A YAML file as data, together with the node tree that knows the lines."""

    path: Path
    data: Any
    root: yaml.Node | None
    faults: list[UserError] = field(default_factory=list)
    """What is wrong with single keys and values; None stands for such a value."""

    def refuse_faults(self) -> None:
        """Raise the faults, if there are any.

        Raises:
            UserError: there are some.
        """
        Faults(self.faults).raise_any()

    def where(self, *keys: str | int) -> str:
        """Return `file:line` of the value at `keys`; a key that is not there is skipped."""
        return f"{display_path(self.path)}:{self.line(*keys)}"

    def line(self, *keys: str | int) -> int:
        """Return the number of the line of the value at `keys`."""
        node = self.root
        line = node.start_mark.line if node else 0
        for key in keys:
            entry = _children(node).get(str(key)) if node else None
            if entry is not None:
                label, node = entry
                line = label.start_mark.line
        return int(line) + 1


@lru_cache(maxsize=64)
def _children(node: yaml.Node) -> dict[str, tuple[yaml.Node, yaml.Node]]:
    """Return by key, or by place in a list, the node whose line counts and the value's node."""
    if isinstance(node, yaml.MappingNode):
        return {str(key.value): (key, value) for key, value in reversed(node.value)}
    if isinstance(node, yaml.SequenceNode):
        return {str(place): (item, item) for place, item in enumerate(node.value)}
    return {}


def display_path(path: Path) -> str:
    """Return `path` as a user would type it: relative if it is inside the working directory."""
    try:
        real = Path(os.path.realpath(path))
        path = real.relative_to(Path.cwd())
    except (ValueError, OSError):  # outside of it; or what cannot be a path
        pass
    return files.shorten(str(path))


def read_text(path: Path) -> str:
    """Return the text of `path`.

    Raises:
        UserError: it cannot be read, is larger than `MAX_BYTES`, or is not UTF-8.
    """
    return files.read_text(path, display_path(path), MAX_BYTES)


def read_yaml(path: Path) -> Document:
    """Return the one YAML document in `path`, with the faults that do not hide the rest of it.

    Those are duplicate keys, keys that are not plain text, and values that cannot be read.

    Raises:
        UserError: as `read_text`, and for a syntax error, an unsafe tag, an alias, or too deep a
        nesting.
    """
    text = read_text(path)
    where = display_path(path)
    if "\ufeff" in text:
        raise UserError(
            "a byte order mark (U+FEFF) inside of the file",
            where=f"{where}:{text.count(chr(10), 0, text.index(chr(0xFEFF))) + 1}",
            fix="remove it; files that were joined have such marks",
        )
    loader = _Loader(text)
    keys: list[yaml.MarkedYAMLError] = []
    try:
        root = loader.get_single_node()
        keys = list(_faulty_keys(root)) if root else []  # before merges change the nodes
        data = loader.construct_document(root) if root else None
    except yaml.reader.ReaderError as error:
        line = text.encode().count(b"\n", 0, error.position) + 1
        raise UserError(
            f"the character U+{int(error.character):04X} is not allowed in YAML",
            where=f"{where}:{line}",
            fix="remove it",
        ) from error
    except yaml.MarkedYAMLError as error:
        raise _as_error(keys[0] if keys else error, where) from error
    finally:
        loader.dispose()
    faults = [_as_error(error, where) for error in [*keys, *loader.faults]]
    return Document(path, data, root, faults)


class _Loader(Composer, CParser, SafeConstructor, Resolver):  # type: ignore[misc]
    """SafeLoader without aliases and of limited depth.

    It gathers values that cannot be read, with their lines.
    """

    def __init__(self, text: str):
        CParser.__init__(self, text)
        Composer.__init__(self)
        SafeConstructor.__init__(self)
        Resolver.__init__(self)
        self.depth = 0
        self.faults: list[yaml.MarkedYAMLError] = []

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise _refusal("aliases are not allowed", event.start_mark, "write the text out")
        if self.depth >= MAX_DEPTH:
            raise _refusal(
                f"nested deeper than {MAX_DEPTH} levels",
                getattr(event, "start_mark", None),
                f"check that it is the right file; {QUOTING_RULE}",
            )
        self.depth += 1
        try:
            node: yaml.Node | None = super().compose_node(parent, index)
            return node
        finally:
            self.depth -= 1

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return a node's value, or None for one that cannot be read."""
        family, _, kind = node.tag.rpartition(":")
        if family == "tag:yaml.org,2002" and kind not in KINDS:
            problem = f"values of the kind !!{kind} are not allowed"
            self.faults.append(_refusal(problem, node.start_mark, QUOTE))
            return None
        try:
            return super().construct_object(node, deep)
        except yaml.MarkedYAMLError as error:
            self.faults.append(error)
        except Exception as error:
            # Such as the date 2024-13-45, or `!!bool x`: the constructors raise what they run into.
            reason = f": {error}" if isinstance(error, ValueError) else ""
            problem = f"this cannot be read as {kind}{reason[:200]}"
            self.faults.append(_refusal(problem, node.start_mark, QUOTE))
        return None


def _as_error(error: yaml.MarkedYAMLError, where: str) -> UserError:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 1
    return UserError(
        f"not valid YAML: {str(error.problem)[:300]}",
        where=f"{where}:{line}",
        fix=error.note or f"check the indentation; {QUOTING_RULE}",
    )


def _refusal(problem: str, mark: Any, fix: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark, note=fix)


def _faulty_keys(node: yaml.Node) -> Iterator[yaml.MarkedYAMLError]:
    """Yield a fault for a key that is not plain text, and for one that is twice in its mapping."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _faulty_keys(item)
    if not isinstance(node, yaml.MappingNode):
        return
    first_lines: dict[str, int] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            yield _refusal("a key must be plain text", key.start_mark, QUOTING_RULE)
            continue
        if key.value in first_lines:
            problem = f"the key {key.value!r} appears twice, first on line {first_lines[key.value]}"
            yield _refusal(problem, key.start_mark, "keep one of the two")
        first_lines.setdefault(key.value, key.start_mark.line + 1)
        yield from _faulty_keys(value)


def write_new(file: Path, text: str) -> None:
    """Write a file that is not there yet.

    Raises:
        UserError: it is, or it cannot be written.
    """
    out = files.as_path(file)
    if files.exists(out):
        fix = "remove it, or choose another name"
        raise UserError("the file is already there", where=display_path(out), fix=fix)
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        what = f"the file cannot be written: {error.strerror}"
        fix = "name a folder that exists"
        raise UserError(what, where=display_path(out), fix=fix) from error
