"""One row's trouble at a server is that row's: it fails with the server's words, others go on."""

import asyncio
import json
import math
import random

import pytest

from stages.guards.errors import UserError
from stages.runtime.generation import CallFailed, Choice, RowFailure, Sampling, TooLong
from tests.generators.stub import QUESTION, Stub, ask_all, reply, server, top, well

FILTERED = "refused by the server (content filter)"
UNREADABLE = "the server's answer cannot be read"
AZURE = {
    "error": {
        "message": "The response was filtered due to the prompt triggering the policy.",
        "code": "content_filter",
        "innererror": {"code": "ResponsibleAIPolicyViolation"},
    }
}
BLOCKED = {
    "type": "error",
    "error": {
        "type": "invalid_request_error",
        "message": "Output blocked by content filtering policy",
    },
}
MODERATED = {"error": {"code": 403, "message": "flagged", "metadata": {"flagged_input": "bomb"}}}
DEEP = b"[" * 200_000
TROUBLES = {
    "azure": ((400, AZURE, {}), FILTERED),
    "openai": ((400, {"error": {"code": "content_policy_violation"}}, {}), FILTERED),
    "anthropic": ((400, BLOCKED, {}), FILTERED),
    "moderated with 403": ((403, MODERATED, {}), FILTERED),
    "deepseek": ((400, {"error": {"message": "Content Exists Risk"}}, {}), FILTERED),
    "cut by a filter": ((200, reply("Take a", "content_filter"), {}), FILTERED),
    "gemini": ((200, reply(None, "PROHIBITED_CONTENT"), {}), FILTERED),
    "no choices after a filter": (
        (200, {"choices": [], "promptFeedback": {"blockReason": "SAFETY"}}, {}),
        FILTERED,
    ),
    "one message refused": (
        (422, {"detail": [{"loc": ["messages", 0], "msg": "too odd"}]}, {}),
        "refused by the server (HTTP 422)",
    ),
    "for legal reasons": ((451, {}, {}), "refused by the server (HTTP 451)"),
    "a rate limit that it never meets": (
        (429, {"error": {"message": "Request too large for gpt on tokens per min"}}, {}),
        "refused by the server (HTTP 429)",
    ),
    "refusal": (
        (200, reply(None, refusal="I cannot help with that"), {}),
        "refused by the model (refusal field)",
    ),
    "refusal part": (
        (200, reply([{"type": "refusal", "refusal": "No."}]), {}),
        "refused by the model (refusal field)",
    ),
    "tool calls": (
        (200, reply(None, "tool_calls", tool_calls=[{"id": "1"}]), {}),
        "a tool call in place of a text",
    ),
    "no choices": ((200, {"choices": []}, {}), UNREADABLE),
    "null for choices": ((200, {"choices": None}, {}), UNREADABLE),
    "a null choice": ((200, {"choices": [None]}, {}), UNREADABLE),
    "no message": ((200, {"choices": [{"finish_reason": "stop"}]}, {}), UNREADABLE),
    "null content": ((200, reply(None), {}), UNREADABLE),
    "a number": ((200, reply(7), {}), UNREADABLE),
    "a picture": ((200, reply([{"type": "image_url", "image_url": {}}]), {}), UNREADABLE),
    "an error in a 200": ((200, {"error": {"message": "upstream"}}, {}), UNREADABLE),
    "an error as finish reason": ((200, reply("half", "error"), {}), UNREADABLE),
    "a list": ((200, [], {}), UNREADABLE),
    "html": ((200, b"<html>oops</html>", {}), UNREADABLE),
    "nothing": ((204, b"", {}), UNREADABLE),
    "half of the JSON": ((200, b'{"choices": [', {}), UNREADABLE),
    "a truncated body": ((200, b'{"choices": [', {"Content-Length": 500}), UNREADABLE),
    "a huge body": ((200, b" " * 17 * 2**20, {}), UNREADABLE),
    "a deep body": ((200, DEEP, {}), UNREADABLE),
    "always 500": ((500, {"error": "poison"}, {}), "the server failed on this request"),
    "always full": ((429, {"error": "busy"}, {}), "the server failed on this request"),
    "always hung up": (None, "the server failed on this request"),
}


def bad_where(trouble, word="bad"):
    """Rows with the word in their question meet the trouble, the others are answered well."""

    def answer(stub, path, body):
        question = body["messages"][-1]["content"] if "messages" in body else ""
        return trouble if word in question else well(stub, path, body)

    return answer


