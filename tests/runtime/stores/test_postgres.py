"""A call store on the real PostgreSQL server."""

import asyncio
import contextlib
import json
import multiprocessing
import os
import signal
import sqlite3
import threading
import time

import pytest

from stages.guards.errors import UserError
from stages.guards.secrets import find_secrets, mask
from stages.runtime.store import CallStore
from stages.runtime.stores import postgres
from tests.running import Seeded, run_steps, text_pipeline
from tests.runtime.stores.postgres_server import find_program, postgres_server

psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not find_program("initdb"), reason="PostgreSQL is not installed"),
]


@pytest.fixture(scope="module")
def server():
    with postgres_server() as server:
        yield server


@pytest.fixture
def url(server, monkeypatch):
    """An empty database's."""
    monkeypatch.setenv("PGPASSWORD", server.password)
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS credo_calls")
    return server.url


def stored(url):
    """What another connection sees: committed rows only."""
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT key, value FROM credo_calls").fetchall()
    return {key: json.loads(value.decode().partition("\n")[0]) for key, value in rows}


@contextlib.contextmanager
def open_store(url, **options):
    with contextlib.closing(CallStore(url, **options)) as store:
        yield store


def test_remembers_across_openings(url):
    value = {"text": "ünïcode \0 {{ x }} 😀", "n": [1.5, -2.25]}
    with open_store(url) as store:
        store.put("k", value)
        store.put("k", "a second answer does not replace the first")
        store.put("nan", float("nan"))
        store.put_many({"a": 1, "b": 2})
    with open_store(url) as store:
        assert store.get("k") == value
        assert store.get("unknown") is None
        assert store.get_many(["b", "unknown", "a"]) == {"a": 1, "b": 2}
        assert store.damaged == 0
    assert stored(url).keys() == {"k", "a", "b"}


async def test_calls_share_statements_and_are_durable_before_they_return(url, monkeypatch):
    with open_store(url) as store:
        statements = []
        for name in ("insert", "select"):
            action = getattr(store._db, name)
            monkeypatch.setattr(
                store._db, name, lambda rows, a=action: statements.append(len(rows)) or a(rows)
            )
        await asyncio.gather(*[store.put_soon(f"k{n}", n) for n in range(500)])
        assert len(stored(url)) == 500
        assert sum(statements) == 500 and len(statements) < 20
        statements.clear()
        answers = await asyncio.gather(*[store.get_soon(f"k{n}") for n in range(600)])
        assert answers == [*range(500), *[None] * 100]
        assert sum(statements) == 600 and len(statements) < 20


def test_a_damaged_answer_is_asked_again_and_replaced(url):
    with open_store(url) as store:
        store.put_many({"k": {"n": 0.5}, "sound": 1})
        with psycopg.connect(url) as connection:
            change = r"UPDATE credo_calls SET value = %s WHERE key = 'k'"
            connection.execute(change, [b'{"n": 0.7}\n00000000'])
        assert store.get("k") is None and store.damaged == 1
        store.put_many({"k": {"n": 0.9}, "sound": 2})
        assert store.get("k") == {"n": 0.9} and store.get("sound") == 1


def _put_many(url, mark, backwards, start):
    start.wait(30)
    keys = [f"k{n}" for n in range(2_000)]
    keys = keys[::-1] if backwards else keys

    async def put(store):
        parts = [keys[first : first + 50] for first in range(0, len(keys), 50)]
        for part in parts:
            await asyncio.gather(*[store.put_soon(key, mark) for key in part])

    with open_store(url) as store:
        asyncio.run(put(store))
        answers = store.get_many(keys)
    assert len(answers) == 2_000 and set(answers.values()) <= {"a", "b"}


def test_of_two_processes_the_first_answer_stays(url):
    """They create the table at the same moment, and write the same keys from both ends."""
    context = multiprocessing.get_context("spawn")
    start = context.Event()
    runs = [
        context.Process(target=_put_many, args=(url, mark, mark == "b", start)) for mark in "ab"
    ]
    for run in runs:
        run.start()
    start.set()
    for run in runs:
        run.join(300)
        assert run.exitcode == 0
    before = stored(url)
    assert len(before) == 2_000
    with open_store(url) as store:
        store.put_many(dict.fromkeys(before, "late"))
    assert stored(url) == before


def _put_until_killed(url, sending):
    async def put(store, first):
        for number in range(first, 10**6, 20):
            await store.put_soon(f"{number}", "an answer")
            os.write(sending, f"{number}\n".encode())  # acknowledged

    async def put_all():
        with open_store(url) as store:
            await asyncio.gather(*[put(store, number) for number in range(20)])

    asyncio.run(put_all())


def test_a_kill_loses_no_answer_whose_call_has_returned(url):
    CallStore(url).close()
    receiving, sending = os.pipe()
    process = multiprocessing.get_context("fork").Process(
        target=_put_until_killed, args=(url, sending)
    )
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
    assert set(received.decode().split()) <= stored(url).keys()


