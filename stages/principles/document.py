"""Read a user's YAML file safely and remember which line every value stands on.

Comes in: a path. Goes out: a `Document`, whose data is what `yaml.safe_load` would give. Files that
are too large, too deep, not UTF-8, or that grow when their aliases are expanded are refused before
anything is expanded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stages.runtime.errors import UserError

MAX_BYTES = 1_000_000
MAX_DEPTH = 20
MAX_ALIASES = 100
MAX_EXPANDED_NODES = 500_000
QUOTE_IT = (
    "a text that holds ': ', ' #' or begins with {, [, *, &, !, % or @ must stand in double quotes."
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
            if isinstance(node, yaml.MappingNode):
                found = next((pair for pair in node.value if pair[0].value == str(key)), None)
                if found:
                    line, node = found[0].start_mark.line, found[1]
            elif (
                isinstance(node, yaml.SequenceNode)
                and isinstance(key, int)
                and key < len(node.value)
            ):
                node = node.value[key]
                line = node.start_mark.line
        return f"{shown(self.path)}:{line + 1}"


def shown(path: Path) -> str:
    """Return `path` as a user would type it: relative when it lies below the working directory."""
    resolved = path.resolve()
    return (
        str(resolved.relative_to(Path.cwd())) if resolved.is_relative_to(Path.cwd()) else str(path)
    )


def read_text(path: Path) -> str:
    """Return the text of `path`.

    Raises:
        UserError: it is missing, no regular file, not readable, larger than `MAX_BYTES`, or not
        UTF-8.
    """
    if not path.exists():
        raise UserError("there is no such file.", where=shown(path), fix="check the path.")
    if not path.is_file():
        raise UserError("this is not a file.", where=shown(path), fix="give the path of a file.")
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(
            f"the file cannot be read: {error.strerror}.",
            where=shown(path),
            fix="allow reading it.",
        ) from error
    if len(raw) > MAX_BYTES:
        raise UserError(
            f"the file has more than {MAX_BYTES // 1_000_000} MB.",
            where=shown(path),
            fix="is it the right file? A principle set has a few kB; split a larger one into several sets.",
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UserError(
            "the file is not UTF-8.", where=f"{shown(path)}:{line}", fix="save it as UTF-8."
        ) from error


def read_yaml(path: Path) -> Document:
    """Return the one YAML document in `path`.

    Raises:
        UserError: as `read_text`, and for a syntax error, a duplicate key, a key that is no plain
        text, an unsafe tag, too deep a nesting, or aliases that are too many, recursive or expand
        too far.
    """
    text = read_text(path)
    loader = None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            return Document(path, None, None)
        _check_keys(root)
        _expanded_size(root, {}, set())
        return Document(path, loader.construct_document(root), root)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UserError(
            f"the character U+{int(error.character):04X} is not allowed in YAML.",
            where=f"{shown(path)}:{line}",
            fix="remove it.",
        ) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        fix = error.note or f"check the indentation; {QUOTE_IT}"
        raise UserError(
            f"not valid YAML: {error.problem}.", where=f"{shown(path)}:{line}", fix=fix
        ) from error
    finally:
        if loader is not None:
            loader.dispose()


class _Loader(yaml.SafeLoader):
    """SafeLoader that counts aliases and depth while composing, and marks what a scalar's
    constructor refuses.
    """

    depth = 0
    aliases = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()
        self.aliases += isinstance(event, yaml.AliasEvent)
        if self.aliases > MAX_ALIASES:
            raise _refusal(
                f"more than {MAX_ALIASES} aliases", event.start_mark, "write the texts out."
            )
        if self.depth >= MAX_DEPTH:
            raise _refusal(
                f"nested deeper than {MAX_DEPTH} levels",
                event.start_mark,
                f"is it the right file? {QUOTE_IT}",
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
            raise _refusal(
                str(error), node.start_mark, "put the value in double quotes."
            ) from error


def _refusal(problem: str, mark: Any, fix: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark, note=fix)


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _check_keys(root: yaml.Node) -> None:
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        waiting.extend(_children(node))
        if not isinstance(node, yaml.MappingNode):
            continue
        first: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _refusal("a key must be plain text", key.start_mark, QUOTE_IT)
            if key.value in first:
                problem = f"the key {key.value!r} appears twice, first on line {first[key.value]}"
                raise _refusal(problem, key.start_mark, "keep one of the two.")
            first[key.value] = key.start_mark.line + 1


def _expanded_size(node: yaml.Node, sizes: dict[int, int], open_nodes: set[int]) -> int:
    """Return the number of nodes after expanding aliases, without expanding them."""
    if id(node) in open_nodes:
        raise _refusal(
            "an alias refers to what contains it", node.start_mark, "write the texts out."
        )
    if id(node) not in sizes:
        open_nodes.add(id(node))
        sizes[id(node)] = 1 + sum(
            _expanded_size(child, sizes, open_nodes) for child in _children(node)
        )
        open_nodes.discard(id(node))
    if sizes[id(node)] > MAX_EXPANDED_NODES:
        raise _refusal("the aliases expand too far", node.start_mark, "write the texts out.")
    return sizes[id(node)]