async def complete(generator, *questions):
    calls = [
        generator.complete([{"role": "user", "content": question}], Sampling(), number)
        for number, question in enumerate(questions)
    ]
    return await asyncio.gather(*calls, return_exceptions=True)


@pytest.mark.parametrize("name", TROUBLES)
async def test_the_row_fails_and_the_others_go_on(name):
    trouble, reason = TROUBLES[name]
    async with Stub(bad_where(trouble)) as stub:
        generator = await server(stub, max_retries=2, backoff=0.001)
        answers = await complete(generator, "0", "1", "bad", "3", "4")
        again = await complete(generator, "bad", "bad, too", "bad as well", "7")
        await generator.close()
    assert isinstance(answers[2], CallFailed), answers[2]
    assert answers[2].reason == reason
    assert [answer.text for answer in (*answers[:2], *answers[3:], again[3])] == [
        f"echo {number}" for number in (0, 1, 3, 4, 7)
    ]
    assert {failure.reason for failure in again[:3]} == {reason}


async def test_the_words_are_the_servers_without_the_key_and_short(monkeypatch):
    key = "sk-" + "k" * 40
    monkeypatch.setenv("KEY_FOR_TEST", f" {key}\r\n")
    words = {"error": {"code": "content_filter", "message": "x" * 280 + f" {key}\u001b[31m red"}}
    async with Stub(bad_where((400, words, {}))) as stub:
        generator = await server(stub, api_key_env="KEY_FOR_TEST")
        (failure,) = await complete(generator, "bad")
    assert failure.detail.startswith('HTTP 400: {"error": {"code": "content_filter"')
    assert "sk-" not in failure.detail and "\u001b" not in failure.detail
    assert len(failure.detail) < 330


@pytest.mark.parametrize("key", ["sk-\u00e9", "sk-a\x00b", "\r\n"])
async def test_a_key_that_no_header_can_hold_is_refused_unseen(monkeypatch, key):
    monkeypatch.setattr("os.environ", {"KEY_FOR_TEST": key})
    with pytest.raises(UserError) as caught:
        await server("http://h/v1", api_key_env="KEY_FOR_TEST")
    assert "sk-" not in str(caught.value)


@pytest.mark.parametrize(
    "words",
    [
        "This model's maximum context length is 1024 tokens.",
        "prompt is too long: 9000 tokens > 8000 maximum",
        "Please reduce the length of the messages or completion.",
        "the request exceeds the available context size, try increasing it",
    ],
)
async def test_a_prompt_too_long_by_any_servers_words(words):
    async with Stub(bad_where((400, {"error": {"message": words}}, {}))) as stub:
        (failure,) = await complete(await server(stub), "bad")
    assert isinstance(failure, TooLong)


THOUGHTS = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]
READABLE = {
    "parts": (reply([{"type": "text", "text": "fi"}, {"type": "text", "text": "ne"}]), ""),
    "output text": (reply([{"type": "output_text", "text": "fine"}]), ""),
    "a part for a list": (reply({"type": "text", "text": "fine"}), ""),
    "strings": (reply(["fi", "ne"]), ""),
    "thinking parts": (reply([*THOUGHTS, {"type": "text", "text": "fine"}]), "Hm."),
    "anthropic's": (
        reply([{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "fine"}]),
        "Hm.",
    ),
    "reasoning_content": (reply(reasoning_content="Hm."), "Hm."),
    "reasoning": (reply(reasoning="Hm.", reasoning_content=None), "Hm."),
    "no thoughts": (reply(reasoning_content=None, tool_calls=[], refusal=None), ""),
    "no finish reason": (reply(finish_reason=None), ""),
    "another stop": (reply(finish_reason="FinishReason.STOP"), ""),
}


@pytest.mark.parametrize("name", READABLE)
async def test_other_forms_of_an_answer_are_read(name):
    answer, thoughts = READABLE[name]
    async with Stub(lambda *_: (200, answer, {})) as stub:
        completion = await (await server(stub)).complete(QUESTION, Sampling(), 0)
    assert (completion.text, completion.thoughts) == ("fine", thoughts)
    assert completion.finish_reason == "stop"


@pytest.mark.parametrize("reason", ["length", "max_tokens", "MAX_TOKENS", "model_length"])
async def test_an_answer_cut_short_under_any_name(reason):
    async with Stub(lambda *_: (200, reply("half", reason), {})) as stub:
        completion = await (await server(stub)).complete(QUESTION, Sampling(), 0)
    assert completion.finish_reason == "length"


