"""Several endpoints: all are used, a slow one holds only its own calls, groups stay together."""

import asyncio
from dataclasses import dataclass

import pytest

from stages.generators.servers.endpoints import Endpoint, Failed, Pool
from stages.generators.servers.http import proxy_of
from stages.guards.console import open_console
from stages.runtime.calls import Engines
from stages.runtime.context import Context
from stages.runtime.generation import GROUP, Sampling
from stages.runtime.store import CallStore
from tests.generators.stub import QUESTION, Stub, ask_all, server, well


async def ask_groups(generator, groups, calls):
    """Ask `calls` questions of each group, all at once."""

    async def ask(group, number):
        GROUP.set(group)  # of this task alone
        question = [{"role": "user", "content": f"{group} {number}"}]
        await generator.complete(question, Sampling(), number)

    numbers = [(group, number) for group in groups for number in range(calls)]
    await asyncio.gather(*[ask(group, number) for group, number in numbers])


def groups_at(stub):
    """How many calls of each group a stub got."""
    counts = {}
    for _, body in stub.requests:
        group = body["messages"][-1]["content"].split()[0]
        counts[group] = counts.get(group, 0) + 1
    return counts


@pytest.mark.parametrize("groups", [1, 10])
async def test_a_slow_endpoint_holds_its_own_calls_only(groups):
    """It answers nothing until all others are done; in one group or in several."""
    goes_on = asyncio.Event()

    async def slow(stub, path, body):
        await goes_on.wait()
        return well(stub, path, body)

    async with Stub(slow) as late, Stub(well) as quick:
        generator = await server(late, quick, concurrency=4)
        names = [f"g{number}" for number in range(groups)]
        asking = asyncio.create_task(ask_groups(generator, names, 60 // groups))
        while len(quick.requests) < 56:
            await asyncio.sleep(0.01)
        assert len(late.requests) <= 4 and not asking.done()
        goes_on.set()
        await asking
        await generator.close()
    assert len(late.requests) + len(quick.requests) == 60


async def test_a_group_is_answered_by_one_endpoint_and_again_by_the_same():
    async def soon(stub, path, body):
        await asyncio.sleep(0.002)
        return well(stub, path, body)

    async with Stub(soon) as one, Stub(soon) as two:
        groups = [f"pair-{number}" for number in range(12)]
        homes = []
        for _ in range(2):
            one.requests.clear()
            two.requests.clear()
            generator = await server(one, two, concurrency=500)
            for group in groups:  # one after the other: none is in the other's way
                await ask_groups(generator, [group], 16)
            await generator.close()
            homes.append((groups_at(one), groups_at(two)))
        here, there = homes[0]
        assert not here.keys() & there.keys() and here and there
        assert {**here, **there} == dict.fromkeys(groups, 16)
        assert homes[0] == homes[1], "a hash of the group decides, not chance"


async def test_groups_at_the_same_time_stay_together_and_use_both_endpoints():
    async def soon(stub, path, body):
        await asyncio.sleep(0.02)
        return well(stub, path, body)

    async with Stub(soon) as one, Stub(soon) as two:
        generator = await server(one, two, concurrency=500)
        await ask_groups(generator, [f"pair-{number}" for number in range(20)], 16)
        await generator.close()
    here, there = groups_at(one), groups_at(two)
    assert not here.keys() & there.keys()
    assert 6 <= len(here) <= 14, "the hash alone may be far from even"


async def test_a_group_moves_on_when_its_endpoint_dies():
    async with Stub(well) as one, Stub(well) as two:
        generator = await server(one, two, backoff=5.0)
        await ask_groups(generator, ["pair"], 4)
        home, other = (one, two) if one.requests else (two, one)
        assert not other.requests
        home.answer = lambda stub, path, body: None
        await ask_groups(generator, ["pair"], 4)
        await generator.close()
    assert len(other.requests) == 4


async def test_a_call_that_is_cancelled_while_it_waits_gives_its_place_back():
    pool = Pool([Endpoint("a")], 1, 0, 0.01, probe=pytest.fail, timeout=1.0)
    goes_on = asyncio.Event()

    async def attempt(endpoint):
        await goes_on.wait()
        return endpoint.base

    pool._slots = asyncio.Semaphore(9)  # so that they wait for the endpoint
    calls = [asyncio.create_task(pool.run(attempt)) for _ in range(4)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(pool._waiters) == 3
    calls[1].cancel()
    goes_on.set()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [str(result) for result in results] == ["a", "", "a", "a"]
    assert pool.endpoints[0].in_flight == 0 and not pool._waiters
    calls = [asyncio.create_task(pool.run(attempt)) for _ in range(2)]
    goes_on.clear()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    (waiter,) = pool._waiters
    pool._release(pool.endpoints[0])  # the waiter is given the place, and cancelled at once
    assert waiter.done()
    calls[1].cancel()
    await asyncio.gather(calls[1], return_exceptions=True)
    assert pool.endpoints[0].in_flight == 0


async def test_those_who_wait_for_an_ill_endpoint_are_served_after_its_pause():
    pool = Pool([Endpoint("a")], 8, 3, 0.05, probe=pytest.fail, timeout=1.0)
    failures = iter([Failed("once"), Failed("twice")])

    async def attempt(endpoint):
        await asyncio.sleep(0)
        for failure in failures:
            raise failure
        return "fine"

    calls = [pool.run(attempt) for _ in range(8)]
    assert await asyncio.wait_for(asyncio.gather(*calls), 5) == ["fine"] * 8


@dataclass
class Cell:
    id: str
    pair_id: str


@dataclass
class Row:
    id: str


def test_rows_of_a_pair_are_one_group_and_other_rows_one_each(tmp_path):
    async def chain(row):
        await asyncio.sleep(0)
        return GROUP.get()

    with asyncio.Runner() as loop:
        store, engines = CallStore(tmp_path / "calls.sqlite"), Engines("transformers", {})
        context = Context("s", tmp_path, 0, store, engines, loop, open_console(quiet=True))
        cells = [Cell(f"p{pair}|{name}", f"p{pair}") for pair in range(3) for name in "xy"]
        assert context.map(cells, chain)[0] == ["p0", "p0", "p1", "p1", "p2", "p2"]
        assert context.map([Row("a"), Row("b")], chain)[0] == ["a", "b"]
        store.close()


@pytest.mark.parametrize(
    ("variables", "address", "proxy"),
    [
        ({}, "http://host:8000/v1", None),
        ({"HTTP_PROXY": "http://p:1"}, "http://host:8000/v1", "http://p:1"),
        ({"HTTP_PROXY": "http://p:1"}, "https://host/v1", None),
        ({"HTTPS_PROXY": "p:1"}, "https://host/v1", "http://p:1"),
        ({"ALL_PROXY": "http://p:1"}, "https://host/v1", "http://p:1"),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "host"}, "https://host/v1", None),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "x,example.org"}, "http://a.example.org/v1", None),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "*"}, "http://a.example.org/v1", None),
    ],
)
def test_the_proxy_is_the_environments(variables, address, proxy, monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert proxy_of(address) == proxy


async def test_calls_go_through_the_proxy_with_its_own_password(monkeypatch):
    monkeypatch.setenv("KEY_FOR_TEST", "sk-of-the-server")
    async with Stub(well) as proxy:
        address = proxy.url.removesuffix("/v1").replace("http://", "http://user:word@")
        monkeypatch.setenv("HTTP_PROXY", address)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        generator = await server("http://nowhere.invalid/v1", api_key_env="KEY_FOR_TEST")
        assert (await generator.complete(QUESTION, Sampling(), 0)).text == "echo why?"
        await generator.close()
    path, _ = proxy.requests[0]
    assert path == "http://nowhere.invalid/v1/chat/completions"
    assert "proxy-authorization: basic dxnlcjp3b3jk" in proxy.headers[0]
    assert "\r\nauthorization: bearer sk-of-the-server" in proxy.headers[0]


async def test_a_redirect_gets_no_second_request_and_no_cookie_is_kept():
    def answer(stub, path, body):
        status, payload, _ = well(stub, path, body)
        return status, payload, {"Set-Cookie": "a=b; Path=/"}

    async with Stub(answer) as stub:
        generator = await server(stub)
        await ask_all(generator, 3)
        await generator.close()
    assert len(stub.requests) == 3 and not any("cookie:" in head for head in stub.headers)
