"""A PostgreSQL server of a test's own: its data in a temporary folder, on a free local port.

The server refuses to run as root; then the user `postgres` or `nobody` runs it.
"""

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

USER = "ada"


@dataclass
class Server:
    """A running server, which asks for the password of USER."""

    folder: Path
    port: int
    password: str

    @property
    def url(self) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/postgres"

    def control(self, action: str, *arguments: str) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''"
        call("pg_ctl", action, "-D", str(self.folder), "-w", "-l", f"{self.folder}.log",
             "-o", f"{options} -c fsync=off", *arguments)  # fmt: skip


def find_program(name: str) -> Path | None:
    """A program of PostgreSQL's, of the newest version that is installed."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda f: float(f.parent.name))
    places = [folder / name for folder in reversed(folders)]
    places += [Path(place)] if (place := shutil.which(name)) else []
    return next((place for place in places if place.exists()), None)


def call(program: str, *arguments: str) -> None:
    as_user: dict[str, Any] = {}
    if os.geteuid() == 0:
        owner = find_owner()
        as_user = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
    done = subprocess.run(
        [str(find_program(program)), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
        timeout=60,
        text=True,
        **as_user,
    )
    assert done.returncode == 0, done.stdout


def find_owner() -> pwd.struct_passwd:
    with suppress(KeyError):
        return pwd.getpwnam("postgres")
    return pwd.getpwnam("nobody")


@contextmanager
def postgres_server() -> Iterator[Server]:
    """Create a cluster, start its server, and remove both at the end."""
    root = Path(tempfile.mkdtemp(prefix="credo-postgres-"))
    try:
        password = secrets.token_hex(8)
        (root / "password").write_text(password)
        if os.geteuid() == 0:
            for path in (root, root / "password"):
                shutil.chown(path, *find_owner()[2:4])
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = Server(root / "data", port, password)
        call("initdb", "-D", str(server.folder), "-U", USER, "--auth=scram-sha-256",
             "-E", "UTF8", "--no-sync", f"--pwfile={root / 'password'}")  # fmt: skip
        server.control("start")
        try:
            yield server
        finally:
            server.control("stop", "-m", "immediate")
    finally:
        shutil.rmtree(root, ignore_errors=True)
