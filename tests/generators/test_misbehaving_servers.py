"""Servers that misbehave in any way: a clear error soon, nothing wrong accepted, no key shown."""

import asyncio
import gzip
import random
import time
import tracemalloc

import pytest

from stages.generators.servers.answers import Unreadable, read_completion
from stages.generators.servers.client import Client
from stages.generators.servers.http import MOST_BYTES, inflate, retry_after
from stages.guards.errors import UserError
from stages.guards.secrets import mask_known
from stages.runtime.generation import CallFailed, Completion, RowFailure, Sampling, TooLong
from tests.fuzz.servers import ALL, CHOICES, KEY, Misbehaviour, Server, draw, sends
from tests.generators.stub import QUESTION, reply, server

HEALTHY = Misbehaviour("healthy", sends(200, reply()))
SAMPLE = 8
SEED = random.randrange(10**6)


async def ask(misbehaviour, question="bad", options=(), **settings):
    """What a call brings: an answer or the error, of a server that is healthy otherwise."""
    settings = {"timeout": 0.5, "max_retries": 1, "backoff": 0.001, "extensions": False} | settings
    async with Server(misbehaviour, HEALTHY, "bad") as endpoint:
        generator = await server(endpoint.url, **settings)
        messages = [{"role": "user", "content": question}]
        try:
            if options:
                return await generator.choose(messages, options)
            return await generator.complete(messages, Sampling(), 0)
        except (UserError, RowFailure) as error:
            return error
        finally:
            await generator.close()


async def test_whatever_a_server_does_ends_soon_in_an_answer_or_a_clear_error(monkeypatch):
    print(f"seed {SEED}")
    monkeypatch.setenv("PLAIN_NAME", KEY)
    rng = random.Random(SEED)
    drawn = [*rng.sample(ALL, SAMPLE), *(draw(rng) for _ in range(SAMPLE))]
    calls = [ask(one, api_key_env="PLAIN_NAME") for one in drawn]
    results = await asyncio.wait_for(asyncio.gather(*calls), 20)
    for misbehaviour, result in zip(drawn, results, strict=True):
        assert KEY not in str(result), misbehaviour.name
        if isinstance(result, Completion) and misbehaviour.texts != ("*",):
            assert result.text in misbehaviour.texts, misbehaviour.name


async def test_a_key_under_any_name_that_a_server_repeats_is_masked_everywhere(monkeypatch):
    monkeypatch.setenv("PLAIN_NAME", f"{KEY}\r\n")
    for misbehaviour in ALL:
        if misbehaviour.name.startswith("the key"):
            result = await ask(misbehaviour, api_key_env="PLAIN_NAME")
            assert KEY not in str(result).lower() and "***" in str(result), misbehaviour.name


@pytest.mark.parametrize("answer", CHOICES, ids=lambda one: one.name)
async def test_numbers_that_are_no_log_probabilities_are_no_answer(answer):
    result = await ask(answer, options=["A", "B"])
    assert isinstance(result, CallFailed), result


def test_a_small_body_that_holds_far_more_is_refused_in_little_memory():
    bomb = gzip.compress(b"0" * 2**25, 1)
    tracemalloc.start()
    try:
        with pytest.raises(Unreadable, match="more than 4 MiB"):
            inflate(bomb, "gzip")
        assert tracemalloc.get_traced_memory()[1] < 3 * MOST_BYTES
    finally:
        tracemalloc.stop()


def test_what_is_compressed_unasked_is_read_if_it_is_small():
    assert inflate(gzip.compress(b"fine"), "GZIP") == inflate(b"fine", "identity") == b"fine"


class Header:
    def __init__(self, value):
        self.headers = {"Retry-After": value}


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("2.5", 2.5), ("1e5", 300), ("inf", 0), ("nan", 0), ("-1", 0), ("9" * 999, 0), ("Fri", 0)],
)
def test_a_server_cannot_ask_for_an_endless_pause(value, seconds):
    assert retry_after(Header(value)) == seconds


async def test_a_call_that_is_always_put_off_fails_in_the_end_and_the_pause_is_said(capsys):
    """The endpoint answers other calls, so nothing else would ever end this one."""
    full = Misbehaviour("full", sends(429, {"error": "busy"}))
    async with Server(full, HEALTHY, "bad") as endpoint:
        generator = await server(endpoint.url, timeout=0.2, max_retries=1, backoff=0.001)
        generator.client.pool.patience = 0.3

        async def others():
            while True:
                await generator.complete(QUESTION, Sampling(), 0)

        busy = asyncio.create_task(others())
        with pytest.raises(CallFailed, match=r"the server failed on this request: .*HTTP 429"):
            bad = generator.complete([{"role": "user", "content": "bad"}], Sampling(), 0)
            await asyncio.wait_for(bad, 5)
        busy.cancel()
        await generator.close()
    slow = Misbehaviour("slow", sends(503, {"error": "later"}, ("Retry-After: 9",)))
    async with Server(slow) as endpoint:
        generator = await server(endpoint.url, max_retries=0)
        with pytest.raises((UserError, CallFailed)):
            await asyncio.wait_for(generator.complete(QUESTION, Sampling(), 0), 3)
        await generator.close()
    shown = capsys.readouterr().err
    assert f"{endpoint.url} gets no request for 9 seconds: HTTP 503" in shown


@pytest.mark.parametrize("status", [400, 413, 418, 422, 500, 502, 503, 200])
async def test_a_prompt_too_long_under_any_status(status):
    words = {"error": {"message": "maximum context length is 8 tokens"}}
    assert isinstance(await ask(Misbehaviour("long", sends(status, words))), TooLong)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY", "SSL_CERT_FILE"])
def test_a_proxy_or_certificate_that_cannot_be_used_is_named_without_its_password(
    variable, monkeypatch
):
    monkeypatch.setenv(variable, "odd://user:hunter2@proxy")
    with pytest.raises(UserError, match=f"(?s)cannot be set up.*{variable}") as caught:
        asyncio.run(ask(HEALTHY))
    assert "hunter2" not in str(caught.value)


def test_words_are_masked_before_they_are_cut_and_in_a_moment(monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", "tok-" + "k" * 60)
    start = time.process_time()
    for text in ("\\" * 10**6, "u0" * 10**6, " " * (2**16 - 4) + "tok-kkk", "?key" * 10**5):
        assert "tok-" not in Client.shorten(text)
    line = Client.shorten("x" * 280 + " tok-" + "k" * 60)
    assert "tok" not in line and line.endswith("***")
    assert time.process_time() - start < 4
    assert mask_known("x" * 10**5) == "x" * 10**5


def test_an_empty_text_is_an_answer_only_where_tokens_were_written():
    assert read_completion(reply("")).text == ""
    with pytest.raises(Exception, match="an empty text"):
        read_completion(reply("") | {"usage": {}})
