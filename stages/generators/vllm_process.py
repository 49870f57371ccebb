"""The processes that vLLM starts: where they write, how they end, and why they failed.

Their warnings go to a log file, where they cannot break the display of a progress bar.
"""

import contextlib
import ctypes
import functools
import json
import logging.config
import multiprocessing
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1  # of prctl(2)
WORKER_FAILURE = re.compile(r"Worker failed with error '(.*)', please check.*")


def redirect_logging(log: Path) -> Path:
    """Send vLLM's warnings, from this process and those it starts, into `log`.

    Returns:
        A configuration file, from which the processes read where to write; call `restore_logging`
        with it once they run.

    Raises:
        OSError: `log` cannot be written.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    log.open("ab").close()
    settings = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
        "handlers": {
            "file": {
                "class": "logging.FileHandler",
                "filename": str(log.resolve()),
                "formatter": "plain",
            }
        },
        "loggers": {"vllm": {"handlers": ["file"], "level": "WARNING", "propagate": False}},
    }
    path = create_temporary_file(".json")
    path.write_text(json.dumps(settings))
    os.environ |= {
        "VLLM_LOGGING_CONFIG_PATH": str(path),
        "VLLM_LOGGING_LEVEL": "WARNING",
        "VLLM_NO_USAGE_STATS": "1",
    }
    logging.config.dictConfig(settings)
    return path


def restore_logging(path: Path) -> None:
    """Undo `redirect_logging` for processes that start later.

    A training library's own engine is one of those.
    """
    os.environ.pop("VLLM_LOGGING_CONFIG_PATH", None)
    path.unlink(missing_ok=True)


def create_temporary_file(suffix: str) -> Path:
    """Create an empty file that no other process uses."""
    handle, path = tempfile.mkstemp(prefix="credo-vllm-", suffix=suffix)
    os.close(handle)
    return Path(path)


@contextlib.contextmanager
def redirect_children(log: Path) -> Iterator[None]:
    """Let processes started inside write their output and errors to `log`, and die with this one.

    Native libraries warn, and a dying engine prints its traceback, past any logging set-up. Only
    the moment of the start is redirected: this process may be drawing a progress bar meanwhile.
    """
    from multiprocessing.process import BaseProcess

    plain_start = BaseProcess.start

    def start(process: BaseProcess) -> None:
        target = process._target  # type: ignore[attr-defined]
        process._target = functools.partial(die_with_parent, target)  # type: ignore[attr-defined]
        with _output_to(log):
            plain_start(process)

    BaseProcess.start = start  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        BaseProcess.start = plain_start  # type: ignore[method-assign]


@contextlib.contextmanager
def _output_to(log: Path) -> Iterator[None]:
    """Point standard output (1) and standard error (2) of this process at `log`."""
    sys.stdout.flush()
    sys.stderr.flush()
    originals = [os.dup(1), os.dup(2)]
    with log.open("ab") as sink:
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
    try:
        yield
    finally:
        for number, original in enumerate(originals, start=1):
            os.dup2(original, number)
            os.close(original)


def die_with_parent(target: Callable[..., None], *args: Any, **kwargs: Any) -> None:
    """Run `target` in a child process that the kernel kills with its parent.

    An orphaned engine would keep its memory forever.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    # The parent may have died before `prctl`.
    if parent is not None and parent.is_alive():
        target(*args, **kwargs)


def extract_reason(error: Exception, log: Path, start: int) -> str:
    """Return the line that gives the reason why vLLM failed.

    It is the last line in the log since byte `start` that names an exception, or else `error`'s.
    """
    reason = ""
    with log.open("rb") as stream:
        stream.seek(start)
        lines = stream.read().decode(errors="replace").splitlines()
    for line in lines:
        name, _, message = line.partition(":")
        names_an_exception = name.endswith(("Error", "Exception"))
        if names_an_exception and message.strip() and "initialization failed" not in message:
            reason = message.strip()
    if reason:
        return WORKER_FAILURE.sub(r"\1", reason)
    own_lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    for line in own_lines:
        if line.startswith("Value error, "):  # pydantic's
            return line.removeprefix("Value error, ").split(" [type=")[0]
    return own_lines[0] if own_lines else repr(error)
