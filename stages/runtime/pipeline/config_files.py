"""Hydra's source of config files, with a bound and with one message for every fault.

YAML's constructors raise errors of any type, without the file's name, and a few lines of aliases
can stand for gigabytes.
"""

import os

import yaml
from hydra._internal.core_plugins import file_config_source
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_store import ConfigStore  # noqa: F401  (Hydra's imports go in a circle)
from hydra.plugins.config_source import ConfigLoadError, ConfigResult

from stages.guards.errors import UserError
from stages.guards.files import read_text

MOST_BYTES = 1_000_000
MOST_NODES = 100_000
"""Values of a file, with its aliases written out."""


def guard_config_files() -> None:
    """Let Hydra read its files through the class below, in this process."""
    SourcesRegistry.instance().types[FileConfigSource.scheme()] = FileConfigSource


class FileConfigSource(file_config_source.FileConfigSource):
    """Of this name, because Hydra then keeps it where it would register its own."""

    def load_config(self, config_path: str) -> ConfigResult:
        """Load one config file.

        Raises:
            UserError: the file cannot be read, or is too large.
        """
        path = os.path.realpath(os.path.join(self.path, self._normalize_file_name(config_path)))
        try:
            if os.path.exists(path):
                _refuse_huge(read_text(path, most=MOST_BYTES), path)
            return super().load_config(config_path)
        except (UserError, ConfigLoadError):
            raise
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise UserError(
                f"not valid YAML: {error.problem}",
                where=f"{path}:{mark.line + 1}" if mark else path,
                fix="correct the file",
            ) from None
        except Exception as error:
            cause: BaseException | None = error
            while cause and not str(cause).strip():
                cause = cause.__cause__ or cause.__context__
            what = " ".join(str(cause or type(error).__name__).split())
            raise UserError(
                f"the file cannot be read: {what[:300]}", where=path, fix="correct the YAML file"
            ) from None


def _refuse_huge(text: str, path: str) -> None:
    """Refuse a file whose aliases stand for too many values, or for themselves."""
    if "*" not in text:
        return
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []
    size = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, size))
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            sizes[anchor or ""] = size - before
        elif isinstance(event, yaml.AliasEvent):
            size += sizes.get(
                str(event.anchor), MOST_NODES
            )  # an alias inside of what it stands for
        elif isinstance(event, yaml.NodeEvent):
            size += 1
            sizes[event.anchor or ""] = 1
        if size >= MOST_NODES:
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise UserError(
                "an alias stands for nothing, for what it is a part of, or for too many values",
                where=f"{path}:{line}",
                fix=f"give it an anchor before it; a file has up to {MOST_NODES} values",
            )
