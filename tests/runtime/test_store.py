"""The call store: memory, locks, versions, full disks."""

import copy
import io
import json
import math
import multiprocessing
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from stages.guards.console import open_console
from stages.guards.errors import UserError
from stages.guards.locks import hold_lock
from stages.runtime.calls import Engines, RememberedGenerator
from stages.runtime.generation import CallFailed, Completion, Sampling
from stages.runtime.models import Model
from stages.runtime.store import CallStore, call_key, derive_seed
from stages.runtime.stores.database import STORE_VERSION
from stages.runtime.tally import Tally
from tests.fuzz.artifacts import NO_FILES, damage_store
from tests.running import run_steps, text_pipeline
from tests.scripted import ScriptedGenerator


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
    assert count_calls(again.place) == 1


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


@pytest.mark.parametrize("damage", ["pages", "table"])
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
            db.execute("ALTER TABLE calls RENAME COLUMN key TO id")
    with pytest.raises(UserError, match=r"(?s)cannot be used.*store=PATH"):
        store = CallStore(path)
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
        assert waiting.is_alive() and events == [f"process {os.getpid()}"]
    waiting.join(120)
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
        for mark in "ab"
    ]
    for run in runs:
        run.start()
    start.set()
    for run in runs:
        run.join(300)
        assert run.exitcode == 0
    store = CallStore(tmp_path / "calls.sqlite")
    assert count_calls(store.place) == 150 + 2 * 150
    assert len({store.get(str(i)) for i in range(1, 300, 2)} - set("ab")) == 0
    store.close()


def test_a_full_disk_keeps_the_answers(tmp_path):
    store = CallStore(tmp_path / "calls.sqlite")
    store.put("first", "kept")
    store._db.connection.execute(
        "PRAGMA max_page_count=8"
    )  # SQLite's own way to say that the file cannot grow
    with pytest.raises(UserError, match="cannot grow"):
        for i in range(1000):
            store.put(f"k{i}", "x" * 2000)
    assert store.get("first") == "kept"


def answering(path, **options):
    """A remembered generator over a scripted one, and the script."""
    script = ScriptedGenerator(**options)

    async def opener(name, model, options):
        return script

    store = CallStore(path)
    engines = Engines("scripted", {}, opener=opener)
    return RememberedGenerator(store, engines, Model("m", "0" * 16), Tally()), script


MESSAGES = [{"role": "user", "content": "hello"}]
NO_ANSWERS = [
    "",
    "null",
    "{torn",
    "['a']",
    "[" * 100_000,
    "[1, 2",
    "true",
    '"text"',
    "{}",
    b"\xff\xfe",
    b"x" * 10,
    7,
    '{"text": null, "finish_reason": "stop", "prompt_tokens": 1, "completion_tokens": 1}',
    '{"text": "a", "finish_reason": "stop", "prompt_tokens": -1, "completion_tokens": 1}',
    '{"text": "a", "finish_reason": "stop", "prompt_tokens": 1e400, "completion_tokens": 1}',
    '{"logprobs": [NaN, -1.0]}',
    '{"logprobs": [-Infinity, -1.0]}',
    '{"logprobs": [-1.0]}',
    '{"logprobs": ["-1.0", "-2.0"]}',
    "[NaN, -1.0]",
]


@pytest.mark.parametrize("value", NO_ANSWERS, ids=lambda value: repr(value)[:40])
async def test_what_is_no_answer_is_asked_again_and_replaced(tmp_path, value):
    path = tmp_path / "calls.sqlite"

    async def ask():
        generator, script = answering(path)
        completion = await generator.complete(MESSAGES, Sampling(), 1)
        choice = await generator.choose(MESSAGES, ("A", "B"))
        generator.store.close()
        return completion, choice, script.calls, generator.store.damaged

    *answers, calls, damaged = await ask()
    assert (calls, damaged) == (2, 0)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE calls SET value = ?", (value,))
    assert await ask() == (*answers, 2, 2), "asked again, counted, and as before"
    assert await ask() == (*answers, 0, 0), "the new answers took the place of the damaged ones"


def test_a_store_of_the_version_before_is_read_and_an_older_credo_refuses_it_from_then(tmp_path):
    path = tmp_path / "calls.sqlite"
    CallStore(path).close()
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO calls VALUES ('k', '[1, 2]')")
        db.execute("PRAGMA user_version=1")
    store = CallStore(path)
    assert store.get("k") == [1, 2] and store.damaged == 0
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (STORE_VERSION,)


def test_another_number_in_a_stored_answer_is_seen(tmp_path):
    """A flipped bit may leave a valid answer; values that carry no checksum are of old versions."""
    store = CallStore(tmp_path / "calls.sqlite")
    store.put("k", [-0.5, -1.5])
    store._db.connection.execute("UPDATE calls SET value = replace(value, '0.5', '0.7')")
    assert store.get("k") is None and store.damaged == 1
    store.put("k", [-0.5, -1.5])
    assert store.get("k") == [-0.5, -1.5]
    store._db.connection.execute("UPDATE calls SET value = '[-0.1, -2.4]'")
    assert store.get("k") == [-0.1, -2.4] and store.damaged == 1


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
async def test_a_failure_is_never_remembered(tmp_path, number):
    path = tmp_path / "calls.sqlite"
    generator, _ = answering(path, scores=lambda messages, options: [number, -1.0])
    with pytest.raises(CallFailed, match="cannot be used"):
        await generator.choose(MESSAGES, ("A", "B"))
    generator.store.put("score", {"score": number})
    generator.store.put("vector", [1.0, [number]])
    assert count_calls(path) == 0
    generator.store.close()
    healthy, script = answering(path)
    await healthy.choose(MESSAGES, ("A", "B"))
    assert script.calls == 1 and count_calls(path) == 1


