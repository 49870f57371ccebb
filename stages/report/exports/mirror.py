"""Copy finished artifacts to a storage and back, so that a run on another machine reuses them.

    python -m stages.report.exports.mirror push runs/artifacts s3://bucket/credo
    python -m stages.report.exports.mirror pull runs/artifacts s3://bucket/credo

The storage is what fsspec opens (s3://, gs://, file://, ...); its keys come from the environment.
What is there already is not copied again. An artifact's manifest is written last, and every file is
compared with it, before a push and after a pull: what a kill or a network cuts short never counts
as finished.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from stages.guards.console import open_console
from stages.guards.disk import errors_of_writing, flush, remove
from stages.guards.errors import UserError
from stages.guards.locks import hold_lock
from stages.guards.secrets import find_secrets, mask
from stages.runtime.artifacts import look_up
from stages.runtime.manifest import MANIFEST, check_files, read_manifest
from stages.runtime.row_files import DamagedArtifact

PROGRAM = "python -m stages.report.exports.mirror"
PULLED = ".pulled"
"""Beside the artifacts: the folder of what is being copied."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Copy what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(PROGRAM, description=__doc__.partition("\n")[0])
    parser.add_argument("direction", choices=["push", "pull"])
    parser.add_argument("artifacts", type=Path, help="a run's folder of artifacts")
    parser.add_argument("storage", help="its address, such as s3://bucket/credo")
    chosen = parser.parse_args(arguments)
    copy = push if chosen.direction == "push" else pull
    console = open_console(stderr=True)
    try:
        copied, damaged = copy(chosen.artifacts, chosen.storage)
    except UserError as error:
        console.print(str(error))
        return 2
    for line in damaged:
        console.print(f"left out: {line}")
    console.print(f"{len(copied)} artifacts copied{': ' if copied else ''}{', '.join(copied)}")
    return 2 if damaged else 0


def push(root: Path, url: str) -> tuple[list[str], list[str]]:
    """Copy finished artifacts that the storage lacks to it.

    Returns:
        The names of those that were copied, and what is wrong with others.

    Raises:
        UserError: the storage cannot be used.
    """
    copied, damaged = [], []
    with _open_storage(url) as (storage, base):
        folders = sorted(root.glob("*-*"))
        _refuse_nothing(folders, str(root), "give the folder of a run's artifacts: runs/artifacts")
        for folder in folders:
            step, _, fingerprint = folder.name.rpartition("-")
            artifact, damage = look_up(root, step, fingerprint)
            target = f"{base}/{folder.name}"
            if not artifact:
                damaged += [f"{folder.name}: {damage}"] if damage else []
                continue
            if storage.exists(f"{target}/{MANIFEST}"):
                continue
            try:
                check_files(folder, artifact.manifest, whole=True)
            except DamagedArtifact as error:
                damaged.append(f"{folder.name}: {error.what}")
                continue
            for name in [*(artifact.manifest.files or {}), MANIFEST]:
                storage.makedirs(str(PurePosixPath(target, name).parent), exist_ok=True)
                storage.put_file(str(folder / name), f"{target}/{name}")
            copied.append(folder.name)
    return copied, damaged


def pull(root: Path, url: str) -> tuple[list[str], list[str]]:
    """Copy finished artifacts that are not in `root` from the storage; see `push`."""
    copied, damaged = [], []
    with _open_storage(url) as (storage, base), errors_of_writing(root):
        manifests = sorted(storage.glob(f"{base}/*-*/{MANIFEST}"))
        _refuse_nothing(manifests, url, "check the address; a push fills it")
        for path in manifests:
            name = PurePosixPath(path).parent.name
            step, _, fingerprint = name.rpartition("-")
            if look_up(root, step, fingerprint)[0]:
                continue
            with hold_lock(root / ".locks" / name, lambda _: None):
                temporary = root / PULLED / name
                remove(temporary)
                try:
                    _download(storage, f"{base}/{name}", temporary)
                except DamagedArtifact as error:
                    damaged.append(f"{name}: {error.what}")
                    remove(temporary)
                    continue
                remove(root / name)  # what is unfinished or damaged
                os.replace(temporary, root / name)
            copied.append(name)
        remove(root / PULLED)
    return copied, damaged


def _refuse_nothing(places: Sequence[object], where: str, fix: str) -> None:
    if not places:
        raise UserError("no artifact lies here", where=where, fix=fix)


def _download(storage: Any, source: str, folder: Path) -> None:
    """Copy an artifact into a folder that is not there yet.

    Raises:
        DamagedArtifact: its files are not those of its manifest.
    """
    folder.mkdir(parents=True)
    storage.get_file(f"{source}/{MANIFEST}", str(folder / MANIFEST))
    manifest = read_manifest(folder)
    if f"{manifest.step}-{manifest.fingerprint}" != folder.name:
        raise DamagedArtifact(folder, f"{MANIFEST} is another artifact's")
    for name in manifest.files or {}:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise DamagedArtifact(folder, f"{MANIFEST} names a file outside of the folder")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        try:
            storage.get_file(f"{source}/{name}", str(folder / name))
        except FileNotFoundError:
            raise DamagedArtifact(folder, f"{name} is missing") from None
    check_files(folder, manifest, whole=True)
    for file in folder.rglob("*"):
        flush(file)


@contextmanager
def _open_storage(url: str) -> Iterator[tuple[Any, str]]:
    """Return a file system of fsspec's and the path in it, and name the storage in errors.

    Raises:
        UserError: the address holds a key, there is no such bucket, or the storage cannot be used.
    """
    import fsspec

    if list(find_secrets({"storage": url})):
        raise UserError(
            "the address holds a key or a password",
            where="storage",
            fix="take it out: keys come from the environment (AWS_ACCESS_KEY_ID, ...)",
        )
    try:
        storage, base = fsspec.core.url_to_fs(url)
        _refuse_missing_bucket(storage, base.partition("/")[0])
        yield storage, base.rstrip("/")
    except UserError:
        raise
    except Exception as error:  # each storage has its own kinds
        words = mask(f"{type(error).__name__}: {error}").splitlines()[0]
        raise UserError(
            f"the storage cannot be used: {words}",
            where=url,
            fix="look at the address and the keys; s3:// needs `pip install s3fs`",
        ) from None


def _refuse_missing_bucket(storage: Any, bucket: str) -> None:
    """Refuse a bucket that is not there: s3fs would create it, and a misspelt one would stay.

    Args:
        bucket: what a path begins with; "" where paths are absolute, as those of a disk are.

    Raises:
        UserError: it is not there.
    """
    try:
        is_there = not bucket or storage.exists(bucket)
    except PermissionError:  # these keys may only see what lies in it
        return
    if not is_there:
        raise UserError(
            f"there is no bucket {bucket!r}",
            where="storage",
            fix="correct the address, or create the bucket first",
        )


if __name__ == "__main__":
    sys.exit(main())