def test_a_server_that_crashes_and_starts_again_is_waited_for(url, server, monkeypatch, capfd):
    """The run goes on by itself, and what was acknowledged is there."""
    monkeypatch.setattr(postgres, "PAUSE", 0.1)
    acknowledged = []

    async def put(store):
        for number in range(100):
            if number == 50:
                await asyncio.to_thread(server.control, "stop", "-m", "immediate")
                later = threading.Timer(0.5, server.control, ["start"])
                later.start()
            await store.put_soon(f"k{number}", number)
            acknowledged.append(number)
        later.join()
        assert await store.get_soon("k3") == 3

    with open_store(url) as store:
        asyncio.run(put(store))
    assert len(acknowledged) == 100 and len(stored(url)) == 100
    shown = " ".join(capfd.readouterr().err.split())
    assert shown.count(f"{server.url}: waiting for the server") == 1
    assert server.password not in shown


async def test_a_server_that_stays_away_ends_the_run_with_its_name(url, server, monkeypatch):
    monkeypatch.setattr(postgres, "PAUSE", 0.05)
    monkeypatch.setattr(postgres, "PATIENCE", 0.5)
    with open_store(url) as store:
        server.control("stop", "-m", "fast")
        try:
            with pytest.raises(UserError, match="the call store cannot be used") as caught:
                await store.put_soon("k", 1)
        finally:
            server.control("start")
        assert caught.value.where == url and "is kept" in caught.value.fix
        await store.put_soon("k", 2)
    assert stored(url) == {"k": 2}


def test_a_wrong_password_is_shown_nowhere(url, server, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "wrong-horse-7")
    with pytest.raises(UserError, match="password authentication failed") as caught:
        CallStore(url)
    assert "wrong-horse-7" not in str(caught.value) and "PGPASSWORD" in caught.value.fix
    with_password = url.replace("ada@", f"ada:{server.password}@")
    assert list(find_secrets({"store": with_password})) == ["store"]  # a run refuses it
    assert not list(find_secrets({"store": url}))
    assert mask(f"see {url}") == f"see {url}"
    with open_store(with_password) as store:  # as `${oc.env:DB_PASSWORD}` gives it
        assert store.name == url
    assert server.password not in mask(f"refused: {server.password}")


def test_nobody_at_the_address_and_no_such_database(url, server):
    started = time.monotonic()
    with pytest.raises(UserError, match="cannot be used") as caught:
        CallStore("postgresql://ada@127.0.0.1:1/calls")
    assert caught.value.where == "postgresql://ada@127.0.0.1:1/calls"
    assert time.monotonic() - started < 10  # nothing is waited for before the run
    with pytest.raises(UserError, match='database "nowhere" does not exist'):
        CallStore(server.url.replace("/postgres", "/nowhere"))


def test_a_newer_store_and_another_programs_table_are_left_alone(url):
    CallStore(url).close()
    with psycopg.connect(url) as connection:
        connection.execute("COMMENT ON TABLE credo_calls IS 'format 99'")
    with pytest.raises(UserError, match="newer Credo"):
        CallStore(url)
    with psycopg.connect(url) as connection:
        connection.execute("DROP TABLE credo_calls")
        connection.execute("CREATE TABLE credo_calls (id int)")
    with pytest.raises(UserError, match="another program"):
        CallStore(url)


def test_a_user_without_rights_is_named_the_grant(url, server, monkeypatch):
    CallStore(url).close()
    with psycopg.connect(url) as connection:
        connection.execute("DROP ROLE IF EXISTS reader")
        connection.execute(f"CREATE ROLE reader LOGIN PASSWORD '{server.password}'")
        connection.execute("GRANT SELECT ON credo_calls TO reader")
    reader = url.replace("ada@", "reader@")
    with open_store(reader) as store:
        assert store.get("k") is None
        with pytest.raises(UserError, match="permission denied") as caught:
            store.put("k", 1)
    assert "grant the user SELECT, INSERT and UPDATE on credo_calls" in caught.value.fix


def test_a_training_rank_reads_the_server_and_its_calls_are_taken_over(url, tmp_path):
    with open_store(url) as run:
        run.put("before", 1)
        with open_store(tmp_path / "calls-0.sqlite", behind=run.place) as rank:
            assert rank.get("before") == 1
            asyncio.run(rank.put_soon("new", 2))
            rank.put_many({f"k{n}": n for n in range(6_000)})
        assert "new" not in stored(url)
        run.absorb(tmp_path / "calls-0.sqlite")
        assert run.get("new") == 2 and len(stored(url)) == 6_002
    assert not list(tmp_path.iterdir())


def test_a_run_on_another_machine_sends_nothing(url, tmp_path):
    """Another folder for its artifacts, the same store; and the same answers as with SQLite."""
    first, second, plain = Seeded(), Seeded(), Seeded()
    for name in ("one", "two", "sqlite"):
        (tmp_path / name).mkdir()
    steps = text_pipeline(tmp_path, prompts=12)
    _, one = run_steps(steps, tmp_path / "one", first, place=url)
    planned, two = run_steps(steps, tmp_path / "two", second, place=url)
    _, three = run_steps(steps, tmp_path / "sqlite", plain)
    assert first.calls == plain.calls > 12 and second.calls == 0
    assert all(plan.forecast.new.calls == 0 for plan in planned if plan.forecast)
    for name, artifact in one.items():
        if artifact.manifest.rows is not None:
            assert artifact.rows() == two[name].rows() == three[name].rows()
    with sqlite3.connect(tmp_path / "sqlite" / "calls.sqlite") as db:
        rows = db.execute("SELECT key, value FROM calls").fetchall()
    assert stored(url) == {key: json.loads(value.partition("\n")[0]) for key, value in rows}