COUNTS = {"prompt_tokens": 1, "completion_tokens": 1}


@pytest.mark.parametrize(
    "change", [{"text": None}, {"text": ["a"]}, {"completion_tokens": math.inf}], ids=str
)
async def test_a_completion_that_is_none_fails_its_row(tmp_path, change):
    generator, script = answering(tmp_path / "calls.sqlite")

    async def wrong(messages, sampling, seed):
        return Completion(**({"text": "a", "finish_reason": "stop"} | COUNTS | change))

    script.complete = wrong
    with pytest.raises(CallFailed, match="cannot be used"):
        await generator.complete(MESSAGES, Sampling(), 1)
    assert count_calls(generator.store.place) == 0 and generator.tally.failed == 1


def test_a_damaged_answer_of_the_store_behind_is_replaced_there(tmp_path):
    """A launched training's rank reads the run's store and adds to its own."""
    CallStore(tmp_path / "run.sqlite").close()
    with sqlite3.connect(tmp_path / "run.sqlite") as db:
        db.execute("INSERT INTO calls VALUES ('k', '{torn')")
    rank = CallStore(tmp_path / "rank.sqlite", behind=tmp_path / "run.sqlite")
    assert rank.get("k") is None and rank.damaged == 1
    rank.put("k", "whole")
    rank.close()
    run = CallStore(tmp_path / "run.sqlite")
    assert run.get("k") == "whole"
    run.absorb(tmp_path / "rank.sqlite")
    assert run.get("k") == "whole" and run.damaged == 0


def test_a_run_says_once_how_many_answers_were_damaged(tmp_path, capsys):
    steps = text_pipeline(tmp_path, prompts=3)
    steps = {name: steps[name] for name in ("base", "requests", "answers")}
    _, before = run_steps(copy.deepcopy(steps), tmp_path)
    with sqlite3.connect(tmp_path / "calls.sqlite") as db:
        db.execute("UPDATE calls SET value = 'null' WHERE key IN (SELECT key FROM calls LIMIT 4)")
    shutil.rmtree(tmp_path / "artifacts")
    console = open_console(file=io.StringIO(), width=500)
    _, after = run_steps(steps, tmp_path, console=console)
    assert console.file.getvalue().count("4 stored answers were damaged and are asked again") == 1
    assert after["answers"].rows() == before["answers"].rows()
    assert after["answers"].manifest.calls.sent == 4
    assert after["answers"].manifest.calls.stored == 2


def make(path, kind):
    if kind in NO_FILES:
        NO_FILES[kind](path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "system":
        path.symlink_to("/proc/self/environ")
    elif kind == "text":
        path.write_text("root:x:0:0:root:/root:/bin/bash\n" * 40)
    elif kind == "other":
        with sqlite3.connect(path) as db:
            db.execute("CREATE TABLE notes (id)")
    elif kind == "newer":
        with sqlite3.connect(path) as db:
            db.execute("PRAGMA user_version=99")


KINDS = [*NO_FILES, "device", "system", "text", "other", "newer"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_refused_store_leaves_nothing_beside_it(tmp_path, kind):
    path = tmp_path / "passwd"
    make(path, kind)
    before = path.read_bytes() if kind in ("text", "other", "newer") else b""
    with pytest.raises(UserError, match="store"):
        CallStore(path)
    assert [each.name for each in tmp_path.iterdir()] == ["passwd"]
    assert not before or path.read_bytes() == before


@pytest.mark.parametrize("name", ["", " ", "a\0b", "\ud800"])
def test_a_name_that_no_store_can_have(name):
    with pytest.raises(UserError, match="store"):
        CallStore(name)


LOCKS = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
"""


def test_waiting_for_a_locked_store_says_for_whom(tmp_path, monkeypatch, capsys):
    path = tmp_path / "calls.sqlite"
    CallStore(path).close()
    command = [sys.executable, "-c", LOCKS, str(path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        monkeypatch.setattr("stages.runtime.stores.sqlite.BUSY_STEP", 0.1)
        monkeypatch.setattr("stages.runtime.stores.sqlite.BUSY_SECONDS", 0.5)
        store = CallStore(path)
        with pytest.raises(UserError, match=rf"locked by process {other.pid}"):
            store.put("k", 1)
        assert capsys.readouterr().err.count(f"waiting for process {other.pid}, which locks") == 1
        monkeypatch.setattr("stages.runtime.stores.sqlite.BUSY_SECONDS", 60)
        freeing = threading.Timer(0.3, lambda: other.communicate("go"))
        freeing.start()
        store.put("k", 1)
        freeing.join()
    assert store.get("k") == 1
    store.close()


@pytest.mark.parametrize("seed", range(30))
def test_a_store_that_is_damaged_at_random_gives_right_answers_or_one_message(tmp_path, seed):
    path = tmp_path / "calls.sqlite"
    store = CallStore(path)
    for number in range(30):
        store.put(f"k{number}", {"n": number})
    store.close()
    what = damage_store(path, random.Random(seed))
    try:
        store = CallStore(path)
        for number in range(30):
            answer = store.get(f"k{number}", partial(read_number, number))
            assert answer in (None, number), what
            store.put(f"k{number}", {"n": number})
        assert [store.get(f"k{number}") for number in range(30)] == [{"n": n} for n in range(30)]
    except UserError as error:
        assert "store" in str(error), what


def read_number(number, text):
    """The answer of the test above, checked as readers check theirs."""
    value = json.loads(text)
    if not isinstance(value, dict) or value.get("n") != number:
        raise ValueError(text)
    return number
