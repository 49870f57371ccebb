"""The server generator against endpoints that misbehave."""

import asyncio
import math

import pytest

from stages.guards.errors import UserError
from stages.runtime.generation import CallFailed, Sampling, TooLong
from stages.runtime.generator_registry import open_generator
from stages.runtime.models import find_model
from tests.generators.stub import MODEL, QUESTION, Stub, ask_all, at_first, server, well
from tests.tiny_model import build_tiny_model


async def test_complete_sends_everything_that_bears_meaning():
    async with Stub(well) as stub:
        generator = await server(
            stub, template_arguments={"enable_thinking": False}, extra={"repetition_penalty": 1.1}
        )
        answer = await generator.complete(QUESTION, Sampling(0.7, 0.9, 17, ("END",)), 2**63 + 5)
        await generator.close()
    assert (answer.text, answer.finish_reason, answer.prompt_tokens, answer.completion_tokens) == (
        "echo why?",
        "stop",
        3,
        2,
    )
    path, body = stub.requests[0]
    assert path == "/v1/chat/completions"
    assert (
        body.items()
        >= {
            "model": "/models/some",
            "temperature": 0.7,
            "top_p": 0.9,
            "max_tokens": 17,
            "seed": 5,
        }.items()
    )
    assert body["stop"] == ["END"] and body["messages"] == QUESTION and body["top_k"] == -1
    assert (
        body["chat_template_kwargs"] == {"enable_thinking": False}
        and body["repetition_penalty"] == 1.1
    )


async def test_choose_by_token_id_and_by_top_tokens():
    async with Stub(well) as stub:
        for extensions in (True, False):
            generator = await server(stub, extensions=extensions)
            assert (await generator.choose(QUESTION, ["A", "B"])).logprobs == pytest.approx(
                [math.log(0.75), math.log(0.25)]
            )
            assert (await generator.choose(QUESTION, ["B", "A"])).logprobs == pytest.approx(
                [math.log(0.25), math.log(0.75)]
            )
            assert ("allowed_token_ids" in stub.requests[-1][1]) == extensions
            await generator.close()


async def test_bad_options_are_refused():
    async with Stub(well) as stub:
        generator, plain = await server(stub), await server(stub, extensions=False)
        with pytest.raises(UserError, match="not one token"):
            await generator.choose(QUESTION, ["AB", "B"])
        with pytest.raises(UserError, match="hold an option twice"):
            await generator.choose(QUESTION, ["A", "A"])
        with pytest.raises(UserError, match="hold an option twice"):
            await plain.choose(QUESTION, ["A", " A"])


async def test_an_option_outside_the_top_tokens_is_asked_for_alone():
    def old_vllm(stub, path, body):
        status, payload, headers = well(stub, path, body)
        if path != "/tokenize" and body["allowed_token_ids"] == [66]:
            only = {"token": "token_id:66", "logprob": math.log(0.1), "top_logprobs": []}
            payload["choices"][0]["logprobs"]["content"][0] |= only
        elif path != "/tokenize":
            payload["choices"][0]["logprobs"]["content"][0]["top_logprobs"].pop()
        return status, payload, headers

    async with Stub(old_vllm) as stub:
        generator = await server(stub)
        assert (await generator.choose(QUESTION, ["A", "B"])).logprobs == pytest.approx(
            [math.log(0.75), math.log(0.25)]
        )


TROUBLES = [
    (500, {"error": "out of sorts"}, {}),
    (200, b"<html>", {}),
    (200, {"choices": []}, {}),
    (200, b"x", {"Content-Encoding": "gzip"}),
    None,
]


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_passing_trouble_is_retried(trouble):
    async with Stub(at_first(2, trouble)) as stub:
        generator = await server(stub)
        await ask_all(generator, 1)
        assert len(stub.requests) == 3


async def test_a_full_server_is_waited_for():
    async with Stub(at_first(1, (429, {}, {"Retry-After": "0.3"}))) as stub:
        generator = await server(stub, max_retries=1)
        start = asyncio.get_running_loop().time()
        await ask_all(generator, 20)
        assert asyncio.get_running_loop().time() - start >= 0.3


async def test_one_of_two_dead_from_the_start():
    async with Stub(well) as stub:
        await ask_all(await server("http://127.0.0.1:9/v1", stub, backoff=0.2), 100)


