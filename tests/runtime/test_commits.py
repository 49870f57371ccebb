"""Answers that arrive together are stored by one commit, before their calls return."""

import asyncio
import multiprocessing
import os
import signal
import sqlite3

import pytest

from stages.guards.errors import UserError
from stages.runtime.store import CallStore


def stored_keys(path):
    with sqlite3.connect(path) as db:
        return {key for (key,) in db.execute("SELECT key FROM calls")}


@pytest.fixture
def store(tmp_path):
    store = CallStore(tmp_path / "calls.sqlite")
    yield store
    store.close()


async def test_one_commit_for_all_that_arrive_together(store):
    statements = []
    store._db.connection.set_trace_callback(statements.append)

    async def put(number):
        await store.put_soon(f"k{number}", {"number": number})
        # another connection sees what is committed only
        assert f"k{number}" in stored_keys(store.place)

    await asyncio.gather(*[put(number) for number in range(50)])
    assert statements.count("COMMIT") == 1
    assert store.get("k7") == {"number": 7}


async def test_one_answer_alone_and_one_that_is_no_answer(store):
    await store.put_soon("k", 1)
    await store.put_soon("k", 2)
    await store.put_soon("nan", float("nan"))
    assert store.get("k") == 1 and stored_keys(store.place) == {"k"}


async def test_damaged_values_are_replaced_among_others(store):
    store.put("k", "sound")
    with sqlite3.connect(store.place) as db:
        db.execute("UPDATE calls SET value = 'damaged'")
    assert store.get("k") is None
    await asyncio.gather(store.put_soon("k", "again"), store.put_soon("other", 1))
    assert store.get("k") == "again" and store.get("other") == 1


async def test_a_commit_that_fails_fails_all_its_calls_and_no_later_one(store, monkeypatch):
    def fail(*_):
        raise UserError("the disk is full", where="store", fix="free some space")

    with monkeypatch.context() as patch:
        patch.setattr(store, "_write", fail)
        puts = [store.put_soon(f"k{number}", number) for number in range(3)]
        results = await asyncio.gather(*puts, return_exceptions=True)
    assert [str(result.what) for result in results] == ["the disk is full"] * 3
    await store.put_soon("later", 1)
    assert stored_keys(store.place) == {"later"}


async def test_a_call_that_is_cancelled_after_its_answer_came_is_stored(store):
    task = asyncio.create_task(store.put_soon("k", 1))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0)
    assert stored_keys(store.place) == {"k"}


def test_an_interrupted_run_stores_what_arrived_and_the_next_one_goes_on(tmp_path):
    store = CallStore(tmp_path / "calls.sqlite")

    async def interrupt():
        asyncio.get_running_loop().create_task(store.put_soon("k", 1))
        await asyncio.sleep(0)

    asyncio.run(interrupt())
    asyncio.run(asyncio.wait_for(store.put_soon("l", 2), 5))
    store._arrived = [((None, "m", "3"), asyncio.new_event_loop().create_future())]
    store.close()
    assert stored_keys(store.place) == {"k", "l", "m"}


def put_until_killed(path, sending):
    store = CallStore(path)

    async def put(first):
        for number in range(first, 10**6, 20):
            await store.put_soon(f"{number}", "an answer")
            os.write(sending, f"{number}\n".encode())  # acknowledged

    async def put_all():
        await asyncio.gather(*[put(number) for number in range(20)])

    asyncio.run(put_all())


def test_a_kill_loses_no_answer_whose_call_has_returned(tmp_path):
    CallStore(tmp_path / "calls.sqlite").close()
    receiving, sending = os.pipe()
    context = multiprocessing.get_context("fork")
    process = context.Process(target=put_until_killed, args=(tmp_path / "calls.sqlite", sending))
    process.start()
    os.close(sending)
    received = b""
    while received.count(b"\n") < 500:
        received += os.read(receiving, 4096)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    while rest := os.read(receiving, 65536):
        received += rest
    os.close(receiving)
    acknowledged = set(received.decode().split())
    assert acknowledged <= stored_keys(tmp_path / "calls.sqlite")
