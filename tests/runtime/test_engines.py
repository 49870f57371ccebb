"""Models answered by another generator than the run's: engines, keys of calls, room, messages."""

import asyncio

import pytest

from stages.guards.errors import UserError
from stages.runtime.calls import Engines, RememberedGenerator
from stages.runtime.generation import CallFailed, Sampling
from stages.runtime.models import Model
from stages.runtime.store import CallStore
from stages.runtime.tally import Tally
from tests.scripted import ScriptedGenerator

POLICY = Model("/models/policy", "0" * 16)
OTHER = Model("/models/other", "1" * 16)
QUESTION = [{"role": "user", "content": "why?"}]
HERE = {"endpoints": ["http://127.0.0.1:9/v1"], "serves": "/models/served"}
API = {"endpoints": ["http://127.0.0.1:9/v1"], "extensions": False}


class Opened:
    """Opens scripted generators, and remembers with what."""

    def __init__(self):
        self.asked = []
        self.engines = []

    async def __call__(self, name, model, options):
        self.asked.append((name, model.path, dict(options)))
        self.engines.append(ScriptedGenerator())
        return self.engines[-1]


def with_judge(keep=1, name="server", options=API, run=HERE):
    opened = Opened()
    engines = Engines("server", run, keep, opener=opened)
    label = engines.add(name, options, "judge.options")
    return engines, Model(POLICY.path, POLICY.content, generator=label), opened


def test_no_generator_of_its_own_is_the_runs():
    engines, judge, _ = with_judge(name=None, options={})
    assert judge == POLICY and engines.answerer(judge) is engines.answerer(POLICY)


def test_one_model_with_two_generators_has_two_engines():
    engines, judge, opened = with_judge()

    async def ask():
        first = await engines.get(POLICY)
        second = await engines.get(judge)
        assert await engines.get(POLICY) is first and await engines.get(judge) is second

    asyncio.run(ask())
    assert opened.asked == [("server", POLICY.path, HERE), ("server", POLICY.path, API)]


def test_a_model_that_servers_hold_takes_no_room():
    engines, judge, opened = with_judge(keep=1)

    async def ask():
        await engines.get(judge)
        await engines.get(POLICY)
        await engines.get(OTHER)
        closed = [engine.closed for engine in opened.engines]
        assert closed == [False, True, False]
        await engines.make_room()
        closed = [engine.closed for engine in opened.engines]
        assert closed == [False, True, True]
        await engines.release()

    asyncio.run(ask())
    assert all(engine.closed for engine in opened.engines)


def test_a_judge_on_this_machine_takes_room():
    engines, judge, opened = with_judge(keep=1, name="transformers", options={})

    async def ask():
        await engines.get(judge)
        await engines.get(POLICY)

    asyncio.run(ask())
    assert [engine.closed for engine in opened.engines] == [True, False]


def test_options_replace_those_of_the_run():
    run = HERE | {"concurrency": 3, "template_arguments": {"enable_thinking": False}}
    engines, judge, opened = with_judge(name=None, options={"concurrency": 7}, run=run)
    asyncio.run(engines.get(judge))
    assert opened.asked == [("server", POLICY.path, run | {"concurrency": 7})]
    assert engines.answerer(judge).answer_options == engines.answer_options


def test_calls_are_stored_by_the_options_of_the_generator_that_answers(tmp_path):
    engines, judge, opened = with_judge(
        options=API | {"template_arguments": {"level": 3}, "thought_marks": [["<a>", "</a>"]]}
    )
    store = CallStore(tmp_path / "calls.sqlite")

    async def ask(model):
        generator = RememberedGenerator(store, engines, model, Tally())
        await generator.complete(QUESTION, Sampling(), 0)
        return generator

    asyncio.run(ask(POLICY))
    asked = asyncio.run(ask(judge))
    assert asked.thought_marks == [("<a>", "</a>")] != engines.thought_marks
    assert [len(engine.completed) for engine in opened.engines] == [1, 1]
    asyncio.run(ask(judge))
    assert [len(engine.completed) for engine in opened.engines] == [1, 1]
    store.close()


def test_another_process_builds_the_same_generators():
    engines, judge, _ = with_judge()
    copy = Engines(**engines.describe())
    assert copy.answerer(judge) == engines.answerer(judge)
    assert copy.answerer(POLICY) == engines.answerer(POLICY)
    assert copy.describe() == engines.describe()


def test_messages_name_the_options_of_the_judge(tmp_path):
    engines, judge, _ = with_judge()
    store = CallStore(tmp_path / "calls.sqlite")
    fix = "set generator.options.extensions=false"

    def refuse(messages):
        raise UserError("no", where="generator.options", fix=fix)

    async def ask(model):
        engine = await engines.get(model)
        engine.failure = refuse
        await RememberedGenerator(store, engines, model, Tally()).choose(QUESTION, "AB")

    with pytest.raises(UserError) as error:
        asyncio.run(ask(judge))
    assert error.value.where == "judge.options"
    assert error.value.fix == "set judge.options.extensions=false"
    with pytest.raises(UserError) as error:
        asyncio.run(ask(POLICY))
    assert error.value.fix == fix
    with pytest.raises(UserError, match=r"judge\.options of server: unknown option 'endpoint'"):
        engines.add("server", {"endpoint": 3}, "judge.options")
    store.close()


def test_a_failed_call_of_a_judge_fails_its_row(tmp_path):
    engines, judge, _ = with_judge()
    store = CallStore(tmp_path / "calls.sqlite")

    def refuse(messages):
        raise CallFailed("refused", "by a filter")

    async def ask():
        (await engines.get(judge)).failure = refuse
        await RememberedGenerator(store, engines, judge, Tally()).choose(QUESTION, "AB")

    with pytest.raises(CallFailed):
        asyncio.run(ask())
    store.close()