async def test_thoughts_without_an_answer_are_an_empty_text():
    answer = reply(None, "length", reasoning_content="Let me think")
    async with Stub(lambda *_: (200, answer, {})) as stub:
        completion = await (await server(stub)).complete(QUESTION, Sampling(), 0)
    assert (completion.text, completion.thoughts) == ("", "Let me think")


@pytest.mark.parametrize(
    "usage", [None, {}, {"prompt_tokens": None}, {"prompt_tokens": math.inf}, "many", "absent"]
)
async def test_usage_is_only_for_show(usage):
    answer = reply() | {"usage": usage}
    if usage == "absent":
        del answer["usage"]
    async with Stub(lambda *_: (200, answer, {})) as stub:
        completion = await (await server(stub)).complete(QUESTION, Sampling(), 0)
    assert (completion.text, completion.prompt_tokens, completion.completion_tokens) == (
        "fine",
        0,
        0,
    )


@pytest.mark.parametrize(
    ("details", "cached"),
    [({"cached_tokens": 2}, 2), ({"cached_tokens": "2"}, 0), ({}, 0), (None, 0), ("many", 0)],
)
@pytest.mark.parametrize("extensions", [True, False])
async def test_cached_tokens_of_the_prompt_are_read(details, cached, extensions):
    """They have a price of their own: of texts and of judges' answers."""

    def answer(stub, path, body):
        status, payload, headers = well(stub, path, body)
        if path != "/tokenize":
            payload["usage"]["prompt_tokens_details"] = details
        return status, payload, headers

    async with Stub(answer) as stub:
        generator = await server(stub, extensions=extensions)
        text = await generator.complete(QUESTION, Sampling(), 0)
        choice = await generator.choose(QUESTION, ["A", "B"])
        await generator.close()
    assert (text.prompt_tokens, text.cached_tokens) == (3, cached)
    assert (choice.prompt_tokens, choice.cached_tokens) == (3, cached)


async def test_half_an_emoji_becomes_the_replacement_character():
    half = "\ud83d"
    answer = reply(f"Sure! {half}", reasoning_content=f"{half}?")
    whole = json.dumps(reply("\U0001f600")).encode()  # two halves in JSON that belong together
    assert b"\\ud83d\\ude00" in whole
    answers = iter([(200, answer, {}), (200, whole, {}), (200, b'{"choices": [\xff', {})])
    async with Stub(lambda *_: next(answers)) as stub:
        generator = await server(stub)
        completion = await generator.complete(QUESTION, Sampling(), 0)
        assert completion.text == "Sure! \ufffd" and completion.thoughts == "\ufffd?"
        assert (await generator.complete(QUESTION, Sampling(), 0)).text == "\U0001f600"
    error = {"error": {"code": "content_filter", "message": f"no {half}"}}
    async with Stub(lambda *_: (400, error, {})) as stub:
        (failure,) = await complete(await server(stub), f"a question with {half}")
    failure.detail.encode()


