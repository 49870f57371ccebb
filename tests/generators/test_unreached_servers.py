"""Servers that nobody reaches: said by a plan, and a stop before a run has spent anything."""

import asyncio
import io
import socket
import time

import pytest

from stages import STAGES
from stages.guards.console import open_console
from stages.guards.errors import UserError
from stages.runtime.calls import Engines
from stages.runtime.generator_registry import refuse_unreached
from stages.runtime.pipeline.plan import find_unreached
from stages.runtime.pipeline.runner import Runner
from stages.runtime.pipeline.steps import read_steps
from stages.runtime.store import CallStore
from tests.generators.stub import Stub, in_thread, well
from tests.running import Seeded, text_pipeline

DEAD = "http://127.0.0.1:9/v1"


@pytest.mark.parametrize("status", [200, 401, 404, 500, 0])
async def test_whoever_answers_is_there(status):
    """Whether it lists models or not, knows the key, or hangs up: no token is spent to ask."""
    async with Stub(well) as stub:
        stub.visit_status = status
        await refuse_unreached("server", {"endpoints": [DEAD, stub.url]}, patient=False)
        assert set(stub.visits) == {"/v1/models"} and stub.requests == []


async def test_a_busy_server_is_there(monkeypatch):
    monkeypatch.setattr("stages.generators.servers.client.CONNECT_SECONDS", 0.2)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        await refuse_unreached("server", {"endpoints": [url]}, patient=False)


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_gateway_without_a_server_is_nobody(status):
    async with Stub(well) as stub:
        stub.visit_status = status
        with pytest.raises(UserError, match=f"no endpoint answers.*HTTP {status}"):
            await refuse_unreached("server", {"endpoints": [stub.url]}, patient=False)


async def test_a_run_waits_as_long_as_a_call_would():
    started = time.monotonic()
    options = {"endpoints": [DEAD], "max_retries": 2, "backoff": 0.1}
    with pytest.raises(UserError, match="ClientConnectorError"):
        await refuse_unreached("server", options, patient=True)
    assert 0.3 <= time.monotonic() - started < 3
    stub = Stub(well)
    async with stub:
        pass  # its port is free again afterwards
    late = asyncio.create_task(stub_later(stub))
    options = {"endpoints": [stub.url], "max_retries": 5, "backoff": 0.1}
    await refuse_unreached("server", options, patient=True)
    await (await late).__aexit__()


async def stub_later(stub):
    await asyncio.sleep(0.2)
    return await stub.__aenter__()


async def test_a_key_that_is_not_there_is_said_too(monkeypatch):
    monkeypatch.delenv("NO_KEY", raising=False)
    options = {"endpoints": [DEAD], "api_key_env": "NO_KEY"}
    with pytest.raises(UserError, match="the environment variable NO_KEY is empty"):
        await refuse_unreached("server", options, patient=False)


@pytest.fixture
def said():
    """What is shown."""
    return io.StringIO()


@pytest.fixture
def run(tmp_path, said):
    """Plan, and run unless only planned; returns what is not reached and the generator."""

    def run_once(steps, only_plan=False):
        generator = Seeded()

        async def open_scripted(name, model, options):
            return generator

        store = CallStore(tmp_path / "calls.sqlite")
        with asyncio.Runner() as loop:
            engines = Engines("scripted", {}, opener=open_scripted)
            console = open_console(file=said, width=400)
            runner = Runner(tmp_path / "artifacts", 0, store, engines, console, loop)
            try:
                planned = runner.plan(read_steps(steps, STAGES))
                unreached = loop.run(find_unreached(planned, engines, patient=False))
                if not only_plan:
                    runner.run(planned)
            finally:
                store.close()
        return unreached, generator

    return run_once


def steps_of(folder, endpoint, judged=True):
    """A judge behind an endpoint, asked last."""
    steps = text_pipeline(folder, prompts=4, rounds=1)
    options = {"endpoints": [endpoint], "max_retries": 1, "backoff": 0.01}
    steps["judge"] = {"stage": "model", "path": "some", "generator": "server", "options": options}
    if judged:
        steps["judgements"]["inputs"]["model"] = "judge"
    return steps


def test_a_plan_says_it_and_a_run_stops_before_anything_is_asked(tmp_path, run):
    steps = steps_of(tmp_path, DEAD)
    ((asking, error),), generator = run(steps, only_plan=True)
    assert asking == ["judgements"] and error.where == "judge.options.endpoints"
    assert "ClientConnectorError" in error.what and generator.calls == 0
    with pytest.raises(UserError, match="no endpoint answers"):
        run(steps)
    assert not list((tmp_path / "artifacts").glob("answers-*"))


def test_nobody_is_visited_whom_no_step_will_ask(tmp_path, run):
    assert run(steps_of(tmp_path, DEAD, judged=False))[0] == [], "none reads the judge"
    with in_thread(well) as stub:
        steps = steps_of(tmp_path / "served", stub.url)
        assert run(steps)[0] == []
        visits = len(stub.visits)
    assert visits, "while there was something to ask"
    assert run(steps)[0] == [], "all steps are there"
    for artifact in (tmp_path / "artifacts").glob("judgements-*/manifest.json"):
        artifact.unlink()
    assert run(steps)[0] == [], "all calls are stored"


def test_a_step_that_only_measures_does_not_keep_the_rest_from_being_made(tmp_path, run, said):
    steps = steps_of(tmp_path, DEAD)
    steps["report"] = {"stage": "report", "inputs": {"answers": "answers"}}
    run(steps)
    assert "warning: judgements: judge.options.endpoints: no endpoint answers" in said.getvalue()
    assert list((tmp_path / "artifacts").glob("report-*/manifest.json"))
