"""What `store=` may name, and the batches of a store behind a network."""

import asyncio
import sys
import threading

import pytest

from stages.guards.errors import UserError
from stages.runtime.store import CallStore
from stages.runtime.stores.batches import MOST_ITEMS, Batches


@pytest.mark.parametrize("place", ["mysql://ada@h/calls", "postgresql+asyncpg://h/calls"])
def test_another_kind_of_server_is_refused(place):
    with pytest.raises(UserError, match="no store is called") as caught:
        CallStore(place)
    assert "postgresql://user@host/database" in caught.value.fix


def test_without_the_driver_a_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(UserError, match="psycopg") as caught:
        CallStore("postgresql://ada@127.0.0.1:1/calls")
    assert "requirements/several-machines.txt" in caught.value.fix


@pytest.fixture
def double():
    """Doubles numbers once `go` is set; refuses a batch with a negative one."""
    go = threading.Event()
    sizes = []

    def work(numbers):
        go.wait(10)
        sizes.append(len(numbers))
        if min(numbers) < 0:
            raise ValueError("negative")
        return [2 * number for number in numbers]

    batches = Batches(work)
    batches.go, batches.sizes = go, sizes
    yield batches
    go.set()
    batches.close()


async def test_what_arrives_during_one_journey_shares_the_next(double):
    count = MOST_ITEMS + 10
    tasks = [asyncio.create_task(double.add(number)) for number in range(count)]
    await asyncio.sleep(0.05)
    double.go.set()
    assert await asyncio.gather(*tasks) == [2 * number for number in range(count)]
    assert sum(double.sizes) == count and len(double.sizes) <= 4
    assert max(double.sizes) <= MOST_ITEMS


async def test_a_failure_is_that_of_its_batch(double):
    double.go.set()
    with pytest.raises(ValueError, match="negative"):
        await double.add(-1)
    assert await double.add(4) == 8


async def test_what_a_cancelled_call_has_added_is_done(double):
    task = asyncio.create_task(double.add(1))
    await asyncio.sleep(0)
    other = asyncio.create_task(double.add(2))
    await asyncio.sleep(0)
    task.cancel()
    double.go.set()
    assert await other == 4
    await asyncio.to_thread(double.close)
    assert sum(double.sizes) == 2


def test_it_goes_on_in_the_event_loop_of_the_next_step(double):
    double.go.set()
    assert asyncio.run(double.add(1)) == 2
    assert asyncio.run(double.add(2)) == 4
    double.close()
    assert asyncio.run(double.add(3)) == 6