async def test_a_server_that_no_call_understands_ends_the_run_soon():
    def answer(stub, path, body):
        return well(stub, path, body) if "logprobs" not in body else (200, reply("A"), {})

    async with Stub(answer) as stub:
        generator = await server(stub, extensions=False, concurrency=4)
        await ask_all(generator, 30)
        before = len(stub.requests)
        calls = [generator.choose([{"role": "user", "content": str(n)}], "AB") for n in range(500)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert len(stub.requests) - before < 100
    errors = [str(result) for result in results if isinstance(result, UserError)]
    assert len(errors) > 490 and len(results) - len(errors) < 10
    assert "the server reports no log-probabilities, which a judge is read by" in errors[0]
    assert "judge=hub judge.path" in errors[0] and "top_logprobs: 5" in errors[0]


async def test_a_server_that_refuses_log_probabilities_is_named_soon():
    error = {"error": {"message": "'logprobs' is not supported with this model"}}

    def answer(stub, path, body):
        return (400, error, {}) if "logprobs" in body else well(stub, path, body)

    async with Stub(answer) as stub:
        generator = await server(stub, extensions=False, concurrency=4)
        calls = [generator.choose([{"role": "user", "content": str(n)}], "AB") for n in range(50)]
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert len(stub.requests) < 20
    assert isinstance(results[-1], UserError)
    assert "the server reports no log-probabilities" in results[-1].what
    assert "not supported with this model" in results[-1].what


async def test_a_field_that_is_refused_in_every_call_is_named_soon():
    error = {"error": {"message": "Unrecognized request argument supplied: top_k"}}
    async with Stub(lambda *_: (400, error, {})) as stub:
        results = await complete(await server(stub, concurrency=4), *map(str, range(500)))
        assert len(stub.requests) < 30
    assert isinstance(results[-1], UserError)
    assert "top_k" in str(results[-1]) and "extensions=false" in str(results[-1])


async def test_a_plain_server_without_tokenize_names_the_option():
    def plain(stub, path, body):
        return (404, {}, {}) if path == "/tokenize" else well(stub, path, body)

    async with Stub(plain) as stub:
        with pytest.raises(UserError, match="extensions=false"):
            await (await server(stub)).choose(QUESTION, "AB")


async def test_several_rows_that_break_the_server_are_no_dead_server():
    """They come last and alone: nothing but a harmless question shows that the server lives."""
    async with Stub(bad_where((500, {"error": "poison"}, {}))) as stub:
        generator = await server(stub, max_retries=2, backoff=0.001)
        failures = await complete(generator, *[f"bad {n}" for n in range(7)])
        assert {failure.reason for failure in failures} == {"the server failed on this request"}
        await ask_all(generator, 5)


async def test_a_server_that_fails_on_everything_is_dead():
    async with Stub(lambda *_: (503, {"error": "out of memory"}, {})) as stub:
        with pytest.raises(UserError, match=r"no endpoint answers .*out of memory"):
            await ask_all(await server(stub, max_retries=2, backoff=0.001), 7)
        assert len(stub.requests) < 15


async def test_a_byte_now_and_then_is_no_answer():
    async def drip(stub, path, body):
        for writer in stub.writers:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
            for _ in range(40):
                writer.write(b" ")
                await asyncio.sleep(0.05)

    async with Stub(drip) as stub:
        start = asyncio.get_running_loop().time()
        with pytest.raises((UserError, CallFailed), match=r"no answer within 0\.2 seconds"):
            generator = await server(stub, timeout=0.2, max_retries=0, backoff=0.001)
            await generator.complete(QUESTION, Sampling(), 0)
        assert asyncio.get_running_loop().time() - start < 1.5


async def choose(logprobs, options=("A", "B")):
    async with Stub(lambda *_: (200, reply("A", "length", logprobs), {})) as stub:
        return await (await server(stub, extensions=False)).choose(QUESTION, list(options))


def margin(choice):
    return choice.logprobs[0] - choice.logprobs[1]


async def test_an_option_beyond_the_top_20_has_at_least_this_margin():
    sure = {"A": -1e-7} | {f"t{i}": -20.0 - i for i in range(19)}
    choice = await choose(top(sure))
    assert margin(choice) == pytest.approx(38.0, abs=1e-6)
    assert choice.bounded and choice.mass == pytest.approx(1.0)


async def test_a_bound_is_never_more_than_the_margin():
    """Against distributions of which all is known; the server reports the 20 best of 60."""
    rng = random.Random(0)
    bounded = 0
    for _ in range(40):
        weights = [rng.lognormvariate(0, 3) for _ in range(60)]
        logs = [math.log(weight / sum(weights)) for weight in weights]
        names = ["A", "B", *[f"t{i}" for i in range(58)]]
        ranked = sorted(zip(names, logs, strict=True), key=lambda pair: -pair[1])[:20]
        if not {"A", "B"} & {name for name, _ in ranked}:
            continue
        choice = await choose(top(dict(ranked)))
        true = logs[0] - logs[1]
        bounded += choice.bounded
        assert margin(choice) * true >= 0
        assert abs(margin(choice)) <= abs(true) + 1e-9
        assert choice.bounded or margin(choice) == pytest.approx(true)
    assert bounded > 5


async def test_where_only_one_token_is_reported_the_rest_bounds_the_other():
    only = {"content": [{"token": "A", "logprob": math.log(0.9), "top_logprobs": []}]}
    assert margin(await choose(only)) == pytest.approx(math.log(0.9 / 0.1))


async def test_minus_9999_means_not_among_the_likeliest():
    choice = await choose(top({"A": math.log(0.9), "x": math.log(0.05), "B": -9999.0}))
    assert choice.bounded and margin(choice) == pytest.approx(math.log(0.9 / 0.05))
    assert margin(await choose(top({"A": math.log(0.9), "B": -math.inf}))) < 9


async def test_neither_option_is_no_verdict_and_no_failure_of_the_call():
    with pytest.raises(RowFailure) as caught:
        await choose(top({"<think>": -0.01, "The": -6.0}))
    assert not isinstance(caught.value, CallFailed)
    assert caught.value.reason == "neither option among the likeliest tokens"
    assert "'<think>', 'The'" in caught.value.detail


@pytest.mark.parametrize("form", ["{}", " {}", "\u2581{}", "\u0120{}", "{}\n"])
async def test_an_option_with_spaces_around_it_is_the_option(form):
    tokens = {form.format("A"): math.log(0.6), form.format("B"): math.log(0.2), "a": math.log(0.1)}
    choice = await choose(top(tokens))
    assert margin(choice) == pytest.approx(math.log(3))
    assert choice.mass == pytest.approx(0.8)  # "a" begins a sentence: it is no A


async def test_spellings_of_an_option_add_up():
    tokens = {"A": 0.5, " A": 0.1, "B": 0.2, "x": 0.1}
    choice = await choose(top({token: math.log(value) for token, value in tokens.items()}))
    assert margin(choice) == pytest.approx(math.log(0.6 / 0.2))
    assert choice.mass == pytest.approx(0.8) and choice.instead == ""


async def test_what_stands_in_place_of_the_options_is_named():
    choice = await choose(top({"<think>": -1e-6, "A": -15.0, "B": -17.0}))
    assert choice.mass == pytest.approx(math.exp(-15) + math.exp(-17))
    assert choice == Choice(choice.logprobs, choice.mass, False, "<think>", prompt_tokens=3)


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        {},
        {"content": None},
        {"content": []},
        {"content": [None]},
        {"content": [{"token": "A"}]},
        top({"A": math.nan, "B": -1.0}),
        top({"A": -0.1, "B": math.inf}),
        top({"A": -0.1, "B": 0.4}),
        top({"A": -0.1, "B": "-1.0"}),
        top({"A": -0.1, "B": None}),
        top({"A": -9999.0}),
    ],
)
async def test_what_is_no_log_probability_fails_the_row(logprobs):
    with pytest.raises(CallFailed) as caught:
        await choose(logprobs)
    assert caught.value.reason == UNREADABLE