async def test_one_of_two_dies_half_way_and_comes_back():
    async def slowly(stub, path, body):
        await asyncio.sleep(0.01)
        return well(stub, path, body)

    async def dying(stub, path, body):
        if len(stub.requests) == 30:
            await stub.__aexit__()
        return await slowly(stub, path, body)

    async with Stub(slowly) as steady:
        mortal = await Stub(dying).__aenter__()
        generator = await server(steady, mortal, concurrency=8, backoff=0.05)
        await ask_all(generator, 150)
        before, steady.answer = len(mortal.requests), lambda stub, path, body: (500, {}, {})
        mortal.answer = well
        async with mortal:
            await asyncio.sleep(0.3)
            await ask_all(generator, 20)
            assert len(mortal.requests) > before


async def test_a_slow_endpoint_times_out_and_its_rows_move_on():
    async def asleep(stub, path, body):
        await asyncio.sleep(30)

    async with Stub(asleep) as slow, Stub(well) as stub:
        await ask_all(await server(slow, stub, timeout=0.2, backoff=5.0), 10)


async def test_all_dead_names_endpoint_and_error():
    with pytest.raises(UserError, match="no endpoint answers") as caught:
        await ask_all(await server("http://127.0.0.1:9", "http://127.0.0.1:10", max_retries=2), 30)
    assert "http://127.0.0.1:9/v1: ClientConnectorError" in str(caught.value) and "Fix:" in str(
        caught.value
    )


async def test_a_request_that_always_fails_is_given_up():
    def poisoned(stub, path, body):
        return (
            (500, {"error": "poison"}, {})
            if body["messages"][0]["content"] == "13"
            else well(stub, path, body)
        )

    async with Stub(poisoned) as stub:
        with pytest.raises(CallFailed, match=r"failed on this request: 3 times, .*poison"):
            await ask_all(await server(stub, max_retries=2), 20)


@pytest.mark.parametrize("status", [401, 402, 403, 404])
async def test_what_no_retry_heals(status, monkeypatch):
    monkeypatch.setenv("SECRET_KEY_FOR_TEST", "sk-very-secret")
    async with Stub(lambda stub, path, body: (status, {"error": "no sk-very-secret"}, {})) as stub:
        generator = await server(stub, api_key_env="SECRET_KEY_FOR_TEST")
        with pytest.raises(UserError, match=f"HTTP {status}") as caught:
            await generator.complete(QUESTION, Sampling(), 0)
    assert len(stub.requests) == 1 and "bearer sk-very-secret" in stub.headers[0]
    assert "sk-very-secret" not in str(caught.value) and stub.url in str(caught.value)


async def test_a_prompt_beyond_the_context():
    words = {
        "error": {
            "message": "This model's maximum context length is 1024 tokens. "
            "However, you requested 2000."
        }
    }
    async with Stub(lambda stub, path, body: (400, words, {})) as stub:
        with pytest.raises(TooLong):
            await (await server(stub)).complete(QUESTION, Sampling(), 0)


async def test_concurrency_is_bounded_and_shared_out():
    busy = {}

    async def counting(stub, path, body):
        now, most = busy.get(stub, (0, 0))
        busy[stub] = now + 1, max(most, now + 1)
        await asyncio.sleep(0.01)
        busy[stub] = busy[stub][0] - 1, busy[stub][1]
        return well(stub, path, body)

    async with Stub(counting) as one, Stub(counting) as two:
        await ask_all(await server(one, two, concurrency=4), 80)
    assert busy[one][1] == busy[two][1] == 4
    assert (
        len(one.requests) + len(two.requests) == 80
        and abs(len(one.requests) - len(two.requests)) < 20
    )


async def test_a_model_that_the_servers_do_not_hold_is_sampled_here(tmp_path):
    tuned = find_model(str(build_tiny_model(tmp_path / "tuned")))
    local = {"name": "transformers", "options": {}}
    async with Stub(well) as stub:
        options = {"endpoints": [stub.url], "serves": MODEL.path, "local": local}
        there, here = [await open_generator("server", model, options) for model in (MODEL, tuned)]
        assert (await there.complete(QUESTION, Sampling(), 0)).text == "echo why?"
        assert (await here.complete(QUESTION, Sampling(max_tokens=4), 0)).completion_tokens > 0
        assert len(stub.requests) == 1
        await there.close()
        await here.close()
    with pytest.raises(UserError, match="not a generator of this process"):
        await open_generator("server", tuned, options | {"local": {"name": "server"}})


@pytest.mark.parametrize(
    "options",
    [
        {"endpoints": []},
        {"endpoints": ["host:8000"]},
        {},
        {"endpoints": ["http://h"], "api_key_env": "NOT_SET_ANYWHERE"},
    ],
)
async def test_settings_that_cannot_work(options):
    with pytest.raises(UserError):
        await open_generator("server", MODEL, options)
