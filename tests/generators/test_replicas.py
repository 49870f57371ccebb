"""Servers that a run starts: each on its GPU, none outlives the run, a dead one is left out."""

import asyncio
import contextlib
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from stages.generators.servers import processes, replicas
from stages.generators.servers.processes import choose_gpus
from stages.generators.servers.replicas import as_flags
from stages.guards.errors import UserError
from stages.pretrained import hardware
from stages.runtime.calls import Engines
from stages.runtime.generation import CallFailed, Sampling
from stages.runtime.generator_registry import continues_answers, open_generator
from stages.runtime.models import find_model
from tests.running import fake_model

ROOT = Path(__file__).resolve().parents[2]
STUB = [sys.executable, str(ROOT / "tests" / "generators" / "stub_replica.py")]
SAMPLING = Sampling(max_tokens=5)


@pytest.fixture
def model(tmp_path):
    return find_model(str(fake_model(tmp_path / "model")))


@pytest.fixture
def two_gpus(monkeypatch):
    set_gpus(monkeypatch, 2)


@pytest.fixture(autouse=True)
def polls_often(monkeypatch):
    monkeypatch.setattr(replicas, "POLL_SECONDS", 0.05)


def set_gpus(monkeypatch, count):
    for module in (hardware, processes, replicas):
        monkeypatch.setattr(module, "count_gpus", lambda: count)


@contextlib.asynccontextmanager
async def opened(model, **options):
    generator = await open_generator("replicas", model, {"command": STUB, **options})
    try:
        yield generator
    finally:
        await generator.close()


async def ask(generator, text="hello", seed=0):
    answer = await generator.complete([{"role": "user", "content": text}], SAMPLING, seed)
    return json.loads(answer.text)


def processes_of(generator):
    """Its servers and what they have started."""
    servers = [psutil.Process(one.process.pid) for one in generator._processes.replicas]
    return [*servers, *(child for server in servers for child in server.children())]


def wait_for_end(processes):
    _, alive = psutil.wait_procs(processes, timeout=10)
    for process in alive:
        process.kill()
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


async def test_each_gpu_gets_a_server_and_all_end_at_close(model, two_gpus, tmp_path, capsys):
    engine = {"max_model_len": 64, "engine": {"swap_space": 0}}
    async with opened(model, log=str(tmp_path / "logs" / "server"), **engine) as generator:
        answers = await asyncio.gather(*[ask(generator, seed=seed) for seed in range(20)])
        assert {answer["gpu"] for answer in answers} == {"0", "1"}
        flags = " ".join(answers[0]["flags"])
        assert f"--model {model.path}" in flags and f"--served-model-name {model.path}" in flags
        assert "--max-model-len 64" in flags and "--swap-space 0" in flags
        assert "--no-trust-remote-code" in flags and "--load-format safetensors" in flags
        assert answers[0]["model"] == model.path
        running = processes_of(generator)
        assert len(running) == 4
    wait_for_end(running)
    assert (tmp_path / "logs" / "server.0").read_text().startswith("engine ")
    shown = " ".join(capsys.readouterr().err.split())
    assert "starting 2 servers" in shown and "2 of 2 servers answer" in shown


async def test_a_server_that_dies_is_left_out(model, two_gpus, capsys):
    async with opened(model) as generator:
        with contextlib.suppress(CallFailed):
            await ask(generator, "die 0")  # GPU 1 answers it
        answers = await asyncio.gather(*[ask(generator, seed=seed) for seed in range(10)])
        while len(generator.client.pool.endpoints) > 1:
            answers.append(await ask(generator))
        await asyncio.sleep(0)
        assert {answer["gpu"] for answer in answers} == {"1"}
        logs = [one.log for one in generator._processes.replicas]
    shown = " ".join(capsys.readouterr().err.split())
    assert "on GPU 0 ended with code 3: the GPU fell off the bus; 1 go on; see" in shown
    assert all(log.exists() for log in logs)  # where one died, what they wrote stays
    for log in logs:
        log.unlink()


async def test_where_all_die_the_run_ends_with_the_reason_and_the_log(model, two_gpus):
    async with opened(model, max_retries=3) as generator:
        started = time.monotonic()
        with pytest.raises(UserError, match="every server has died") as caught:
            await ask(generator, "die")
        assert time.monotonic() - started < 10
        assert "the GPU fell off the bus" in caught.value.what
        logs = [one.log for one in generator._processes.replicas]
        assert all(str(log) in caught.value.fix for log in logs)
    for log in logs:
        log.unlink()


async def test_servers_that_do_not_start(model, two_gpus, monkeypatch, capsys):
    monkeypatch.setenv("STUB_REPLICA", '{"fail": ["1"]}')
    async with opened(model) as generator:
        assert (await ask(generator))["gpu"] == "0"
    assert "on GPU 1 ended with code 3: no kernel image" in " ".join(
        capsys.readouterr().err.split()
    )
    monkeypatch.setenv("STUB_REPLICA", '{"fail": ["0", "1"]}')
    with pytest.raises(UserError, match=r"cannot serve this model.*no kernel image"):
        async with opened(model):
            pass
    monkeypatch.setenv("STUB_REPLICA", '{"wait": 60}')
    with pytest.raises(UserError, match=r"no answer within 0.01 minutes.*still runs"):
        async with opened(model, start_minutes=0.01):
            pass
    with pytest.raises(UserError, match="a server cannot be started"):
        async with opened(model, command=["no-such-program"]):
            pass
    for log in re.findall(r"\S*credo-vllm-\S+?\.log", capsys.readouterr().err):
        Path(log).unlink(missing_ok=True)


