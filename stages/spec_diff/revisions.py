"""Read a principle set from a file, a shipped name, or a git revision of a file.

`REV:path` is as in `git show`: `HEAD~3:constitutions/world.yaml`. A path that begins with `./` is
relative to the working directory, any other one to the top of the repository.
"""

import subprocess
import tempfile
from pathlib import Path

from stages.guards.disk import write_atomically
from stages.guards.errors import UserError
from stages.guards.files import exists
from stages.principles.constitution import Constitution, load

SECONDS = 30
"""That git may take."""


def read_set(reference: str) -> Constitution:
    """Return the principle set of a name, a path or a `REV:path`.

    Raises:
        UserError: as `load`, or git has no such revision or file.
    """
    revision, colon, path = reference.partition(":")
    if not colon or exists(reference):
        return load(reference)
    text = _show(reference)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{Path(path).stem or 'set'}@{_plain(revision)}.yaml"
        write_atomically(file, text)
        return load(file)


def _show(reference: str) -> str:
    command = ["git", "show", "--end-of-options", reference]
    fix = "write REV:path as in `git show`, such as HEAD~1:constitutions/world.yaml"
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise UserError(f"git cannot be asked: {error}", where=reference[:80], fix=fix) from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason"]
        raise UserError(f"git: {lines[0]}", where=reference[:80], fix=fix)
    try:
        return done.stdout.decode("utf-8")
    except UnicodeDecodeError:
        what = "that revision of the file is not UTF-8"
        raise UserError(what, where=reference[:80], fix=fix) from None


def _plain(revision: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in revision)[:40]
