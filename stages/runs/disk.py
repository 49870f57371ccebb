"""What runs cost on the disk, with shared files counted once.

In: run records. Out: bytes as the file system counts them (blocks, as `du` does). A file that
several artifacts share under further names (`take_over` makes them) is one file, and a run's own
bytes are those that would be free if nothing else needed its artifacts: files that another run
names, or that have a name outside of the artifacts, are not among them.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stages.runs.records import RunRecord

BLOCK = 512
"""Bytes in a block of `st_blocks`, whatever the file system's own blocks are."""
UNITS = ("B", "kB", "MB", "GB", "TB")
STEP = 1000.0


@dataclass
class DiskFile:
    """A file: its bytes, how many names it has on the disk, and the names that were seen."""

    size: int
    links: int
    names: set[Path] = field(default_factory=set)


Inode = tuple[int, int]
Files = dict[Inode, DiskFile]


@dataclass(frozen=True)
class Cost:
    """The bytes of a run: of all its files, and of those that nothing else needs."""

    total: int
    own: int


def read_files(folders: Iterable[Path]) -> Files:
    """Return the files in folders by their inodes."""
    files: Files = {}
    for folder in folders:
        for path, facts in _walk(folder):
            inode = (facts.st_dev, facts.st_ino)
            one = files.setdefault(inode, DiskFile(facts.st_blocks * BLOCK, facts.st_nlink))
            one.names.add(path)
    return files


def _walk(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            try:
                yield path, path.lstat()
            except FileNotFoundError:  # a run is writing there
                continue


def size_of(files: Files) -> int:
    """Return the bytes of files, each counted once."""
    return sum(one.size for one in files.values())


def freed_by(files: Files) -> int:
    """Return the bytes that are free once all these names are gone."""
    return sum(one.size for one in files.values() if one.links <= len(one.names))


def cost_of_runs(records: Sequence[RunRecord]) -> dict[Path, Cost]:
    """Return by a run's folder what it costs."""
    folders = {record.folder: [record.folder, *record.steps.values()] for record in records}
    users: dict[Path, int] = {}
    for parts in folders.values():
        for part in set(parts):
            users[part] = users.get(part, 0) + 1
    sizes = {part: read_files([part]) for part in users}
    costs = {}
    for folder, parts in folders.items():
        every = _join([sizes[part] for part in set(parts)])
        own = _join([sizes[part] for part in set(parts) if users[part] == 1])
        costs[folder] = Cost(size_of(every), freed_by(own))
    return costs


def _join(
    parts: Iterable[Mapping[Inode, DiskFile]],
) -> Files:
    joined: Files = {}
    for part in parts:
        for inode, one in part.items():
            whole = joined.setdefault(inode, DiskFile(one.size, one.links))
            whole.names |= one.names
    return joined


def format_bytes(size: float) -> str:
    """Return a size with its unit: `4.2 MB`."""
    unit = 0
    while size >= STEP and unit < len(UNITS) - 1:
        size /= STEP
        unit += 1
    return f"{size:.0f} {UNITS[unit]}" if unit == 0 or size >= 100 else f"{size:.1f} {UNITS[unit]}"