async def test_a_half_emoji_among_the_tokens_harms_nothing():
    choice = await choose(top({"\ud83d": -0.5, "A": -1.5, "B": -2.5}))
    assert choice.instead == "\ufffd" and margin(choice) == pytest.approx(1.0)


async def test_a_server_that_allows_five_can_be_asked_for_five():
    async with Stub(well) as stub:
        generator = await server(stub, extensions=False, extra={"top_logprobs": 5})
        await generator.choose(QUESTION, ["A", "B"])
        await (await server(stub, extensions=False)).choose(QUESTION, ["A", "B"])
    assert [body["top_logprobs"] for _, body in stub.requests] == [5, 20]


async def test_vllms_servers_report_the_mass_by_token_id():
    async with Stub(well) as stub:
        choice = await (await server(stub)).choose(QUESTION, ["A", "B"])
    assert choice.mass == pytest.approx(0.4) and not choice.bounded


KEY = "sk-pr/oj-1234567890"


@pytest.mark.parametrize(
    "answer",
    [
        (400, json.dumps({"sent": KEY}).replace("/", "\\/").encode(), {}),
        (400, json.dumps({"sent": KEY}).replace("-", "\\u002D").encode(), {}),
        (400, b"/v1?api_key=" + KEY.replace("/", "%2F").encode(), {}),
        (200, reply("x", f"odd {KEY}"), {}),
        (200, reply({"type": KEY}), {}),
        (200, reply("A", logprobs=top({KEY: -0.1})), {}),
        (307, b"", {"Location": f"http://other/{KEY}"}),
    ],
)
async def test_no_spelling_of_the_key_is_printed(monkeypatch, answer):
    monkeypatch.setenv("KEY_FOR_TEST", KEY)
    async with Stub(lambda *_: answer) as stub:
        generator = await server(stub, api_key_env="KEY_FOR_TEST", extensions=False)
        with pytest.raises((RowFailure, UserError)) as caught:
            await generator.choose(QUESTION, "AB")
        completion = await asyncio.gather(
            generator.complete(QUESTION, Sampling(), 0), return_exceptions=True
        )
    for words in (str(caught.value), str(completion)):
        assert "1234567890" not in words


async def test_the_first_choice_is_the_one_with_index_0():
    answer = reply("second") | {}
    first = reply("first")["choices"][0] | {"index": 0}
    answer["choices"] = [answer["choices"][0] | {"index": 1}, first]
    async with Stub(lambda *_: (200, answer, {})) as stub:
        completion = await (await server(stub)).complete(QUESTION, Sampling(), 0)
    assert completion.text == "first"