async def test_a_stubborn_server_ends_at_close(model, monkeypatch):
    monkeypatch.setenv("STUB_REPLICA", '{"stubborn": true}')
    monkeypatch.setattr(processes, "STOP_SECONDS", 0.3)
    async with opened(model) as generator:
        running = processes_of(generator)
    wait_for_end(running)


async def test_one_that_starts_slowly_is_waited_for(model, monkeypatch):
    monkeypatch.setenv("STUB_REPLICA", '{"wait": 1}')
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # is for others
    async with opened(model, replicas=2) as generator:
        assert (await ask(generator))["gpu"] == ""  # without GPUs nothing is chosen
        logs = [one.log for one in generator._processes.replicas]
    assert not any(log.exists() for log in logs)


RUN = """
import asyncio, json, subprocess, sys
from stages.generators.servers import processes
from stages.runtime.generator_registry import open_generator
from stages.runtime.models import find_model

processes.STOP_SECONDS = 2

async def main():
    options = {"command": json.loads(sys.argv[2]), "replicas": 2}
    generator = await open_generator("replicas", find_model(sys.argv[1]), options)
    # A process that lives on with the run's files.
    other = subprocess.Popen(["sleep", "600"], close_fds=False)
    servers = [one.process.pid for one in generator._processes.replicas]
    print(json.dumps({"servers": servers, "other": other.pid}), flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("end", "stubborn"),
    [
        (signal.SIGKILL, False),
        (signal.SIGTERM, True),
        pytest.param(signal.SIGKILL, True, marks=pytest.mark.long),
        pytest.param(signal.SIGTERM, False, marks=pytest.mark.long),
        pytest.param(signal.SIGINT, False, marks=pytest.mark.long),
        pytest.param(signal.SIGINT, True, marks=pytest.mark.long),
    ],
)
def test_no_server_outlives_a_run(model, end, stubborn, tmp_path, monkeypatch):
    monkeypatch.setenv("STUB_REPLICA", json.dumps({"stubborn": stubborn}))
    command = [sys.executable, "-c", RUN, model.path, json.dumps(STUB)]
    errors = (tmp_path / "errors").open("w")
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors) as run:
        numbers = json.loads(run.stdout.readline())
        servers = [psutil.Process(number) for number in numbers["servers"]]
        other = psutil.Process(numbers["other"])
        started = [child for server in servers for child in server.children()]
        assert len(started) == 2 and other.is_running()
        run.send_signal(end)
        run.stdout.close()
    wait_for_end([*servers, *started])
    other.kill()


def test_which_gpus_a_server_sees(monkeypatch):
    set_gpus(monkeypatch, 4)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert choose_gpus(None, 1) == ["0", "1", "2", "3"]
    assert choose_gpus(None, 2) == ["0,1", "2,3"]
    assert choose_gpus(1, 3) == ["0,1,2"]
    with pytest.raises(UserError, match="2 x 3 GPUs are asked for, and there are 4"):
        choose_gpus(2, 3)
    with pytest.raises(UserError, match="1 x 8 GPUs"):
        choose_gpus(None, 8)
    set_gpus(monkeypatch, 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, GPU-aa")
    assert choose_gpus(None, 1) == ["5", "GPU-aa"]
    set_gpus(monkeypatch, 0)
    assert choose_gpus(None, 1) == [""] and choose_gpus(2, 1) == ["", ""]


def test_flags_of_the_engines_arguments():
    arguments = {"a_b": True, "c": False, "d": None, "e": 0.5, "f": {"g": [1]}, "h": "x"}
    expected = ["--a-b", "--no-c", "--e", "0.5", "--f", '{"g": [1]}', "--h", "x"]
    assert as_flags(arguments) == expected


def test_no_server_continues_the_beginning_of_an_answer():
    local = {"serves": "base", "local": {"name": "replicas"}}
    assert continues_answers("server", "policy", {"serves": "base"})
    assert not continues_answers("server", "base", {"serves": "base"})
    assert not continues_answers("server", "policy", local)
    assert not continues_answers("replicas", "policy", {})
    assert continues_answers("vllm", "policy", {}) and continues_answers("scripted", "policy", {})


def test_calls_have_the_keys_of_the_engine_in_this_process():
    options = {"max_model_len": 64, "engine": {"seed": 1}, "dtype": "float32"}
    both = [Engines(name, options).answer_options for name in ("vllm", "replicas")]
    more = Engines("replicas", {**options, "replicas": 3, "command": ["x"]}).answer_options
    assert both[0] == both[1] == more == {"max_model_len": 64, "engine": {"seed": 1}}
