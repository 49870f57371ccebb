"""The call store: memory, locks, versions, full disks."""

import multiprocessing
import os
import signal
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from stages.guards.errors import UserError
from stages.runtime.calls import Engines
from stages.runtime.store import STORE_VERSION, CallStore, call_key, derive_seed, hold_lock


def count_calls(path):
    with sqlite3.connect(path) as db:
        return db.execute("SELECT COUNT(*) FROM calls").fetchone()[0]


def test_remembers_across_openings(tmp_path):
    store = CallStore(tmp_path / "calls.sqlite")
    store.put("k", {"text": "ünïcode {{ x }}", "n": [1.5, -2.25]})
    store.put("k", "a second answer does not replace the first")
    store.close()
    again = CallStore(tmp_path / "calls.sqlite")
    assert again.get("k") == {"text": "ünïcode {{ x }}", "n": [1.5, -2.25]}
    assert again.get("unknown") is None
    assert count_calls(again.path) == 1


def test_keys_depend_on_meaning_only():
    assert call_key(a=1, b="x") == call_key(b="x", a=1)
    assert call_key(a=1, b="x") != call_key(a=1, b="y")
    assert derive_seed(0, "row", "respond", 0) == derive_seed(0, "row", "respond", 0)
    seeds = {derive_seed(0, f"row{i}", "respond", 0) for i in range(1000)}
    assert len(seeds) == 1000 and all(0 <= s < 2**31 for s in seeds)


def test_generator_options_that_change_an_answer_are_part_of_a_calls_key():
    plain, thinking, penalised, faster = (
        Engines("server", options).answer_options
        for options in (
            {},
            {"template_arguments": {"enable_thinking": True}},
            {"extra": {"min_p": 0.1}},
            {"timeout": 5},
        )
    )
    assert plain == faster == {}
    assert len({call_key(generator=meaning) for meaning in (plain, thinking, penalised)}) == 3


def test_newer_store_is_refused(tmp_path):
    path = tmp_path / "calls.sqlite"
    CallStore(path).close()
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version={STORE_VERSION + 1}")
    db.close()
    with pytest.raises(UserError, match="newer Credo"):
        CallStore(path)


def test_not_a_store(tmp_path):
    path = tmp_path / "calls.sqlite"
    path.write_bytes(b"this is no database, and long enough to be read as one" * 20)
    with pytest.raises(UserError, match="cannot be used"):
        CallStore(path)


@pytest.mark.parametrize("table", ["notes (id, text)", "calls (id, text)"])
def test_another_programs_database_is_left_alone(tmp_path, table):
    path = tmp_path / "calls.sqlite"
    with sqlite3.connect(path) as db:
        db.execute(f"CREATE TABLE {table}")
    before = path.read_bytes()
    with pytest.raises(UserError, match="another program's database"):
        CallStore(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", ["pages", "table", "value"])
def test_a_damaged_store_is_reported(tmp_path, damage):
    path = tmp_path / "calls.sqlite"
    store = CallStore(path)
    for i in range(200):
        store.put(f"k{i}", "x" * 500)
    store.close()
    if damage == "pages":
        content = path.read_bytes()
        path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    else:
        with sqlite3.connect(path) as db:
            db.execute(
                "UPDATE calls SET value = '{torn'"
                if damage == "value"
                else "ALTER TABLE calls RENAME COLUMN key TO id"
            )
    store = CallStore(path)
    with pytest.raises(UserError, match=r"(?s)cannot be used.*store=PATH"):
        for i in range(200):
            store.get(f"k{i}")
    store.close()


@pytest.mark.parametrize("place", ["a-file/calls.sqlite", "a-file/inner/calls.sqlite", "."])
def test_a_place_where_no_store_can_be(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a-file").write_text("")
    with pytest.raises(UserError, match=r"store.*(cannot be used|names no file)"):
        CallStore(Path(place))


def test_a_lock_is_waited_for(tmp_path):
    events: list[str] = []

    def other():
        with hold_lock(tmp_path / "locks" / "step", events.append):
            events.append("ours")

    with hold_lock(tmp_path / "locks" / "step"):
        waiting = threading.Thread(target=other)
        waiting.start()
        while not events:
            time.sleep(0.01)
        assert waiting.is_alive() and events == [str(os.getpid())]
    waiting.join(10)
    assert events[1:] == ["ours"]
    (tmp_path / "a-file").write_text("")
    with pytest.raises(UserError, match="runs_dir"), hold_lock(tmp_path / "a-file" / "step"):
        pass


def test_a_child_does_not_keep_the_lock(tmp_path):
    """vLLM forks its engine, which then holds all that was open."""
    owners: list[str] = []
    with hold_lock(tmp_path / "step"):
        child = os.fork()
        if child == 0:
            time.sleep(30)
            os._exit(0)
    try:
        with hold_lock(tmp_path / "step", owners.append):
            assert not owners
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _fill(path, start, mark):
    start.wait(30)
    store = CallStore(path)
    for i in range(300):
        store.put(f"{i}" if i % 2 else f"{mark}-{i}", mark)
    store.close()


def test_several_runs_on_one_store(tmp_path):
    """They open a file that is not there yet at the same moment, write what differs and what does
    not, and lose nothing.
    """
    context = multiprocessing.get_context("spawn")
    start = context.Event()
    runs = [
        context.Process(target=_fill, args=(tmp_path / "calls.sqlite", start, mark))
        for mark in "abc"
    ]
    for run in runs:
        run.start()
    start.set()
    for run in runs:
        run.join(60)
        assert run.exitcode == 0
    store = CallStore(tmp_path / "calls.sqlite")
    assert count_calls(store.path) == 150 + 3 * 150
    assert len({store.get(str(i)) for i in range(1, 300, 2)} - set("abc")) == 0
    store.close()


def test_a_full_disk_keeps_the_answers(tmp_path):
    store = CallStore(tmp_path / "calls.sqlite")
    store.put("first", "kept")
    store._db.execute(
        "PRAGMA max_page_count=8"
    )  # SQLite's own way to say that the file cannot grow
    with pytest.raises(UserError, match="cannot grow"):
        for i in range(1000):
            store.put(f"k{i}", "x" * 2000)
    assert store.get("first") == "kept"