async def test_a_call_too_long_keeps_the_servers_words():
    """With 100 tokens of prompt it is `max_tokens` that is too large."""
    words = "maximum context length is 4096 tokens, you requested 5000 (100 in the messages)"
    async with Stub(lambda *_: (400, {"error": {"message": words}}, {})) as stub:
        with pytest.raises(TooLong) as caught:
            await (await server(stub)).complete(QUESTION, Sampling(), 0)
    assert words in caught.value.detail and "no room" not in caught.value.detail


@pytest.mark.parametrize("pair", [(0.0, 0.0), (-0.1, -0.1), (-0.5, -0.6)])
async def test_probabilities_that_add_up_to_more_than_1_are_none(pair):
    logprobs = dict(zip("AB", pair, strict=True))
    with pytest.raises(CallFailed, match="add up to"):
        await choose(top(logprobs))


async def test_rounded_probabilities_may_add_up_to_a_little_more():
    assert margin(await choose(top({"A": -0.4, "B": -1.1}))) == pytest.approx(0.7)


async def test_a_redirect_names_the_address():
    async with Stub(lambda *_: (308, b"", {"Location": "https://new/v1"})) as stub:
        with pytest.raises(UserError, match=r"https://new/v1[\s\S]*generator\.options\.endpoints"):
            await (await server(stub)).complete(QUESTION, Sampling(), 0)


@pytest.mark.parametrize(
    "trouble", [(200, b"<html>", {}), (200, {"choices": []}, {}), (200, reply(None), {})]
)
async def test_one_of_two_endpoints_that_no_row_can_read(trouble):
    """It answers at once, so it looks the freer one; every row is answered by the other."""

    async def slow(stub, path, body):
        await asyncio.sleep(0.05)
        return well(stub, path, body)

    async with Stub(lambda *_: trouble) as odd, Stub(slow) as healthy:
        await ask_all(await server(odd, healthy, concurrency=8), 60)


async def test_of_several_endpoints_the_one_with_the_odd_answer_is_named():
    async with Stub(lambda *_: (200, b"", {})) as one, Stub(lambda *_: (200, b"", {})) as other:
        (failure,) = await complete(await server(one, other), "bad")
    assert "an empty body" in failure.detail
    assert one.url in failure.detail or other.url in failure.detail


@pytest.mark.parametrize("trouble", [(400, {"error": "odd"}, {}), (200, {"choices": []}, {})])
async def test_rows_refused_before_the_first_answer_comes_stop_nothing(trouble):
    """A refusal comes at once, an answer takes a while: 30 of the first do not speak for all."""

    async def slow(stub, path, body):
        question = body["messages"][-1]["content"]
        if "bad" in question:
            return trouble
        await asyncio.sleep(0.2)
        return well(stub, path, body)

    async with Stub(slow) as stub:
        questions = [f"bad {n}" for n in range(30)] + [str(n) for n in range(20)]
        results = await complete(await server(stub), *questions)
    assert all(isinstance(result, CallFailed) for result in results[:30])
    assert [result.text for result in results[30:]] == [f"echo {n}" for n in range(20)]


async def test_a_full_server_is_not_said_to_be_off():
    async with Stub(lambda *_: (429, {"error": "slow down"}, {})) as stub:
        with pytest.raises(UserError, match=r"429[\s\S]*Fix: .*concurrency"):
            await ask_all(await server(stub, max_retries=1, backoff=0.001), 3)


async def test_options_that_are_not_reported_share_what_is_left():
    """5 has 0.82, so the nine others have 0.18 in all: by hand, not nine times that."""
    options = [str(number) for number in range(1, 11)]
    choice = await choose(top({"5": math.log(0.82)}), options)
    probabilities = [math.exp(value) for value in choice.logprobs]
    assert probabilities[4] == pytest.approx(0.82) and probabilities[0] == pytest.approx(0.02)
    assert choice.unknown == pytest.approx(0.18) and choice.bounded


async def test_unlikely_options_that_are_not_reported_are_as_good_as_known():
    values = {"5": math.log(0.9), "4": math.log(0.0995), "x": math.log(0.0004)}
    choice = await choose(top(values), ["3", "4", "5"])
    assert choice.unknown < 0.0005
    far = await choose(top({"x": 0.0, "A": -800.0, "B": -900.0}))
    assert far.unknown == 0.0 and margin(far) == pytest.approx(100.0)
