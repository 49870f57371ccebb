"""The server processes that a run starts: on which GPU, until when, and that none outlives the run.

Each server leads a group of processes. A guard, which is a shell, holds the other end of a pipe:
when this process ends, in any way, the guard ends the groups.
"""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.generators.vllm_process import create_temporary_file
from stages.guards.errors import UserError
from stages.pretrained.hardware import count_gpus

STOP_SECONDS = 15.0
"""Between the request to end and the kill."""
# Reads the numbers of groups until the pipe ends; $1 is STOP_SECONDS. `kill -s 0` asks for life.
GUARD = """
trap '' INT TERM HUP
groups=
while read -r group; do groups="$groups -$group"; done
[ -n "$groups" ] || exit 0
kill -s TERM -- $groups
for second in $(seq "$1"); do
  sleep 1
  alive=
  for group in $groups; do kill -s 0 -- "$group" && alive=yes; done
  [ -n "$alive" ] || exit 0
done
kill -s KILL -- $groups
"""


@dataclass(frozen=True)
class Replica:
    """A server process."""

    process: subprocess.Popen[bytes]
    port: int
    gpus: str
    """What it sees: `CUDA_VISIBLE_DEVICES`; "" without GPUs."""
    log: Path
    """Its output and errors."""

    @property
    def base(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def name(self) -> str:
        """What messages call it."""
        place = f" on GPU {self.gpus}" if self.gpus else ""
        return f"the server at {self.base}{place}"


def choose_gpus(replicas: int | None, each: int) -> list[str]:
    """Return the GPUs of each replica, as `CUDA_VISIBLE_DEVICES` names them.

    Args:
        replicas: how many; None: as many as there are GPUs for, at least one.
        each: GPUs of one replica.

    Raises:
        UserError: there are too few GPUs.
    """
    count = count_gpus()
    if not count:
        return [""] * (replicas or 1)
    replicas = replicas or max(1, count // each)
    if replicas * each > count:
        raise UserError(
            f"{replicas} x {each} GPUs are asked for, and there are {count}",
            where="generator.options",
            fix=f"set generator.options.replicas to {count // each or 1} or less, or lower "
            "tensor_parallel_size",
        )
    names = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    names = [name for name in names if name] or [str(number) for number in range(count)]
    return [",".join(names[one * each : (one + 1) * each]) for one in range(replicas)]


class Processes:
    """Server processes and their guard. Call `stop` when they are no longer needed."""

    def __init__(self) -> None:
        self.replicas: list[Replica] = []
        self._guard = subprocess.Popen(
            ["sh", "-c", GUARD, "guard", f"{STOP_SECONDS:g}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is not for it
        )

    def start(
        self, command: Sequence[str], gpus: str, environment: Mapping[str, str], log: str
    ) -> Replica:
        """Start a server on a free local port; `--host` and `--port` are added to the command.

        Args:
            gpus: `CUDA_VISIBLE_DEVICES`; "" leaves it as it is.
            environment: further variables.
            log: a file; "": a temporary one.

        Raises:
            UserError: the command is not there, or the log cannot be written.
        """
        port = _free_port()
        variables = os.environ | environment | ({"CUDA_VISIBLE_DEVICES": gpus} if gpus else {})
        try:
            file = Path(log or create_temporary_file(".log"))
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("ab") as sink:
                process = subprocess.Popen(
                    [*command, "--host", "127.0.0.1", "--port", str(port)],
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=sink,
                    env=variables,
                    start_new_session=True,
                )
        except OSError as error:
            raise UserError(
                f"a server cannot be started: {error}",
                where="generator.options",
                fix="look at generator.options.command and generator.options.log",
            ) from None
        replica = Replica(process, port, gpus, file)
        self.replicas.append(replica)
        if self._guard.stdin:
            with contextlib.suppress(BrokenPipeError):
                self._guard.stdin.write(f"{process.pid}\n".encode())
                self._guard.stdin.flush()
        return replica

    def stop(self) -> None:
        """End all servers and what they have started, and wait until they are gone."""
        for replica in self.replicas:
            _signal_group(replica, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for replica in self.replicas:
            with contextlib.suppress(subprocess.TimeoutExpired):
                replica.process.wait(max(0.0, deadline - time.monotonic()))
        for replica in self.replicas:
            _signal_group(replica, signal.SIGKILL)  # also what a leader has left behind
            replica.process.wait()
        self._guard.kill()
        self._guard.wait()
        if self._guard.stdin:
            self._guard.stdin.close()


def _signal_group(replica: Replica, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(replica.process.pid, number)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
